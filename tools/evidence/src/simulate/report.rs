//! The report, as Markdown for people and as CSV with every cell.

use std::fmt::Write as _;

use cutover_core::grouped;

use super::claims::{FALSE_MAX, FEWEST_TIMES, OURS, claims, equals, pairs, shown};
use super::traffic::{Bursts, Fault, RampShape, Scene};
use super::{Cell, KIND_SIZES, KindCell, Outcome, Runs, Share, rule_names};

/// Cells that the report shows in full: a scene, a fault, and what is to be seen in it.
#[must_use]
pub fn shown_cells() -> Vec<(&'static str, Scene, Fault)> {
    let scene = |requests_per_s, error_rate, bursts| Scene {
        ramp: RampShape::Canary,
        requests_per_s,
        error_rate,
        bursts,
        resolvers: 200,
        day_curve: false,
    };
    let quiet = scene(1000.0, 0.001, Bursts::None);
    vec![
        ("0.1 % tripled", quiet, Fault::Times(3.0)),
        (
            "0.1 % becomes 50 % at 10 requests/s",
            Scene { requests_per_s: 10.0, ..quiet },
            Fault::Rate(0.5),
        ),
        ("2 % tripled", Scene { error_rate: 0.02, ..quiet }, Fault::Times(3.0)),
        (
            "0.1 % with bursts of each side by itself becomes 1 %",
            Scene { bursts: Bursts::Independent, ..quiet },
            Fault::Times(10.0),
        ),
        ("0.1 % becomes 50 % after 25 minutes", quiet, Fault::Leak),
    ]
}

/// The whole report. `command` is what makes it again.
#[must_use]
pub fn markdown(cells: &[Cell], kinds: &[KindCell], runs: Runs, command: &str) -> String {
    let mut out = String::new();
    // Writing to a `String` never fails.
    let _ = write!(
        out,
        "# Evidence, side by side\n\n\
         Every rule sees the same simulated minutes of a ramp and says when to roll back. Made by\n\n\
         ```sh\n{command}\n```\n\n\
         {} scenes with equal sides, {} runs each, and {} bad cells, {} runs each. A cell is one scene with one \
         fault; `cells.csv`, which the command writes beside this page, has all of them. Intervals are 95 % \
         (Wilson's).\n\n",
        grouped(equals(cells).count() as u64),
        grouped(u64::from(runs.equal)),
        grouped(pairs(cells).count() as u64),
        grouped(u64::from(runs.faulty)),
    );
    out.push_str(MODEL);
    out.push_str("\n## Claims\n\n| claim | measured | holds |\n| --- | --- | --- |\n");
    for claim in claims(cells, kinds) {
        let holds = if claim.holds { "yes" } else { "**no**" };
        let _ = writeln!(out, "| {} | {} | {holds} |", claim.text, claim.measured);
    }
    if !kinds.is_empty() {
        of_kinds(&mut out, kinds);
    }
    rules(&mut out, cells);
    for (title, scene, fault) in shown_cells() {
        cell(&mut out, cells, title, &scene, fault);
    }
    lost(&mut out, cells);
    out
}

const MODEL: &str = "\
Requests are Poisson, each fails by itself; edges ask DNS through resolvers with equal shares of the traffic, \
each of which keeps one answer for 60 s. Ramps: *canary* 1, 5, 10, 25, 50, 100 % and *linear* 10, 20, … 100 %, \
ten minutes a step; 2 to 10,000 requests/s (fast grid: 10 and 1,000); old error rates 0, 0.1, 1 and 2 % (0.1 and 2 %); 2, 5, 20 and 200 resolvers (5 and 200); \
a flat load and a day's curve (± 60 %). Bursts: none, × 20 in 3 % of the minutes on both sides at once (*shared*) \
or on each by itself (*independent*), and a gamma-distributed factor of mean 1 and variance ½ every minute on each \
side (*wander*). Faults: × 2, × 3, × 10, 5 %, 50 %, all, and a *leak*: nothing for 25 minutes, then 50 %. All \
runs of a scene share their requests, bursts and old errors. Rules decide at the end of a minute; no metrics \
delay is added to any.

