//! What a run looks like while it goes on, and its summary. On a terminal a few lines that stay in
//! place; elsewhere a plain log.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write as _};
use std::time::Instant;

use cutover_core::Counts;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::recording::{Check, Recording, Sample};

/// A plain log says how things stand every so many seconds.
const STATUS_EVERY_S: f64 = 5.0;
/// Seconds over which rates are taken.
const RATE_WINDOW: usize = 3;
/// Steps of the progress bar.
const BAR_LENGTH: u64 = 1000;

/// The set-up, told step by step with the time since it began.
#[derive(Debug)]
pub struct SetUp(Instant);

impl SetUp {
    /// Begins.
    #[must_use]
    pub fn begin() -> Self {
        Self(Instant::now())
    }

    /// Says what is being done next.
    pub fn step(&self, what: &str) {
        say(&format!("set-up {:5.1} s  {what}", self.0.elapsed().as_secs_f64()));
    }
}

/// Says something. A closed standard output is no reason to give up.
pub fn say(text: &str) {
    let _ = writeln!(io::stdout(), "{text}");
}

/// Shows a recording while it grows.
#[derive(Debug)]
pub struct View {
    terminal: Option<Terminal>,
    notes_shown: usize,
    status_due_s: f64,
}

/// The lines that stay in place.
#[derive(Debug)]
struct Terminal {
    all: MultiProgress,
    ramp: ProgressBar,
    old: ProgressBar,
    new: ProgressBar,
    share: ProgressBar,
    verdict: ProgressBar,
}

impl View {
    /// A view for what standard output is.
    #[must_use]
    pub fn new() -> Self {
        let terminal = io::stdout().is_terminal().then(Terminal::new);
        Self { terminal, notes_shown: 0, status_due_s: 0.0 }
    }

    /// Shows what is new, `now_s` seconds after the event.
    pub fn update(&mut self, recording: &Recording, now_s: f64) {
        for note in recording.notes.iter().skip(self.notes_shown) {
            self.line(&format!("run    {:5.1} s  {}", note.at_s, note.text));
        }
        self.notes_shown = recording.notes.len();
        if let Some(terminal) = &self.terminal {
            terminal.update(recording, now_s);
        } else if now_s >= self.status_due_s {
            self.line(&format!("run    {now_s:5.1} s    {}", status(recording, now_s)));
            self.status_due_s = now_s + STATUS_EVERY_S;
        }
    }

    /// A line that stays, above those that change.
    fn line(&self, text: &str) {
        let _ = match &self.terminal {
            Some(terminal) => terminal.all.println(text),
            None => writeln!(io::stdout(), "{text}"),
        };
    }

    /// Removes the lines that change.
    pub fn close(&mut self) {
        if let Some(terminal) = self.terminal.take() {
            let _ = terminal.all.clear();
        }
    }
}

impl Default for View {
    fn default() -> Self {
        Self::new()
    }
}

impl Terminal {
    fn new() -> Self {
        let all = MultiProgress::with_draw_target(ProgressDrawTarget::stdout());
        let line = |template: &str| {
            let bar = all.add(ProgressBar::new(BAR_LENGTH));
            match ProgressStyle::with_template(template) {
                Ok(style) => bar.with_style(style.progress_chars("━╸─")),
                Err(_) => bar,
            }
        };
        let ramp = line("{prefix:<14} {bar:40.green/dim} {msg}");
        let [old, new, share, verdict] = [(); 4].map(|()| line("{prefix:<14} {wide_msg}"));
        share.set_prefix("share");
        verdict.set_prefix("verdict");
        Self { all, ramp, old, new, share, verdict }
    }

    fn update(&self, recording: &Recording, now_s: f64) {
        self.ramp.set_prefix(step(recording));
        self.ramp.set_position(permille(recording, now_s));
        self.ramp.set_message(times(recording, now_s));
        let (old, new) = rates(&recording.samples);
        self.old.set_prefix(recording.old.clone());
        self.old.set_message(old);
        self.new.set_prefix(recording.new.clone());
        self.new.set_message(new);
        self.share.set_message(share(recording));
        self.verdict.set_message(verdict(recording));
    }
}

fn step(recording: &Recording) -> String {
    match recording.steps.last() {
        Some(step) => format!("step {} of {}", step.number, recording.ramp.len()),
        None if recording.ramp.is_empty() => "validating".to_owned(),
        None => "starting".to_owned(),
    }
}

/// How far the ramp is, by time.
#[expect(clippy::cast_precision_loss, reason = "1000")]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "held to the length of the bar"
)]
fn permille(recording: &Recording, now_s: f64) -> u64 {
    let done = match (&recording.end, recording.steps.first(), recording.remaining_s(now_s)) {
        (Some(_), _, _) => 1.0,
        (None, Some(first), Some(left_s)) => {
            let passed_s = now_s - first.from_s;
            passed_s / (passed_s + left_s).max(1.0)
        }
        _ => 0.0,
    };
    (done.clamp(0.0, 1.0) * BAR_LENGTH as f64) as u64
}

fn times(recording: &Recording, now_s: f64) -> String {
    match (&recording.end, recording.remaining_s(now_s)) {
        (None, Some(left_s)) => format!("{now_s:.0} s, about {left_s:.0} s left"),
        _ => format!("{now_s:.0} s"),
    }
}

