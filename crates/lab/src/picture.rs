//! The picture of a run: one self-contained SVG. On top the intended and the measured share, below
//! the error rates, at the bottom the verdicts, all over the same seconds.

use std::fmt::Write as _;

use cutover_core::verdict::VerdictKind;

use crate::recording::{Recording, Sample, verdict_words};

const WIDTH: f64 = 1200.0;
const HEIGHT: f64 = 800.0;
/// Left and right edge of every panel.
const LEFT: f64 = 64.0;
const RIGHT: f64 = 1172.0;
/// Top and bottom of the panels.
const SHARE: (f64, f64) = (146.0, 420.0);
const ERRORS: (f64, f64) = (478.0, 622.0);
const VERDICTS: (f64, f64) = (676.0, 706.0);
/// Between the title of the first panel and the panel the steps have their names.
const STEP_NAMES: f64 = 18.0;

/// Seconds over which an error rate is taken, so that one error among few requests is no spike.
const ERROR_WINDOW: usize = 3;
/// Narrower steps get no label.
const LABEL_WIDTH_MIN: f64 = 64.0;

const INK: &str = "#1f2937";
const FAINT: &str = "#6b7280";
const GRID: &str = "#e5e7eb";
const OLD: &str = "#2563eb";
const NEW: &str = "#059669";
const LIMIT: &str = "#dc2626";

/// Draws a run.
#[must_use]
pub fn draw(recording: &Recording) -> String {
    let mut svg = Svg::new();
    let last_s = recording.samples.last().map_or(0.0, |sample| sample.at_s + 1.0);
    let end_s = recording.end.as_ref().map_or(0.0, |end| end.at_s);
    let time = Axis { from: 0.0, to: last_s.max(end_s).max(1.0), at: (LEFT, RIGHT) };
    head(&mut svg, recording);
    shares(&mut svg, recording, &time);
    errors(&mut svg, recording, &time);
    verdicts(&mut svg, recording, &time);
    boundaries(&mut svg, recording, &time);
    svg.finish()
}

fn head(svg: &mut Svg, recording: &Recording) {
    let Recording { scenario, seed, old, new, routes, .. } = recording;
    let title = format!("cutover lab, scenario {}: from {old} to {new}", scenario.name());
    svg.text((LEFT, 36.0), &title, "font-size=\"22\" font-weight=\"bold\"");
    let ended = match &recording.end {
        Some(end) => format!("{} after {:.0} s: {}", end.name, end.at_s, end.reason),
        None => "did not end".to_owned(),
    };
    svg.text((LEFT, 60.0), &shortened(&ended, 150), "font-size=\"14\"");
    let started = recording.started_at.strftime("%Y-%m-%d %H:%M:%S UTC");
    let about = format!("{}; seed {seed}; {started}", routes.join(", "));
    svg.text((LEFT, 80.0), &about, &format!("font-size=\"13\" fill=\"{FAINT}\""));
}

fn shares(svg: &mut Svg, recording: &Recording, time: &Axis) {
    let share = Axis { from: 0.0, to: 100.0, at: (SHARE.1, SHARE.0) };
    svg.title(SHARE.0 - STEP_NAMES, "Requests of the new side, %");
    for percent in [0.0, 20.0, 40.0, 60.0, 80.0, 100.0] {
        svg.grid_line(share.place(percent), &format!("{percent}"));
    }
    svg.legend(
        SHARE.0 - STEP_NAMES,
        &[
            (INK, Mark::Line, "intended, by the weights in Route 53".to_owned()),
            (NEW, Mark::Dot, "measured, each second".to_owned()),
        ],
    );
    let measured = recording
        .samples
        .iter()
        .map(|s| s.measured().map(|m| (time.place(s.at_s + 0.5), share.place(m * 100.0))));
    for run in unbroken(measured) {
        svg.line(&run, NEW, "stroke-width=\"1.2\" stroke-opacity=\"0.6\"");
        for (x, y) in run {
            svg.dot((x, y), NEW);
        }
    }
    // Each share lasts until the next one.
    let lasts = recording.intended.iter().skip(1).map(|next| next.at_s).chain([time.to]);
    let corners = recording.intended.iter().zip(lasts).flat_map(|(intended, until_s)| {
        let at = |at_s| Some((time.place(at_s), share.place(intended.share? * 100.0)));
        [at(intended.at_s), at(until_s)]
    });
    for run in unbroken(corners) {
        svg.line(&run, INK, "stroke-width=\"2.2\"");
    }
}