The rules, each in a file of `tools/evidence/src/rules` that cites what it follows: a CloudWatch alarm as CodeDeploy and \
ECS use it (1 of 1 and 2 of 3 minutes over 1 % and 5 %), Flagger, Argo Rollouts, Kayenta's Mann-Whitney judge \
with the 50 points that its documentation recommends, a z-test of the totals that is looked at every minute, a test by \
betting without a tolerance, the mixture sequential probability ratio test, Fisher's exact test of each ten minutes, and \
O'Brien and Fleming's boundary at six looks.

What to know before believing it:
- The old side has served a day before, with the same bursts. **cutover alone looks at it**; the others have nothing \
to look at it with.
- The bursts of these scenes last a minute. What lasts longer, lags, clumps or changes sides is under *Kinds*. The structure of \
the rule was chosen for the ways in which two equally good sides differ; a few of its constants were chosen by looking at these \
kinds, so they are no blind test of it. Other kinds exist.
- cutover is asked for the verdict of a check at the end of every minute, over the newest 200 minutes: with the weights, which \
are live at once and settle in the 60 s of the resolvers, and ten minutes of the old side before the ramp where there is a day. \
So it takes back for what vanishes on the way as well, and for what fails on both sides since a step.
- The ramp is the same for all: no rule holds a step. cutover would hold one in which fewer than `requests_min` (100) \
requests reached the new side, as at 2 requests/s and 1 %, and go back after `hold_max_s` unless `on_no_data` is \
`advance`: that is not played. Nor is that Flagger stops advancing after a failed check. Argo is asked every minute; the \
template in its documentation asks every five.
- Flagger takes a minute without requests for a failed check, and Argo one without a value for an error: at few requests their \
false roll-backs are of that.
- Bad cells in which no rule that keeps to 1 % stops anything count as even.
";

/// What the scenes do not have: ours cell by cell, and the others beside it.
fn of_kinds(out: &mut String, kinds: &[KindCell]) {
    let runs = kinds.first().map_or(0, |cell| cell.runs);
    let _ = write!(
        out,
        "\n## Other kinds of traffic\n\n{} runs of each cell. The base rate is 0.1 %, the ramp is the canary and the \
         traffic is that of the column, unless the kind says otherwise. *Last step 98.5 %* is a ramp of 10, 50, 90, 95 and 98.5 %, \
         the last for half an hour; *a cold start* begins at 10 %, and has the default time to warm up. What each kind is, \
         `tools/evidence/src/simulate/kinds.rs` says. *An incident to 50 %* is a catastrophe of both sides: where it begins within five \
         periods after a step and the day had none, as in more than half of these ramps, cutover takes it for the work of the move \
         and goes back, so nothing is claimed of it.\n\n\
         A fault and an incident that reaches the new side a minute before the old one are the same in their first minute. A rule that \
         decides in that minute takes back every such incident, and one that waits for the second serves twice as many failed \
         requests; so cutover waits, unless a third of the requests fail.\n\nFirst cutover, with a day of the old side before the ramp and without, at \
         100 and 1,000 requests/s.\n",
        grouped(u64::from(runs))
    );
    for (is_bad, title) in [
        (false, "Equal sides: rolled back in % of the runs"),
        (true, "Bad new sides: found in % of the runs; median minutes; failed requests served"),
    ] {
        let _ = write!(
            out,
            "\n### {title}\n\n| kind | day, 100/s | day, 1,000/s | no day, 100/s | no day, 1,000/s |\n\
             | --- | ---: | ---: | ---: | ---: |\n"
        );
        for (name, cells) in by_kind(kinds, is_bad) {
            let _ = write!(out, "| {name} |");
            for (day, requests_per_s) in KIND_SIZES {
                let cell = cells.iter().find(|cell| {
                    cell.day == day && (cell.requests_per_s - requests_per_s).abs() < 1e-9
                });
                let _ = match (cell, cell.and_then(|cell| cell.outcomes.get(OURS))) {
                    (Some(cell), Some(outcome)) if is_bad => {
                        let minutes = outcome.median_minutes().map_or(0, |minutes| minutes);
                        let found = cell.stopped(OURS).share * 100.0;
                        write!(out, " {found:.0} %; {minutes}; {:.0} |", outcome.failed)
                    }
                    (Some(cell), _) => write!(out, " {:.1} |", cell.stopped(OURS).share * 100.0),
                    (None, _) => write!(out, " – |"),
                };
            }
            out.push('\n');
        }
    }
    for (is_bad, title) in [
        (false, "Equal sides, all rules: rolled back in % of the runs"),
        (true, "Bad new sides, all rules: found in % of the runs"),
    ] {
        let _ = write!(
            out,
            "\n### {title}\n\nAt 1,000 requests/s, without a day where the kind can be without one.\n\n| kind |"
        );
        for name in rule_names() {
            let _ = write!(out, " {name} |");
        }
        out.push_str("\n| --- |");
        out.push_str(&" ---: |".repeat(rule_names().len()));
        out.push('\n');
        for (name, cells) in by_kind(kinds, is_bad) {
            let Some(cell) = cells.last() else { continue };
            let _ = write!(out, "| {name} |");
            for rule in 0..rule_names().len() {
                let _ = write!(out, " {:.0} |", cell.stopped(rule).share * 100.0);
            }
            out.push('\n');
        }
    }
}

