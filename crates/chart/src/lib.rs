//! Draws time series and bars as one self-contained SVG. Where things go is for the caller to say; here
//! stands how they look.

use std::fmt::Write as _;

/// Text, and what is measured against it.
pub const INK: &str = "#1f2937";
/// Labels, and what stands back.
pub const FAINT: &str = "#6b7280";
/// Grid lines and empty areas.
pub const GRID: &str = "#e5e7eb";
/// The old side.
pub const OLD: &str = "#2563eb";
/// The new side.
pub const NEW: &str = "#059669";
/// A limit.
pub const LIMIT: &str = "#dc2626";

/// A place on the picture in pixels, from its left and from its top.
pub type Point = (f64, f64);

/// An area that values are drawn in, under its title.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Panel {
    /// Left edge, in pixels from the picture's.
    pub left: f64,
    /// Right edge.
    pub right: f64,
    /// Upper edge, in pixels from the picture's.
    pub top: f64,
    /// Lower edge.
    pub bottom: f64,
    /// Room between the title and the upper edge, in pixels, beyond what every title has.
    pub head: f64,
}

impl Panel {
    /// An axis over the panel's width.
    #[must_use]
    pub const fn across(&self, from: f64, to: f64) -> Axis {
        Axis { from, to, at: (self.left, self.right), scale: Scale::Linear }
    }

    /// An axis over the panel's height, with its low end below.
    #[must_use]
    pub const fn upward(&self, from: f64, to: f64, scale: Scale) -> Axis {
        Axis { from, to, at: (self.bottom, self.top), scale }
    }

    const fn titled_from(&self) -> f64 {
        self.top - self.head
    }
}

/// How values spread over an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Equal distances for equal differences.
    Linear,
    /// Equal distances for equal ratios; for values above 0. Others lie at the low end.
    Log10,
}

/// From a value to a place on the picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Axis {
    /// The value at the axis's begin.
    pub from: f64,
    /// The value at its end.
    pub to: f64,
    /// Where it begins and ends, in pixels.
    pub at: (f64, f64),
    /// How the values between spread.
    pub scale: Scale,
}

impl Axis {
    /// Where a value lies, in pixels; what is beyond an end lies at it.
    #[must_use]
    pub fn place(&self, value: f64) -> f64 {
        let [value, from, to] = [value, self.from, self.to].map(|value| match self.scale {
            Scale::Linear => value,
            Scale::Log10 => value.max(f64::MIN_POSITIVE).log10(),
        });
        let along = (value - from) / (to - from);
        // An axis without length, or one up to infinity.
        let along = if along.is_nan() { 0.0 } else { along.clamp(0.0, 1.0) };
        self.at.0 + along * (self.at.1 - self.at.0)
    }

    /// Exponents of the powers of ten on a logarithmic axis, evenly spread, 0 among them where the
    /// axis holds it, and no more than `labels_max` (but at least one, where there is any).
    #[must_use]
    pub fn decades(&self, labels_max: usize) -> Vec<i32> {
        let [from, to] = [self.from, self.to].map(|end| end.max(f64::MIN_POSITIVE).log10());
        // An end that is a power of ten is held, whatever its logarithm was rounded to.
        let (from, to) = (from - 1e-9, to + 1e-9);
        // The exponents of `f64` end at ±308.
        let held = |exponent: &i32| (from..=to).contains(&f64::from(*exponent));
        let exponents = || (-308..=308).filter(held);
        let spread = |step: i32| exponents().filter(move |exponent| exponent % step == 0);
        let step = [1, 2, 3, 5, 10, 20, 50, 100]
            .into_iter()
            .find(|step| spread(*step).count() <= labels_max.max(1));
        match step {
            Some(step) if spread(step).count() > 0 => spread(step).collect(),
            _ => exponents().take(1).collect(),
        }
    }
}

/// How a legend shows a colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// A line.
    Line,
    /// A dashed line.
    Dashes,
    /// A dot.
    Dot,
    /// A filled box.
    Box,
}

/// Writes SVG. Fonts are named generically, so that the picture needs nothing from outside. A `style` is
/// attributes as SVG spells them; a `color` is one of SVG's.
#[derive(Debug)]
pub struct Svg(String);

