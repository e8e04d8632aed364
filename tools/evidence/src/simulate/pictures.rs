//! The report's pictures.

use chart::{Axis, FAINT, GRID, INK, Mark, Panel, Scale, Svg};

use super::claims::{OURS, Pair, equals, pairs};
use super::report::{find, shown_cells};
use super::traffic::{Bursts, Fault, RampShape};
use super::{Cell, FAULTS, rule_names};

const WIDTH: f64 = 1200.0;

/// A colour for each rule; ours is the first.
const COLORS: [&str; 9] = [
    "#059669", "#fca5a5", "#f87171", "#ef4444", "#b91c1c", "#60a5fa", "#a78bfa", "#f59e0b",
    "#6b7280",
];

fn color(rule: usize) -> &'static str {
    COLORS.get(rule).copied().unwrap_or(INK)
}

/// The false roll-backs of each rule, its scenes sorted by them.
#[must_use]
pub fn false_roll_backs(cells: &[Cell]) -> String {
    let panel = Panel { left: 64.0, right: 940.0, top: 70.0, bottom: 470.0, head: 0.0 };
    let mut svg = Svg::new(WIDTH, 540.0);
    svg.title(
        &panel,
        "False roll-backs of equal sides, % of the runs; each rule's scenes, best first",
    );
    let share = panel.upward(0.0, 100.0, Scale::Linear);
    for percent in [0.0, 25.0, 50.0, 75.0, 100.0] {
        svg.grid_line(&panel, share.place(percent), &format!("{percent}"));
    }
    let along = panel.across(0.0, 100.0);
    for percent in [0.0, 20.0, 40.0, 60.0, 80.0, 100.0] {
        svg.tick(&panel, along.place(percent), &format!("{percent}"));
    }
    let style = format!("font-size=\"13\" fill=\"{FAINT}\"");
    svg.text((64.0, 520.0), "% of the scenes", &style);
    for (rule, name) in rule_names().iter().enumerate().rev() {
        let mut false_ones: Vec<f64> =
            equals(cells).map(|cell| cell.stopped(rule).share * 100.0).collect();
        false_ones.sort_by(f64::total_cmp);
        let last = number(false_ones.len()).max(2.0) - 1.0;
        let points: Vec<_> = false_ones
            .iter()
            .enumerate()
            .map(|(i, y)| (along.place(number(i) / last * 100.0), share.place(*y)))
            .collect();
        let width = if rule == OURS { 3.5 } else { 1.8 };
        svg.line(&points, color(rule), &format!("stroke-width=\"{width}\""));
        let y = 90.0 + 26.0 * number(rule);
        svg.line(&[(960.0, y), (990.0, y)], color(rule), &format!("stroke-width=\"{width}\""));
        svg.text((1000.0, y + 4.0), name, "font-size=\"14\"");
    }
    svg.finish()
}

/// The failed requests that each rule serves in the cells that the report shows, on a log scale.
#[must_use]
pub fn failed_requests(cells: &[Cell]) -> String {
    const BAR: f64 = 18.0;
    let names = rule_names();
    let height = 60.0 + number(shown_cells().len()) * (number(names.len()) * BAR + 56.0);
    let mut svg = Svg::new(WIDTH, height);
    let mut top = 30.0;
    for (title, scene, fault) in shown_cells() {
        let Some((bad, equal)) = find(cells, &scene, fault) else { continue };
        let bottom = top + 20.0 + number(names.len()) * BAR;
        let panel = Panel { left: 170.0, right: 1100.0, top: top + 20.0, bottom, head: 0.0 };
        let all = bad.outcomes.iter().map(|outcome| outcome.failed.max(1.0));
        // The text beside the longest bar takes the last quarter.
        let most = all.fold(2.0, f64::max).powf(4.0 / 3.0);
        let axis = Axis { from: 1.0, to: most, at: (panel.left, panel.right), scale: Scale::Log10 };
        let text = format!("{title}: failed requests served until the roll-back (log scale)");
        svg.title(&panel, &text);
        for (rule, name) in names.iter().enumerate() {
            let Some(outcome) = bad.outcomes.get(rule) else { continue };
            let y = panel.top + number(rule) * BAR;
            let end = axis.place(outcome.failed.max(1.0));
            svg.rect(
                (panel.left, y + 2.0),
                (end.max(panel.left + 2.0), y + BAR - 2.0),
                color(rule),
            );
            let style = "font-size=\"13\" text-anchor=\"end\"";
            svg.text((panel.left - 8.0, y + 13.0), name, style);
            let stops = bad.stopped(rule).share * 100.0;
            let falsely = equal.stopped(rule).share * 100.0;
            let said = format!("{:.0}; stops {stops:.0} %, falsely {falsely:.1} %", outcome.failed);
            let style = format!("font-size=\"12\" fill=\"{FAINT}\"");
            svg.text((end + 8.0, y + 13.0), &said, &style);
        }
        top = bottom + 36.0;
    }
    svg.finish()
}