/// Requests per second and error rate of both sides.
fn rates(samples: &[Sample]) -> (String, String) {
    let window = samples.get(samples.len().saturating_sub(RATE_WINDOW)..).unwrap_or_default();
    let seconds = f64::from(u8::try_from(window.len().max(1)).unwrap_or(u8::MAX));
    let side = |counts: Counts| {
        let requests = f64::from(u32::try_from(counts.requests).unwrap_or(u32::MAX));
        match counts.error_rate() {
            Some(rate) => {
                format!("{:5.0} requests/s, {:4.1} % failed", requests / seconds, rate * 100.0)
            }
            None => "    0 requests/s".to_owned(),
        }
    };
    (side(window.iter().map(|s| s.old).sum()), side(window.iter().map(|s| s.new).sum()))
}

fn share(recording: &Recording) -> String {
    let percent = |share: Option<f64>| {
        share.map_or("–".to_owned(), |share| format!("{:.1} %", share * 100.0))
    };
    format!(
        "intended {}, measured {}",
        percent(recording.intended.last().and_then(|intended| intended.share)),
        percent(recording.samples.last().and_then(Sample::measured))
    )
}

fn verdict(recording: &Recording) -> String {
    match recording.checks.last() {
        Some(check) => format!("{}: {}", check.words(), check.sentence),
        None => "none yet".to_owned(),
    }
}

/// The state of things in one line.
fn status(recording: &Recording, now_s: f64) -> String {
    let (old, new) = rates(&recording.samples);
    let verdict = recording.checks.last().map_or("no verdict".to_owned(), Check::words);
    let left = match recording.remaining_s(now_s) {
        Some(left_s) if recording.end.is_none() => format!("; about {left_s:.0} s left"),
        _ => String::new(),
    };
    format!(
        "{}; {}; {}: {}; {}: {}; {verdict}{left}",
        step(recording),
        share(recording),
        recording.old,
        old.trim_start(),
        recording.new,
        new.trim_start(),
    )
}

/// The whole run in a table, its end and why.
#[must_use]
pub fn summary(recording: &Recording) -> String {
    let mut out = String::from("step  intended  measured  seconds  last verdict\n");
    let end_s = recording.end.as_ref().map(|end| end.at_s);
    for step in &recording.steps {
        let until_s = step.until_s.or(end_s).unwrap_or(step.from_s);
        let measured = recording.measured_between(step.from_s, until_s);
        let measured = measured.map_or("–".to_owned(), |share| format!("{:.1} %", share * 100.0));
        // Writing to a `String` never fails.
        let _ = writeln!(
            out,
            "{:>4}  {:>8}  {:>8}  {:>7.1}  {}",
            step.number,
            format!("{} %", step.percent),
            measured,
            until_s - step.from_s,
            recording.last_check(step.number).map_or("–".to_owned(), Check::words),
        );
    }
    if let Some(end) = &recording.end {
        let _ = writeln!(out, "\n{} after {:.0} s: {}", end.name, end.at_s, end.reason);
        for live in &end.weights {
            let side = |weight: Option<i64>| weight.map_or("none".to_owned(), |w| w.to_string());
            let _ = writeln!(
                out,
                "{}: {} {}, {} {}",
                live.route,
                recording.old,
                side(live.old),
                recording.new,
                side(live.new)
            );
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use cutover_core::VerdictKind;

    use super::*;
    use crate::recording::StepSeen;

    /// A run in its second step, with a check of each.
    fn recording() -> Recording {
        let mut recording = Recording::for_test();
        for (number, from_s, verdict, log10_e) in
            [(1, 10.0, VerdictKind::Healthy, -0.4), (2, 20.0, VerdictKind::Regressed, 2.1)]
        {
            recording.steps.push(StepSeen {
                number,
                percent: 5.0 * from_s,
                from_s,
                until_s: Some(from_s + 10.0),
                verdict: Some(verdict),
            });
            recording.checks.push(Check {
                at_s: from_s,
                step: number,
                verdict,
                sentence: "said why".to_owned(),
                measured: None,
                log10_e: Some(log10_e),
                log10_limit: 2.0,
            });
        }
        recording
    }

    #[test]
    fn e_stands_beside_the_verdict_on_a_terminal_and_in_a_log() {
        let mut recording = recording();
        assert_eq!(verdict(&recording), "regressed, e = 126 of 100: said why");
        let line = status(&recording, 25.0);
        assert!(line.contains("; regressed, e = 126 of 100; about "), "{line}");
        recording.checks.clear();
        assert_eq!(verdict(&recording), "none yet");
        assert!(status(&recording, 25.0).contains("; no verdict; about "));
    }

    #[test]
    fn the_table_tells_e_of_the_last_check_of_each_step() {
        let table = summary(&recording());
        let lines: Vec<&str> = table.lines().skip(1).collect();
        assert_eq!(
            lines,
            [
                "   1      50 %         –     10.0  healthy, e = 0.4 of 100",
                "   2     100 %         –     10.0  regressed, e = 126 of 100",
            ]
        );
    }
}