impl Svg {
    /// An empty picture, in pixels.
    #[must_use]
    pub fn new(width: f64, height: f64) -> Self {
        Self(format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
             viewBox=\"0 0 {width} {height}\" font-family=\"Helvetica, Arial, sans-serif\" \
             fill=\"{INK}\">\n<rect width=\"{width}\" height=\"{height}\" fill=\"#ffffff\"/>\n"
        ))
    }

    /// The whole of it.
    #[must_use]
    pub fn finish(mut self) -> String {
        self.0.push_str("</svg>\n");
        self.0
    }

    fn push(&mut self, element: std::fmt::Arguments<'_>) {
        // Writing to a `String` never fails.
        let _ = self.0.write_fmt(element);
        self.0.push('\n');
    }

    /// Text, from the left end of its base line unless the style anchors it otherwise.
    pub fn text(&mut self, (x, y): Point, text: &str, style: &str) {
        let text = escaped(text);
        self.push(format_args!("<text x=\"{x:.1}\" y=\"{y:.1}\" {style}>{text}</text>"));
    }

    /// A line through points.
    pub fn line(&mut self, points: &[Point], color: &str, style: &str) {
        let points: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let points = points.join(" ");
        self.push(format_args!(
            "<polyline points=\"{points}\" fill=\"none\" stroke=\"{color}\" {style}/>"
        ));
    }

    /// A filled box from its upper left to its lower right corner.
    pub fn rect(&mut self, (left, top): Point, (right, bottom): Point, color: &str) {
        let (width, height) = ((right - left).max(0.0), bottom - top);
        self.push(format_args!(
            "<rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" \
             fill=\"{color}\"/>"
        ));
    }

    /// A dot.
    pub fn dot(&mut self, (x, y): Point, color: &str) {
        self.push(format_args!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2.2\" fill=\"{color}\"/>"));
    }

    /// A vertical line through all panels, and not through their titles.
    pub fn upright(&mut self, panels: &[Panel], x: f64, color: &str, style: &str) {
        for panel in panels {
            self.line(&[(x, panel.titled_from()), (x, panel.bottom)], color, style);
        }
    }

    /// The panel's title, at its left.
    pub fn title(&mut self, panel: &Panel, title: &str) {
        let at = (panel.left, panel.titled_from() - 10.0);
        self.text(at, title, "font-size=\"14\" font-weight=\"bold\"");
    }

    /// A line across the panel, with its label at the left.
    pub fn grid_line(&mut self, panel: &Panel, y: f64, label: &str) {
        self.line(&[(panel.left, y), (panel.right, y)], GRID, "");
        let style = format!("font-size=\"12\" text-anchor=\"end\" fill=\"{FAINT}\"");
        self.text((panel.left - 8.0, y + 4.0), label, &style);
    }

    /// A tick at the panel's lower edge, with its label below.
    pub fn tick(&mut self, panel: &Panel, x: f64, label: &str) {
        self.line(&[(x, panel.bottom), (x, panel.bottom + 5.0)], FAINT, "");
        let style = format!("font-size=\"12\" text-anchor=\"middle\" fill=\"{FAINT}\"");
        self.text((x, panel.bottom + 20.0), label, &style);
    }

    /// The panel's legend, beside its title, set from the right edge to the left.
    pub fn legend(&mut self, panel: &Panel, entries: &[(&str, Mark, String)]) {
        // Of a wide font at 13 pixels: the width of text is not known here.
        const CHAR_WIDTH: f64 = 7.5;
        const MARK_WIDTH: f64 = 22.0;
        let y = panel.titled_from() - 14.0;
        let mut right = panel.right;
        for (color, mark, label) in entries.iter().rev() {
            let chars = f64::from(u16::try_from(label.chars().count()).unwrap_or(u16::MAX));
            let left = right - chars * CHAR_WIDTH - MARK_WIDTH - 6.0;
            let ends = [(left, y), (left + MARK_WIDTH, y)];
            match mark {
                Mark::Line => self.line(&ends, color, "stroke-width=\"2.2\""),
                Mark::Dashes => self.line(&ends, color, "stroke-dasharray=\"6 4\""),
                Mark::Dot => self.dot((left + MARK_WIDTH / 2.0, y), color),
                Mark::Box => {
                    self.rect((left + 6.0, y - 6.0), (left + MARK_WIDTH, y + 6.0), color);
                }
            }
            let style = format!("font-size=\"13\" fill=\"{FAINT}\"");
            self.text((left + MARK_WIDTH + 6.0, y + 4.0), label, &style);
            right = left - 14.0;
        }
    }
}