fn errors(svg: &mut Svg, recording: &Recording, time: &Axis) {
    let limit = recording
        .request
        .pointer("/health/error_rate_max")
        .and_then(serde_json::Value::as_f64)
        .map(|rate| rate * 100.0);
    let (old, new) = (
        error_rates(&recording.samples, |s| (s.old.requests, s.old.errors)),
        error_rates(&recording.samples, |s| (s.new.requests, s.new.errors)),
    );
    let highest = old.iter().chain(&new).flatten().map(|(_, rate)| *rate).fold(0.0, f64::max);
    let highest = highest.max(limit.unwrap_or(0.0)).max(1.0) * 1.1;
    let step = nice_step(highest / 4.0);
    let top = (highest / step).ceil() * step;
    let rate = Axis { from: 0.0, to: top, at: (ERRORS.1, ERRORS.0) };
    svg.title(ERRORS.0, &format!("Failed requests, %, mean of {ERROR_WINDOW} s"));
    let mut value = 0.0;
    while value <= top {
        svg.grid_line(rate.place(value), &format!("{value}"));
        value += step;
    }
    svg.legend(
        ERRORS.0,
        &[
            (OLD, Mark::Line, format!("old side, {}", recording.old)),
            (NEW, Mark::Line, format!("new side, {}", recording.new)),
            (LIMIT, Mark::Dashes, "limit, error_rate_max".to_owned()),
        ],
    );
    if let Some(limit) = limit {
        let y = rate.place(limit);
        svg.line(&[(LEFT, y), (RIGHT, y)], LIMIT, "stroke-width=\"1.2\" stroke-dasharray=\"6 4\"");
    }
    for (rates, color) in [(old, OLD), (new, NEW)] {
        let points =
            rates.iter().map(|p| p.map(|(at_s, r)| (time.place(at_s + 0.5), rate.place(r))));
        for run in unbroken(points) {
            svg.line(&run, color, "stroke-width=\"1.8\"");
            if let [alone] = run.as_slice() {
                svg.dot(*alone, color);
            }
        }
    }
}

fn verdicts(svg: &mut Svg, recording: &Recording, time: &Axis) {
    let (top, bottom) = VERDICTS;
    svg.title(top, "Verdict of each check");
    svg.rect((LEFT, top), (RIGHT, bottom), GRID);
    let kinds = [
        VerdictKind::Healthy,
        VerdictKind::NotEnoughData,
        VerdictKind::MetricsBroken,
        VerdictKind::Regressed,
    ];
    let mut legend = vec![(GRID, Mark::Box, "none".to_owned())];
    legend.extend(kinds.map(|k| (verdict_color(k), Mark::Box, verdict_words(k).to_owned())));
    svg.legend(top, &legend);
    let ends = recording.end.as_ref().map_or(time.to, |end| end.at_s);
    // A verdict stands until the next check, and not beyond its step.
    let until = |check: usize, step: usize| {
        let next = recording.checks.get(check + 1).map_or(ends, |next| next.at_s);
        let of_step = recording.steps.iter().find(|seen| seen.number == step);
        next.min(of_step.and_then(|seen| seen.until_s).unwrap_or(ends)).max(0.0)
    };
    for (index, check) in recording.checks.iter().enumerate() {
        let from = time.place(check.at_s);
        // A check that ends its step would have no width; it is what the end hangs on.
        let to = time.place(until(index, check.step)).max(from + 3.0);
        svg.rect((from, top), (to - 1.0, bottom), verdict_color(check.verdict));
    }
    let step_s = time_step_s(time.to);
    let mut at_s = 0.0;
    while at_s <= time.to {
        let x = time.place(at_s);
        svg.line(&[(x, bottom), (x, bottom + 5.0)], FAINT, "");
        let style = format!("font-size=\"12\" text-anchor=\"middle\" fill=\"{FAINT}\"");
        svg.text((x, bottom + 20.0), &format!("{at_s}"), &style);
        at_s += step_s;
    }
    // At the left, where the end never is.
    let style = format!("font-size=\"13\" fill=\"{FAINT}\"");
    svg.text((LEFT, bottom + 42.0), "seconds since the Cluster Ready event", &style);
}