/// The cells of each kind, in the order in which they are played.
fn by_kind(kinds: &[KindCell], is_bad: bool) -> Vec<(&str, Vec<&KindCell>)> {
    let mut by: Vec<(&str, Vec<&KindCell>)> = Vec::new();
    for cell in kinds.iter().filter(|cell| cell.is_bad == is_bad) {
        let name = cell.kind.name.as_str();
        match by.last_mut() {
            Some((last, cells)) if *last == name => cells.push(cell),
            _ => by.push((name, vec![cell])),
        }
    }
    by
}

fn rules(out: &mut String, cells: &[Cell]) {
    out.push_str(
        "\n## All cells\n\nThe last column is the part of the bad cells in which a rule keeps to 1 % false \
         roll-backs and serves the fewest failed requests of all rules that do, or up to twice as many.\n\n\
         | rule | scenes with at most 1 % false roll-backs | worst scene | bad releases stopped, mean | \
         median minutes of those | keeps to 1 % and serves the fewest |\n\
         | --- | ---: | ---: | ---: | ---: | ---: |\n",
    );
    for (rule, name) in rule_names().iter().enumerate() {
        let false_ones: Vec<Share> = equals(cells).map(|cell| cell.stopped(rule)).collect();
        let kept = false_ones.iter().filter(|share| share.share <= FALSE_MAX).count();
        let worst = false_ones.iter().copied().max_by(|a, b| a.share.total_cmp(&b.share));
        let mut stopped = 0.0;
        let mut good = 0;
        let mut minutes = Vec::new();
        let mut bad = 0_u32;
        for pair in pairs(cells) {
            let Some(outcome) = pair.bad.outcomes.get(rule) else { continue };
            stopped += pair.bad.stopped(rule).share;
            let times = pair.times_the_fewest(rule);
            good += u32::from(times.is_some_and(|times| times <= FEWEST_TIMES));
            minutes.extend(outcome.median_minutes());
            bad += 1;
        }
        minutes.sort_unstable();
        let bad = f64::from(bad.max(1));
        let _ = writeln!(
            out,
            "| {name} | {kept} of {} | {} | {:.1} % | {} | {:.1} % |",
            false_ones.len(),
            shown(worst),
            stopped / bad * 100.0,
            minutes.get(minutes.len() / 2).map_or("–".to_owned(), ToString::to_string),
            f64::from(good) / bad * 100.0
        );
    }
    out.push_str(
        "\n![False roll-backs of each rule, scene by scene](evidence-false.svg)\n\n\
         ![Failed requests served until the roll-back](evidence-failed.svg)\n\n\
         ![Our failed requests over the fewest, cell by cell](evidence-cells.svg)\n",
    );
}

/// The cell of a scene and a fault, and the scene's with equal sides.
#[must_use]
pub fn find<'a>(cells: &'a [Cell], scene: &Scene, fault: Fault) -> Option<(&'a Cell, &'a Cell)> {
    pairs(cells)
        .find(|pair| pair.bad.scene == *scene && pair.bad.fault == fault)
        .map(|pair| (pair.bad, pair.equal))
}