/// The runs of neighbours that are there, cut where one is missing.
#[must_use]
pub fn unbroken(points: impl Iterator<Item = Option<Point>>) -> Vec<Vec<Point>> {
    let mut runs = vec![vec![]];
    for point in points {
        match (point, runs.last_mut()) {
            (Some(point), Some(run)) => run.push(point),
            (None, Some(run)) if !run.is_empty() => runs.push(vec![]),
            _ => {}
        }
    }
    runs.retain(|run| !run.is_empty());
    runs
}

/// 1, 2 or 5 times a power of ten, the first that is not below `wanted`.
#[must_use]
pub fn nice_step(wanted: f64) -> f64 {
    let power = 10_f64.powf(wanted.max(1e-6).log10().floor());
    let step = [1.0, 2.0, 5.0].into_iter().map(|n| n * power).find(|step| *step >= wanted);
    step.unwrap_or(10.0 * power)
}

/// Seconds between two labels of a time axis: about a dozen labels.
#[must_use]
pub fn time_step_s(total_s: f64) -> f64 {
    const DAY_S: f64 = 86_400.0;
    let seconds = [1.0, 2.0, 5.0, 10.0, 15.0, 20.0, 30.0];
    let minutes = [1.0, 2.0, 5.0, 10.0, 15.0, 30.0].map(|minutes| minutes * 60.0);
    let hours = [1.0, 2.0, 4.0, 6.0, 12.0].map(|hours| hours * 3_600.0);
    let steps = seconds.into_iter().chain(minutes).chain(hours);
    let step = steps.into_iter().find(|step| total_s / step <= 14.0);
    step.unwrap_or_else(|| (total_s / DAY_S / 14.0).ceil().max(1.0) * DAY_S)
}

/// Text as XML holds it; control characters, which it cannot hold, become spaces.
#[must_use]
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