/// The steps' boundaries and the end, in every panel.
fn boundaries(svg: &mut Svg, recording: &Recording, time: &Axis) {
    let ends = recording.end.as_ref().map_or(time.to, |end| end.at_s);
    let names_y = SHARE.0 - 7.0;
    if let Some(first) = recording.steps.first()
        && time.place(first.from_s) - LEFT > 2.0 * LABEL_WIDTH_MIN
    {
        let style = format!("font-size=\"13\" fill=\"{FAINT}\"");
        svg.text((LEFT + 5.0, names_y), "waiting until ready", &style);
    }
    for step in &recording.steps {
        let x = time.place(step.from_s);
        svg.upright(x, FAINT, "stroke-dasharray=\"2 3\"");
        let width = time.place(step.until_s.unwrap_or(ends)) - x;
        if width >= LABEL_WIDTH_MIN {
            let word = if width >= LABEL_WIDTH_MIN * 1.5 { "step " } else { "" };
            let name = format!("{word}{}: {} %", step.number, step.percent);
            svg.text((x + 5.0, names_y), &name, "font-size=\"13\"");
        }
    }
    if let Some(end) = &recording.end {
        let x = time.place(end.at_s);
        svg.upright(x, INK, "stroke-width=\"1.8\"");
        svg.line(&[(x, VERDICTS.1), (x, VERDICTS.1 + 44.0)], INK, "stroke-width=\"1.8\"");
        let style = "font-size=\"14\" font-weight=\"bold\" text-anchor=\"end\"";
        let name = format!("{} at {:.0} s", end.name, end.at_s);
        svg.text((x.max(LEFT + 160.0) - 6.0, VERDICTS.1 + 44.0), &name, style);
    }
}

const fn verdict_color(kind: VerdictKind) -> &'static str {
    match kind {
        VerdictKind::Healthy => "#34d399",
        VerdictKind::NotEnoughData => "#fbbf24",
        VerdictKind::MetricsBroken => "#a78bfa",
        VerdictKind::Regressed => "#dc2626",
    }
}

/// Error rates in percent over the last [`ERROR_WINDOW`] seconds, with the time of each; `None`
/// in a second without requests.
fn error_rates(
    samples: &[Sample],
    counts: impl Fn(&Sample) -> (u64, u64),
) -> Vec<Option<(f64, f64)>> {
    let ends = 1..=samples.len();
    ends.map(|end| {
        let window = samples.get(end.saturating_sub(ERROR_WINDOW)..end)?;
        let newest = window.last()?;
        if counts(newest).0 == 0 {
            return None;
        }
        let (requests, errors) = window
            .iter()
            .map(&counts)
            .fold((0, 0), |sum, (requests, errors)| (sum.0 + requests, sum.1 + errors));
        let as_f64 = |count: u64| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
        Some((newest.at_s, as_f64(errors) / as_f64(requests) * 100.0))
    })
    .collect()
}

