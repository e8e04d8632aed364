//! The picture of a run: one self-contained SVG. On top the intended and the measured share, below
//! the error rates and the evidence, at the bottom the verdicts, all over the same seconds.

use chart::{
    Axis, FAINT, GRID, INK, LIMIT, Mark, NEW, OLD, Panel, Scale, Svg, nice_step, time_step_s,
    unbroken,
};
use cutover_core::{VerdictKind, shortened};

use crate::recording::{Recording, Sample};

const WIDTH: f64 = 1200.0;
const HEIGHT: f64 = 980.0;
/// Left and right edge of every panel.
const LEFT: f64 = 64.0;
const RIGHT: f64 = 1172.0;
/// Over the shares the steps have their names.
const SHARE: Panel = Panel { left: LEFT, right: RIGHT, top: 146.0, bottom: 420.0, head: 18.0 };
const ERRORS: Panel = Panel { left: LEFT, right: RIGHT, top: 478.0, bottom: 622.0, head: 0.0 };
const EVIDENCE: Panel = Panel { left: LEFT, right: RIGHT, top: 680.0, bottom: 804.0, head: 0.0 };
const VERDICTS: Panel = Panel { left: LEFT, right: RIGHT, top: 858.0, bottom: 888.0, head: 0.0 };
const PANELS: [Panel; 4] = [SHARE, ERRORS, EVIDENCE, VERDICTS];

/// Seconds over which an error rate is taken, so that one error among few requests is no spike.
const ERROR_WINDOW: usize = 3;
/// The lowest e that has a place of its own. The part of the stake that is kept for faults that begin
/// late holds e above it for as long as a run of the lab lasts.
const E_MIN: f64 = 0.1;
/// What e must reach as long as no check has told it.
const LOG10_LIMIT_USUAL: f64 = 2.0;
/// Powers of ten that have a label.
const E_LABELS_MAX: usize = 5;

/// Narrower steps get no label.
const LABEL_WIDTH_MIN: f64 = 64.0;

/// Draws a run.
#[must_use]
pub fn draw(recording: &Recording) -> String {
    let mut svg = Svg::new(WIDTH, HEIGHT);
    let last_s = recording.samples.last().map_or(0.0, |sample| sample.at_s + 1.0);
    let end_s = recording.end.as_ref().map_or(0.0, |end| end.at_s);
    let time = SHARE.across(0.0, last_s.max(end_s).max(1.0));
    head(&mut svg, recording);
    shares(&mut svg, recording, &time);
    errors(&mut svg, recording, &time);
    evidence(&mut svg, recording, &time);
    verdicts(&mut svg, recording, &time);
    boundaries(&mut svg, recording, &time);
    svg.finish()
}