/// Looks whether a picture is what every viewer can show, for the tests of those that draw: each
/// element is closed in turn, text is escaped, every number is one, and nothing is fetched.
///
/// # Errors
/// A sentence about the first thing that is wrong.
pub fn check(svg: &str) -> Result<(), String> {
    let mut open = vec![];
    for part in svg.split('<').skip(1) {
        let (tag, text) = part.split_once('>').ok_or(format!("the tag {part:?} has no end"))?;
        if text.contains('>') {
            return Err(format!("a bare > in {part:?}"));
        }
        if tag.matches('"').count() % 2 != 0 {
            return Err(format!("a quote left open in {tag:?}"));
        }
        for entity in text.split('&').skip(1) {
            if !["amp;", "lt;", "gt;", "quot;"].iter().any(|known| entity.starts_with(known)) {
                return Err(format!("a bare & in {text:?}"));
            }
        }
        if let Some(not) = ["NaN", "inf", "href", "url("].iter().find(|not| tag.contains(**not)) {
            return Err(format!("{not} in {tag:?}"));
        }
        let name = tag.split_whitespace().next().unwrap_or_default();
        if let Some(name) = name.strip_prefix('/') {
            if open.pop() != Some(name) {
                return Err(format!("{name} is closed out of turn"));
            }
        } else if !tag.ends_with('/') {
            open.push(name);
        }
    }
    if open.is_empty() { Ok(()) } else { Err(format!("left open: {open:?}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PANEL: Panel = Panel { left: 50.0, right: 150.0, top: 20.0, bottom: 120.0, head: 0.0 };

    #[test]
    fn axes_have_round_numbers() {
        for (wanted, step) in [(0.13, 0.2), (1.0, 1.0), (1.2, 2.0), (4.1, 5.0), (7.0, 10.0)] {
            assert!((nice_step(wanted) - step).abs() < 1e-9, "{wanted}");
        }
    }

    #[test]
    fn a_time_axis_has_about_a_dozen_labels_from_seconds_to_months() {
        for (total_s, step_s) in [
            (0.0, 1.0),
            (56.0, 5.0),
            (600.0, 60.0),
            (8_400.0, 600.0),
            (8_401.0, 900.0),
            (86_400.0, 7_200.0),
            (7.0 * 86_400.0, 43_200.0),
            (60.0 * 86_400.0, 5.0 * 86_400.0),
        ] {
            assert!((time_step_s(total_s) - step_s).abs() < 1e-9, "{total_s}");
        }
    }

    #[test]
    fn a_value_lies_between_the_ends_of_its_axis() {
        let linear = PANEL.across(0.0, 10.0);
        let log = PANEL.upward(0.01, 1e6, Scale::Log10);
        for (axis, value, place) in [
            (linear, 0.0, 50.0),
            (linear, 2.5, 75.0),
            (linear, -1.0, 50.0),
            (linear, f64::INFINITY, 150.0),
            (linear, f64::NAN, 50.0),
            (PANEL.across(3.0, 3.0), 3.0, 50.0),
            (log, 0.01, 120.0),
            (log, 1.0, 95.0),
            (log, 100.0, 70.0),
            (log, 1e6, 20.0),
            (log, 1e300, 20.0),
            (log, f64::INFINITY, 20.0),
            (log, 0.0, 120.0),
            (log, -5.0, 120.0),
            (log, f64::NAN, 120.0),
            (PANEL.upward(0.0, 0.0, Scale::Log10), 1.0, 20.0),
            (PANEL.upward(1.0, f64::INFINITY, Scale::Log10), f64::INFINITY, 120.0),
        ] {
            let placed = axis.place(value);
            assert!((placed - place).abs() < 1e-9, "{value} on {axis:?}: {placed}");
        }
    }

    #[test]
    fn a_logarithmic_axis_is_labelled_at_evenly_spread_powers_of_ten() {
        for (from, to, labels_max, decades) in [
            (0.1, 100.0, 6, vec![-1, 0, 1, 2]),
            (0.05, 120.0, 6, vec![-1, 0, 1, 2]),
            (1e-3, 1e6, 6, vec![-2, 0, 2, 4, 6]),
            (1e-3, 1e6, 4, vec![-3, 0, 3, 6]),
            (1e-120, 1e300, 6, vec![-100, 0, 100, 200, 300]),
            (2e7, 3e9, 1, vec![8]),
            (2.0, 3.0, 6, vec![]),
            (2.0, 30.0, 0, vec![1]),
            (0.0, 1e308, 1, vec![-307]),
        ] {
            let axis = PANEL.upward(from, to, Scale::Log10);
            assert_eq!(axis.decades(labels_max), decades, "{from} to {to}, {labels_max}");
        }
    }

    #[test]
    fn points_are_joined_up_to_where_one_is_missing() {
        let (a, b, c) = ((0.0, 0.0), (1.0, 0.0), (2.0, 0.0));
        assert_eq!(
            unbroken([None, Some(a), Some(b), None, None, Some(c)].into_iter()),
            [vec![a, b], vec![c]]
        );
        assert!(unbroken([None, None].into_iter()).is_empty());
    }

    #[test]
    fn a_picture_of_everything_passes_its_own_check() {
        let mut svg = Svg::new(200.0, 150.0);
        svg.title(&PANEL, "a & b < \"c\"\u{7}");
        svg.grid_line(&PANEL, 60.0, "1");
        svg.tick(&PANEL, 70.0, "2");
        let marks = [Mark::Line, Mark::Dashes, Mark::Dot, Mark::Box];
        svg.legend(&PANEL, &marks.map(|mark| (OLD, mark, format!("{mark:?}"))));
        svg.upright(&[PANEL, PANEL], 80.0, INK, "");
        let drawn = svg.finish();
        assert_eq!(check(&drawn), Ok(()));
        assert!(drawn.contains(">a &amp; b &lt; &quot;c&quot; <"));
    }

    #[test]
    fn the_check_finds_what_a_viewer_stumbles_over() {
        for (svg, what) in [
            ("<svg><g></svg>", "out of turn"),
            ("<svg><g/>", "left open"),
            ("<svg", "no end"),
            ("<svg a=\"></svg>", "quote"),
            ("<svg>a & b</svg>", "bare &"),
            ("<svg>a > b</svg>", "bare >"),
            ("<svg width=\"NaN\"/>", "NaN"),
            ("<svg fill=\"url(x)\"/>", "url("),
        ] {
            let problem = check(svg).expect_err(svg);
            assert!(problem.contains(what), "{problem}");
        }
    }
}