/// The runs of neighbours that are there, cut where one is missing.
fn unbroken(points: impl Iterator<Item = Option<(f64, f64)>>) -> Vec<Vec<(f64, f64)>> {
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
fn nice_step(wanted: f64) -> f64 {
    let power = 10_f64.powf(wanted.max(1e-6).log10().floor());
    let step = [1.0, 2.0, 5.0].into_iter().map(|n| n * power).find(|step| *step >= wanted);
    step.unwrap_or(10.0 * power)
}

/// Seconds between two labels of the time axis: about a dozen labels.
fn time_step_s(total_s: f64) -> f64 {
    let steps = [1.0, 2.0, 5.0, 10.0, 15.0, 20.0, 30.0, 60.0, 120.0, 300.0];
    steps.into_iter().find(|step| total_s / step <= 14.0).unwrap_or(600.0)
}

fn shortened(text: &str, chars_max: usize) -> String {
    if text.chars().count() <= chars_max {
        return text.to_owned();
    }
    text.chars().take(chars_max - 1).chain(['…']).collect()
}

/// From a value to a place on the picture.
struct Axis {
    from: f64,
    to: f64,
    at: (f64, f64),
}

impl Axis {
    fn place(&self, value: f64) -> f64 {
        let along = (value - self.from) / (self.to - self.from);
        self.at.0 + along.clamp(0.0, 1.0) * (self.at.1 - self.at.0)
    }
}

/// How a legend shows a colour.
#[derive(Clone, Copy)]
enum Mark {
    Line,
    Dashes,
    Dot,
    Box,
}

/// Writes SVG. Fonts are named generically, so that the picture needs nothing from outside.
struct Svg(String);

impl Svg {
    fn new() -> Self {
        Self(format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{HEIGHT}\" \
             viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"Helvetica, Arial, sans-serif\" \
             fill=\"{INK}\">\n<rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#ffffff\"/>\n"
        ))
    }

    fn finish(mut self) -> String {
        self.0.push_str("</svg>\n");
        self.0
    }

    fn push(&mut self, element: std::fmt::Arguments<'_>) {
        // Writing to a `String` never fails.
        let _ = self.0.write_fmt(element);
        self.0.push('\n');
    }

    fn text(&mut self, (x, y): (f64, f64), text: &str, style: &str) {
        let text = escaped(text);
        self.push(format_args!("<text x=\"{x:.1}\" y=\"{y:.1}\" {style}>{text}</text>"));
    }

    fn line(&mut self, points: &[(f64, f64)], color: &str, style: &str) {
        let points: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let points = points.join(" ");
        self.push(format_args!(
            "<polyline points=\"{points}\" fill=\"none\" stroke=\"{color}\" {style}/>"
        ));
    }

    fn rect(&mut self, (left, top): (f64, f64), (right, bottom): (f64, f64), color: &str) {
        let (width, height) = ((right - left).max(0.0), bottom - top);
        self.push(format_args!(
            "<rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" \
             fill=\"{color}\"/>"
        ));
    }

    fn dot(&mut self, (x, y): (f64, f64), color: &str) {
        self.push(format_args!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2.2\" fill=\"{color}\"/>"));
    }

    /// A vertical line through all panels, and not through their titles.
    fn upright(&mut self, x: f64, color: &str, style: &str) {
        for (top, bottom) in [(SHARE.0 - STEP_NAMES, SHARE.1), ERRORS, VERDICTS] {
            self.line(&[(x, top), (x, bottom)], color, style);
        }
    }

    /// The title of the panel that begins at `y`.
    fn title(&mut self, y: f64, title: &str) {
        self.text((LEFT, y - 10.0), title, "font-size=\"14\" font-weight=\"bold\"");
    }

    fn grid_line(&mut self, y: f64, label: &str) {
        self.line(&[(LEFT, y), (RIGHT, y)], GRID, "");
        let style = format!("font-size=\"12\" text-anchor=\"end\" fill=\"{FAINT}\"");
        self.text((LEFT - 8.0, y + 4.0), label, &style);
    }

    /// The legend of the panel that begins at `y`, set from the right edge to the left.
    fn legend(&mut self, y: f64, entries: &[(&str, Mark, String)]) {
        // Of a wide font at 13 pixels: the width of text is not known here.
        const CHAR_WIDTH: f64 = 7.5;
        const MARK_WIDTH: f64 = 22.0;
        let y = y - 14.0;
        let mut right = RIGHT;
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

/// Text as XML holds it; control characters, which it cannot hold, become spaces.
fn escaped(text: &str) -> String {
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

#[cfg(test)]
mod tests {
    use cutover_core::Counts;

    use super::*;
    use crate::recording::{Check, End, Intended, StepSeen};

    /// Five steps of ten seconds, the second of them held, and 15 % of errors on the new side.
    fn recording() -> Recording {
        let samples = (0_u32..56).map(|second| {
            let tenths = 2 * ((second + 7) / 10).min(5);
            let lump = second * 7 % 5;
            let new = u64::from((20 * tenths + 4 * lump).min(200));
            Sample {
                at_s: f64::from(second),
                old: Counts { requests: 200 - new, errors: u64::from(second % 9 == 0) },
                new: Counts { requests: new, errors: new / 8 },
            }
        });
        let step = |number: u8| StepSeen {
            number: usize::from(number),
            percent: f64::from(number) * 20.0,
            from_s: f64::from(number) * 10.0 - 7.0,
            until_s: Some(f64::from(number) * 10.0 + 3.0),
            verdict: Some(VerdictKind::Healthy),
        };
        let check = |number: u8| Check {
            at_s: 5.0 + 2.0 * f64::from(number),
            step: usize::from(number) / 5 + 1,
            verdict: match number % 5 {
                0 => VerdictKind::NotEnoughData,
                4 if number > 20 => VerdictKind::Regressed,
                _ => VerdictKind::Healthy,
            },
            sentence: String::new(),
            measured: None,
        };
        Recording {
            new: "green & <co>".to_owned(),
            samples: samples.collect(),
            intended: vec![
                Intended { at_s: 0.3, share: None },
                Intended { at_s: 3.0, share: Some(0.2) },
                Intended { at_s: 13.0, share: Some(0.4) },
                Intended { at_s: 23.0, share: Some(1.0) },
            ],
            steps: (1..=5).map(step).collect(),
            checks: (0..24).map(check).collect(),
            end: Some(End {
                at_s: 53.2,
                name: "Completed".to_owned(),
                reason: "every step was passed & \"all\" < 5 %".to_owned(),
                weights: vec![],
            }),
            ..Recording::for_test()
        }
    }

    /// Walks over the tags and checks that each opened element is closed in turn.
    fn assert_well_formed(xml: &str) {
        let mut open = vec![];
        for part in xml.split('<').skip(1) {
            let (tag, text) = part.split_once('>').expect("a tag ends");
            assert!(!text.contains('>'), "a bare > in {part:?}");
            assert_eq!(tag.matches('"').count() % 2, 0, "quotes in {tag:?}");
            for entity in text.split('&').skip(1) {
                let known = ["amp;", "lt;", "gt;", "quot;"];
                assert!(known.iter().any(|known| entity.starts_with(known)), "{text:?}");
            }
            let name = tag.split_whitespace().next().expect("a tag has a name");
            if let Some(name) = name.strip_prefix('/') {
                assert_eq!(open.pop(), Some(name));
            } else if !tag.ends_with('/') {
                open.push(name);
            }
        }
        assert!(open.is_empty(), "left open: {open:?}");
    }

    #[test]
    fn a_picture_is_well_formed_and_shows_every_step_and_the_end() {
        let svg = draw(&recording());
        assert_well_formed(&svg);
        for said in ["step 1: 20 %", "step 3: 60 %", "step 5: 100 %", "Completed at 53 s"] {
            assert!(svg.contains(said), "{said} is missing");
        }
        assert!(svg.contains("green &amp; &lt;co&gt;"));
        assert!(!svg.contains("href") && !svg.contains("url("), "needs nothing from outside");
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "every number is a number");
    }

    #[test]
    fn a_run_that_never_began_can_be_drawn() {
        let empty =
            Recording { samples: vec![], steps: vec![], checks: vec![], end: None, ..recording() };
        assert_well_formed(&draw(&empty));
    }

    #[test]
    fn an_error_rate_is_taken_over_several_seconds_and_needs_requests() {
        let sample = |at_s, requests, errors| Sample {
            at_s,
            old: Counts { requests, errors },
            new: Counts::default(),
        };
        let samples =
            [sample(0.0, 10, 1), sample(1.0, 0, 0), sample(2.0, 10, 0), sample(3.0, 10, 0)];
        let rates = error_rates(&samples, |s| (s.old.requests, s.old.errors));
        assert_eq!(rates, [Some((0.0, 10.0)), None, Some((2.0, 5.0)), Some((3.0, 0.0))]);
    }

    #[test]
    fn axes_have_round_numbers() {
        for (wanted, step) in [(0.13, 0.2), (1.0, 1.0), (1.2, 2.0), (4.1, 5.0), (7.0, 10.0)] {
            assert!((nice_step(wanted) - step).abs() < 1e-9, "{wanted}");
        }
    }
}