fn head(svg: &mut Svg, recording: &Recording) {
    let Recording { scenario, router, seed, old, new, routes, .. } = recording;
    let (scenario, router) = (scenario.name(), router.name());
    let title = format!("cutover lab, router {router}, scenario {scenario}: from {old} to {new}");
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
    let share = SHARE.upward(0.0, 100.0, Scale::Linear);
    svg.title(&SHARE, "Requests of the new side, %");
    for percent in [0.0, 20.0, 40.0, 60.0, 80.0, 100.0] {
        svg.grid_line(&SHARE, share.place(percent), &format!("{percent}"));
    }
    svg.legend(
        &SHARE,
        &[
            (INK, Mark::Line, format!("intended, by the weights {}", recording.router.words())),
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
    let rate = ERRORS.upward(0.0, top, Scale::Linear);
    svg.title(&ERRORS, &format!("Failed requests, %, mean of {ERROR_WINDOW} s"));
    let mut value = 0.0;
    while value <= top {
        svg.grid_line(&ERRORS, rate.place(value), &format!("{value}"));
        value += step;
    }
    svg.legend(
        &ERRORS,
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

fn evidence(svg: &mut Svg, recording: &Recording, time: &Axis) {
    let log10_limit = recording.checks.last().map_or(LOG10_LIMIT_USUAL, |c| c.log10_limit);
    let limit = 10_f64.powf(log10_limit);
    // A period may multiply e by the root of the limit; a check of the lab sees two more of them.
    let e = EVIDENCE.upward(E_MIN, limit * limit, Scale::Log10);
    svg.title(&EVIDENCE, "Evidence against the new side, e of each check");
    for exponent in e.decades(E_LABELS_MAX) {
        svg.grid_line(&EVIDENCE, e.place(10_f64.powi(exponent)), &power_of_ten(exponent));
    }
    svg.legend(
        &EVIDENCE,
        &[
            (INK, Mark::Dot, "e; 1 speaks for neither side".to_owned()),
            (LIMIT, Mark::Dashes, format!("limit, {limit:.0}")),
        ],
    );
    let y = e.place(limit);
    svg.line(&[(LEFT, y), (RIGHT, y)], LIMIT, "stroke-width=\"1.2\" stroke-dasharray=\"6 4\"");
    let points = recording.checks.iter().map(|check| {
        let log10_e = check.log10_e?;
        Some((time.place(check.at_s), e.place(10_f64.powf(log10_e))))
    });
    for run in unbroken(points) {
        svg.line(&run, INK, "stroke-width=\"1.2\" stroke-opacity=\"0.6\"");
        for point in run {
            svg.dot(point, INK);
        }
    }
}

/// A power of ten in digits, or as one where they would be too many: `0.01`, `100`, `10^6`.
fn power_of_ten(exponent: i32) -> String {
    match usize::try_from(exponent.unsigned_abs()) {
        Ok(digits @ 0..=5) if exponent < 0 => format!("{:.digits$}", 10_f64.powi(exponent)),
        Ok(0..=5) => format!("{:.0}", 10_f64.powi(exponent)),
        _ => format!("10^{exponent}"),
    }
}

fn verdicts(svg: &mut Svg, recording: &Recording, time: &Axis) {
    let Panel { top, bottom, .. } = VERDICTS;
    svg.title(&VERDICTS, "Verdict of each check");
    svg.rect((LEFT, top), (RIGHT, bottom), GRID);
    let kinds = [
        VerdictKind::Healthy,
        VerdictKind::NotEnoughData,
        VerdictKind::MetricsBroken,
        VerdictKind::Regressed,
    ];
    let mut legend = vec![(GRID, Mark::Box, "none".to_owned())];
    legend.extend(kinds.map(|k| (verdict_color(k), Mark::Box, k.words().to_owned())));
    svg.legend(&VERDICTS, &legend);
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
        svg.tick(&VERDICTS, time.place(at_s), &format!("{at_s}"));
        at_s += step_s;
    }
    // At the left, where the end never is.
    let style = format!("font-size=\"13\" fill=\"{FAINT}\"");
    svg.text((LEFT, bottom + 42.0), "seconds since the Cluster Ready event", &style);
}

/// The steps' boundaries and the end, in every panel.
fn boundaries(svg: &mut Svg, recording: &Recording, time: &Axis) {
    let ends = recording.end.as_ref().map_or(time.to, |end| end.at_s);
    let names_y = SHARE.top - 7.0;
    if let Some(first) = recording.steps.first()
        && time.place(first.from_s) - LEFT > 2.0 * LABEL_WIDTH_MIN
    {
        let style = format!("font-size=\"13\" fill=\"{FAINT}\"");
        svg.text((LEFT + 5.0, names_y), "waiting until ready", &style);
    }
    for step in &recording.steps {
        let x = time.place(step.from_s);
        svg.upright(&PANELS, x, FAINT, "stroke-dasharray=\"2 3\"");
        let width = time.place(step.until_s.unwrap_or(ends)) - x;
        if width >= LABEL_WIDTH_MIN {
            let word = if width >= LABEL_WIDTH_MIN * 1.5 { "step " } else { "" };
            let name = format!("{word}{}: {} %", step.number, step.percent);
            svg.text((x + 5.0, names_y), &name, "font-size=\"13\"");
        }
    }
    if let Some(end) = &recording.end {
        let x = time.place(end.at_s);
        svg.upright(&PANELS, x, INK, "stroke-width=\"1.8\"");
        svg.line(&[(x, VERDICTS.bottom), (x, VERDICTS.bottom + 44.0)], INK, "stroke-width=\"1.8\"");
        let style = "font-size=\"14\" font-weight=\"bold\" text-anchor=\"end\"";
        let name = format!("{} at {:.0} s", end.name, end.at_s);
        svg.text((x.max(LEFT + 160.0) - 6.0, VERDICTS.bottom + 44.0), &name, style);
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
            log10_e: (number != 7).then(|| f64::from(number) / 2.0 - 5.0),
            log10_limit: 2.0,
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

    #[test]
    fn a_picture_is_well_formed_and_shows_every_step_and_the_end() {
        let svg = draw(&recording());
        assert_eq!(chart::check(&svg), Ok(()));
        for said in ["step 1: 20 %", "step 3: 60 %", "step 5: 100 %", "Completed at 53 s"] {
            assert!(svg.contains(said), "{said} is missing");
        }
        assert!(svg.contains("green &amp; &lt;co&gt;"));
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "every number is a number");
    }

    #[test]
    fn evidence_is_drawn_with_its_limit_and_stays_in_its_panel() {
        let svg = draw(&recording());
        for said in [">1<", ">10000<", ">limit, 100<", "Evidence against the new side"] {
            assert!(svg.contains(said), "{said} is missing");
        }
        // Of e up to 10^6.5 on an axis that ends at 10^4, and of e down to 10^-5.
        for edge in [EVIDENCE.top, EVIDENCE.bottom] {
            assert!(svg.contains(&format!("cy=\"{edge:.1}\"")), "nothing lies at {edge}");
        }
    }

    #[test]
    fn powers_of_ten_are_written_out_up_to_six_digits() {
        let written = [-6, -2, 0, 3, 5, 6].map(power_of_ten);
        assert_eq!(written, ["10^-6", "0.01", "1", "1000", "100000", "10^6"]);
    }

    #[test]
    fn a_run_that_never_began_can_be_drawn() {
        let empty =
            Recording { samples: vec![], steps: vec![], checks: vec![], end: None, ..recording() };
        assert_eq!(chart::check(&draw(&empty)), Ok(()));
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
}