/// For each cell, our failed requests over the fewest of all rules that keep to 1 %. Of scenes that
/// differ in load and resolvers alone, the worst is shown.
#[must_use]
pub fn cells(cells: &[Cell]) -> String {
    const SIDE: f64 = 17.0;
    let rates = distinct(cells, |cell| cell.scene.requests_per_s);
    let error_rates = distinct(cells, |cell| cell.scene.error_rate);
    let bursts = [Bursts::None, Bursts::Shared, Bursts::Independent, Bursts::Wander];
    let faults = FAULTS.iter().filter(|fault| **fault != Fault::Equal);
    let columns: Vec<(Bursts, f64)> =
        bursts.iter().flat_map(|b| rates.iter().map(move |rate| (*b, *rate))).collect();
    let rows: Vec<(RampShape, Fault, f64)> = [RampShape::Canary, RampShape::Linear]
        .iter()
        .flat_map(|ramp| faults.clone().map(move |fault| (*ramp, *fault)))
        .flat_map(|(ramp, fault)| error_rates.iter().map(move |rate| (ramp, fault, *rate)))
        .collect();
    let left = 250.0;
    let wide = (WIDTH - 28.0 - left) / number(columns.len().max(1));
    let top = 110.0;
    let mut svg = Svg::new(WIDTH, top + SIDE * number(rows.len()) + 50.0);
    let panel = Panel { left: 64.0, right: 1172.0, top: 46.0, bottom: 46.0, head: 0.0 };
    svg.title(
        &panel,
        "Our failed requests over the fewest of all rules that keep to 1 %; of each cell's loads and resolvers \
         the worst",
    );
    let legend = LEVELS.map(|(_, color, said)| (color, Mark::Box, said.to_owned()));
    let legend_panel = Panel { top: 76.0, ..panel };
    svg.legend(&legend_panel, &legend);
    let small = format!("font-size=\"11\" fill=\"{FAINT}\"");
    for (x, (b, rate)) in columns.iter().enumerate() {
        let at = left + wide * number(x);
        if x % rates.len().max(1) == 0 {
            svg.text((at, top - 20.0), b.name(), "font-size=\"12\"");
        }
        svg.text((at + 2.0, top - 6.0), &short(*rate), &small);
    }
    let mut told = None;
    for (y, (ramp, fault, error_rate)) in rows.iter().enumerate() {
        let at = top + SIDE * number(y);
        if told != Some((*ramp, *fault)) {
            told = Some((*ramp, *fault));
            let label = format!("{}, {}", ramp.name(), fault.name());
            svg.text((64.0, at + 13.0), &label, "font-size=\"12\"");
        }
        svg.text((190.0, at + 13.0), &format!("{} %", error_rate * 100.0), &small);
        for (x, (b, rate)) in columns.iter().enumerate() {
            let here = |pair: &Pair<'_>| {
                let scene = pair.bad.scene;
                scene.ramp == *ramp
                    && pair.bad.fault == *fault
                    && scene.bursts == *b
                    && (scene.requests_per_s - rate).abs() < 1e-9
                    && (scene.error_rate - error_rate).abs() < 1e-9
            };
            let times = pairs(cells).filter(here);
            let times = times
                .map(|pair| pair.times_the_fewest(OURS).unwrap_or(f64::INFINITY))
                .reduce(f64::max);
            let corner = (left + wide * number(x), at);
            let color = times.map_or(GRID, level);
            svg.rect(corner, (corner.0 + wide - 1.5, corner.1 + SIDE - 1.5), color);
        }
    }
    svg.finish()
}

/// Up to how many times the fewest, its colour and its name.
const LEVELS: [(f64, &str, &str); 5] = [
    (1.0, "#065f46", "the fewest"),
    (1.2, "#34d399", "up to 1.2 times"),
    (2.0, "#fde68a", "up to 2"),
    (5.0, "#f59e0b", "up to 5"),
    (f64::INFINITY, "#dc2626", "more"),
];

fn level(times: f64) -> &'static str {
    LEVELS.iter().find(|(most, ..)| times <= *most).map_or(INK, |(_, color, _)| *color)
}

fn distinct(cells: &[Cell], of: impl Fn(&Cell) -> f64) -> Vec<f64> {
    let mut values: Vec<f64> = cells.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values.dedup_by(|a, b| (*a - *b).abs() < 1e-9);
    values
}

fn short(rate: f64) -> String {
    if rate >= 1000.0 { format!("{}k", rate / 1000.0) } else { format!("{rate}") }
}

fn number(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}