fn cell(out: &mut String, cells: &[Cell], title: &str, scene: &Scene, fault: Fault) {
    let Some((bad, equal)) = find(cells, scene, fault) else { return };
    let _ = write!(
        out,
        "\n## {title}\n\n{} requests/s, {} ramp, {} resolvers, bursts: {}.\n\n\
         | rule | false roll-backs | bad releases stopped | median minutes of those | failed requests served |\n\
         | --- | ---: | ---: | ---: | ---: |\n",
        scene.requests_per_s,
        scene.ramp.name(),
        scene.resolvers,
        scene.bursts.name()
    );
    for (rule, name) in rule_names().iter().enumerate() {
        let Some(Outcome { failed, failed_error, .. }) = bad.outcomes.get(rule) else { continue };
        let median = bad.outcomes.get(rule).and_then(Outcome::median_minutes);
        let _ = writeln!(
            out,
            "| {name} | {} | {} | {} | {failed:.0} ± {:.0} |",
            shown(Some(equal.stopped(rule))),
            shown(Some(bad.stopped(rule))),
            median.map_or("–".to_owned(), |minutes| minutes.to_string()),
            1.96 * failed_error
        );
    }
}

/// Where our rule serves more than twice the fewest, and who serves them.
fn lost(out: &mut String, cells: &[Cell]) {
    use std::collections::BTreeMap;
    // All cells, those in which ours does not keep to 1 %, those in which it is beaten, and by how much at most.
    let mut by: BTreeMap<(String, &str), (u32, u32, u32, f64)> = BTreeMap::new();
    for pair in pairs(cells) {
        let key = (pair.bad.fault.name(), pair.bad.scene.bursts.name());
        let entry = by.entry(key).or_default();
        entry.0 += 1;
        match pair.times_the_fewest(OURS) {
            None => entry.1 += 1,
            Some(times) if times > FEWEST_TIMES => {
                entry.2 += 1;
                entry.3 = entry.3.max(times);
            }
            Some(_) => {}
        }
    }
    out.push_str(
        "\n## Where another rule does better\n\nCells in which ours does not keep to 1 %, and those in which it \
         serves more than twice the fewest failed requests of all rules that do. Below \
         `tolerated_odds_ratio` (1.5) a difference is none to cutover: a rule without such a tolerance finds × 2 \
         sooner, where it has requests enough. And one failed request on a side that never had one is no reason \
         to go back: at 2 requests/s the alarm that fires on it serves fewer.\n\n\
         | fault | bursts | cells | not kept to 1 % | beaten | at most, × the fewest |\n\
         | --- | --- | ---: | ---: | ---: | ---: |\n",
    );
    for ((fault, bursts), (all, not_kept, beaten, most)) in by {
        if beaten > 0 {
            let _ =
                writeln!(out, "| {fault} | {bursts} | {all} | {not_kept} | {beaten} | {most:.1} |");
        } else if not_kept > 0 {
            let _ = writeln!(out, "| {fault} | {bursts} | {all} | {not_kept} | 0 | – |");
        }
    }
}

/// Every cell and rule in a line.
///
/// # Errors
/// When a line cannot be written.
pub fn csv(cells: &[Cell]) -> Result<Vec<u8>, csv::Error> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record([
        "ramp",
        "requests_per_s",
        "error_rate",
        "bursts",
        "resolvers",
        "day_curve",
        "fault",
        "rule",
        "runs",
        "stopped",
        "stopped_low",
        "stopped_high",
        "median_minutes",
        "failed",
        "failed_error",
    ])?;
    for cell in cells {
        let Scene { ramp, requests_per_s, error_rate, bursts, resolvers, day_curve } = cell.scene;
        for (rule, (name, outcome)) in rule_names().iter().zip(&cell.outcomes).enumerate() {
            let Share { share, interval: (low, high) } = cell.stopped(rule);
            writer.write_record([
                ramp.name(),
                &requests_per_s.to_string(),
                &error_rate.to_string(),
                bursts.name(),
                &resolvers.to_string(),
                &day_curve.to_string(),
                &cell.fault.name(),
                name,
                &cell.runs.to_string(),
                &format!("{share:.4}"),
                &format!("{low:.4}"),
                &format!("{high:.4}"),
                &outcome.median_minutes().map_or(String::new(), |minutes| minutes.to_string()),
                &format!("{:.1}", outcome.failed),
                &format!("{:.1}", outcome.failed_error),
            ])?;
        }
    }
    writer.into_inner().map_err(|error| csv::Error::from(error.into_error()))
}
