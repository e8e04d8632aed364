//! `cutover judge`: what cutover would have said of a recorded series, period by period, and done about it.

use std::io;

use chart::{
    FAINT, INK, LIMIT, Mark, NEW, OLD, Panel, Scale, Svg, nice_step, time_step_s, unbroken,
};
use cutover_core::BASELINE_PERIODS;
use cutover_core::limits::{CLOUDWATCH, ROUTE53_ALIAS_TTL_S};
use cutover_core::{
    Baselines, Counts, Doubt, Evidence, Health, Judge, Latency, Leave, Lumps, Pair, Period,
    RESOLVERS, Sent, Series as Counted, SignalKind, Verdict, VerdictKind,
};
use cutover_core::{grouped, later, percent, shortened};
use jiff::Timestamp;
use serde::Serialize;

use crate::series::{Row, Series};
use crate::steps::{Hold, HoldEnd, Steps};

/// A series, judged.
#[derive(Clone, Debug, Serialize)]
pub struct Replay {
    /// Length of a period, in seconds.
    pub period_s: u32,
    /// Periods before the ramp: what the old side's bursts are known by.
    pub baseline_periods: usize,
    /// The periods since then, up to the one that decides.
    pub periods: Vec<Judged>,
    /// Periods after the one that decides: the traffic would have been back on the old side.
    pub not_judged: usize,
    /// The last verdict.
    pub kind: VerdictKind,
    /// When the last judged period began; `None` when the ramp never did.
    pub at: Option<Timestamp>,
    /// Why it goes back, or else what the last verdict says.
    pub reason: String,
    /// Seconds that each step bakes.
    pub bake_s: u32,
    /// Every time that a step would have been held, oldest first.
    pub holds: Vec<Hold>,
    /// When the traffic would have gone back; `None`: it would not.
    pub rolled_back_at: Option<Timestamp>,
    /// The decimal logarithm of what e must reach.
    pub log10_limit: f64,
    /// The share of the requests that the old side gets lately, 0–1.
    pub old_share: Option<f64>,
    /// What the policy leaves out of the series; `None` when nothing.
    pub note: Option<&'static str>,
}

/// One period with the verdict after it.
#[derive(Clone, Debug, Serialize)]
pub struct Judged {
    /// When it began.
    pub start: Timestamp,
    /// The old side.
    pub old: Counts,
    /// The new side.
    pub new: Counts,
    /// The decimal logarithm of e.
    pub log10_e: f64,
    /// The verdict.
    pub verdict: VerdictKind,
    /// Whether the step would be held at the end of it.
    pub is_held: bool,
}

/// Judges a series as one route of a cutover, checked at the end of each period as if that were counted at once.
///
/// Where the series has intended shares, every change of them is a shift: a step begins, has settled when former answers
/// are no longer cached, and bakes for `bake_s` seconds. Otherwise all of it is one step, settled from its start. A step
/// that would not be passed after its bake is held; when it has been held for `hold_max_s`, the policy decides, and if the
/// traffic goes back, the rest is not judged. What was recorded cannot be moved: a series that shifts during a hold, or
/// stays on a step that is passed, is judged as it is.
///
/// Periods up to the first one with an intended share above 0, or with a request of the new side where the series tells no
/// share, are the baseline. The series' own period stands before the policy's; signals that it does not count are not
/// tested.
#[must_use]
pub fn judge(series: &Series, policy: &Health, bake_s: u32) -> Replay {
    let has = |of: fn(Row) -> Option<u64>| series.rows.iter().any(|row| of(row).is_some());
    let has_slow = has(|row| row.slow_old) || has(|row| row.slow_new);
    let has_refused = has(|row| row.refused_old) || has(|row| row.refused_new);
    let health = Health {
        period_s: series.period_s,
        latency_target_s: policy.latency_target_s.filter(|_| has_slow),
        refused_tolerated_odds_ratio: policy.refused_tolerated_odds_ratio.filter(|_| has_refused),
        signals: Vec::new(),
        ..policy.clone()
    };
    let has_begun = |row: &Row| match row.intended {
        Some(share) => share > 0.0,
        None => has_requests(row),
    };
    let number = series.rows.len();
    let begin = series.rows.iter().position(|row| has_begun(&row)).unwrap_or(number);
    // A validation looks back on so many.
    let periods = usize::try_from(BASELINE_PERIODS).unwrap_or(usize::MAX);
    let before: Vec<Row> = series.rows.range(begin.saturating_sub(periods)..begin).collect();
    let baselines = (!before.is_empty()).then(|| baselines(&before, &health));
    let mut judge = Judge::new(&health, 1, baselines.as_ref());
    let has_intended = series.rows.iter().any(|row| row.intended.is_some());
    let mut seen = Look::new(&before, has_intended, &health);
    let mut steps = Steps::new(&health, bake_s);
    let mut periods = Vec::new();
    let mut verdict = judge.verdict(&seen.evidence);
    let mut left = None;
    let mut rolled_back_at = None;
    for row in series.rows.range(begin..number) {
        // A cutover goes on checking while periods are missing.
        left = steps.check(row.start, &verdict);
        if left.is_some() {
            break;
        }
        if seen.shift(&row) {
            let Evidence { settled_at, sent, .. } = seen.evidence;
            if settled_at.is_some() {
                judge.begin_step();
            }
            steps.begin(row.start, settled_at, sent.is_some_and(|sent| sent.is_full()));
        }
        let (period, of_step) = seen.at(&row);
        judge.see(&period, of_step);
        verdict = judge.verdict(&seen.evidence);
        let end = later(row.start, series.period_s.into());
        let is_regressed = verdict.kind == VerdictKind::Regressed;
        if is_regressed {
            steps.end(end, HoldEnd::RolledBack);
            rolled_back_at = Some(end);
        } else {
            left = steps.check(end, &verdict);
        }
        periods.push(Judged {
            start: row.start,
            old: row.old.unwrap_or_default(),
            new: row.new.unwrap_or_default(),
            log10_e: verdict.log10_e.unwrap_or_default(),
            verdict: verdict.kind,
            is_held: steps.open().is_some(),
        });
        if is_regressed || left.is_some() {
            break;
        }
    }
    let note = (has_slow && !health.counts_slow()).then_some(
        "slow requests are not judged: the policy has no latency_target_s that they are counted by",
    );
    let Verdict { kind, reason, old_share, .. } = verdict;
    let reason = match left {
        None => reason,
        Some(Leave::Back(why)) => {
            rolled_back_at = steps.holds.last().map(|hold| hold.until);
            why
        }
        Some(Leave::Kept(why)) => why,
    };
    Replay {
        period_s: series.period_s,
        baseline_periods: before.len(),
        not_judged: number - begin - periods.len(),
        kind,
        at: periods.last().map(|judged| judged.start),
        periods,
        reason,
        bake_s,
        holds: steps.holds,
        rolled_back_at,
        log10_limit: judge.log_limit() / std::f64::consts::LN_10,
        old_share,
        note,
    }
}

fn has_requests(row: &Row) -> bool {
    row.new.is_some_and(|new| new.requests > 0)
}

fn baselines(rows: &[Row], health: &Health) -> Baselines {
    let refused = |row: &Row| {
        let refused = row.refused_old?;
        row.old.map(|counts| Counts { errors: refused, ..counts })
    };
    let counted = Counted {
        counts: rows.iter().map(|row| row.old).collect(),
        refused: rows.iter().map(refused).collect(),
        latency: rows.iter().map(|row| row.slow_old.map(Latency::Slow)).collect(),
        ..Counted::default()
    };
    Baselines::of(&counted, 0, health)
}

/// What a check would look at, row by row.
struct Look {
    evidence: Evidence<'static>,
    kinds: Vec<SignalKind>,
    warm_up_s: u32,
    /// Until when the new side may warm up; `None` before its first request.
    warm_until: Option<Timestamp>,
    /// Whether the series tells which share was intended.
    has_intended: bool,
}

impl Look {
    fn new(before: &[Row], has_intended: bool, health: &Health) -> Self {
        let kinds = health.signals().into_iter().skip(1).map(|signal| signal.kind);
        let mut look = Self {
            evidence: Evidence::default(),
            kinds: kinds.collect(),
            warm_up_s: health.warm_up_s(),
            warm_until: None,
            has_intended,
        };
        for row in before {
            look.keep(&period(row, &look.kinds));
        }
        look
    }

    /// Whether a step ends before a row. Where the series tells the intended share, every change of it is a shift.
    fn shift(&mut self, row: &Row) -> bool {
        let Evidence { sent, settled_at, .. } = &mut self.evidence;
        let was = sent.map(|sent| sent.share);
        let (since, linger_s) = (row.start, ROUTE53_ALIAS_TTL_S);
        if let Some(share) = row.intended.filter(|share| was != Some(*share)) {
            let lumps = Lumps::PerAnswer { resolvers: RESOLVERS };
            *sent = Some(Sent { share, since, lumps, linger_s, is_alone: true });
            // Once nothing is meant for the new side, its periods are of no step.
            *settled_at = (share > 0.0).then(|| later(since, linger_s.into()));
            return true;
        }
        let is_first = was.is_none() && settled_at.is_none();
        if is_first {
            *settled_at = Some(since);
        }
        is_first
    }

    /// Adds a row, and gives its period, and whether it is of the step.
    fn at(&mut self, row: &Row) -> (Period, bool) {
        let mut period = period(row, &self.kinds);
        if has_requests(row) {
            self.warm_until = self.warm_until.or(Some(later(row.start, self.warm_up_s.into())));
        }
        let of_step = self.evidence.settled_at.is_some_and(|since| row.start >= since);
        period.is_warming = self.warm_until.is_some_and(|until| row.start < until);
        let all = self.evidence.sent.is_some_and(|sent| sent.is_full());
        period.is_full = self.evidence.sent.map(|_| all && of_step);
        // An empty field is no zero: nothing is known of the old side, unless all requests are meant for the new one.
        period.is_gap = row.old.is_none() && row.new.is_some() && !all;
        self.keep(&period);
        (period, of_step)
    }

    /// Keeps a period, of as many as a check reads: they tell whether requests arrive.
    fn keep(&mut self, period: &Period) {
        if self.has_intended {
            let periods = &mut self.evidence.periods;
            periods.push(period.clone());
            if periods.len() > CLOUDWATCH.periods_per_check as usize {
                periods.remove(0);
            }
        }
    }
}

fn period(row: &Row, kinds: &[SignalKind]) -> Period {
    let pair = |old: Option<u64>, new: Option<u64>| {
        let of =
            |side: Option<Counts>, errors: Option<u64>| Some(Counts { errors: errors?, ..side? });
        Pair { old: of(row.old, old), new: of(row.new, new) }
    };
    let others = kinds.iter().map(|kind| match kind {
        SignalKind::Failed => Pair { old: row.old, new: row.new },
        SignalKind::Refused => pair(row.refused_old, row.refused_new),
        SignalKind::Slow { .. } => pair(row.slow_old, row.slow_new),
        // A series has no column for it.
        SignalKind::Own { .. } => Pair::default(),
    });
    let others = others.collect();
    Period { start: row.start, old: row.old, new: row.new, others, ..Period::default() }
}

impl Replay {
    /// The exit code: 0 healthy; 3 regressed, or held for as long as it may be and not to go on; 4 not enough data.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self.kind {
            _ if self.rolled_back_at.is_some() || self.is_kept() => 3,
            VerdictKind::Healthy => 0,
            _ => 4,
        }
    }

    /// Whether the traffic should go back, and stays because the old side does even worse.
    fn is_kept(&self) -> bool {
        self.holds.last().is_some_and(|hold| hold.end == HoldEnd::Kept)
    }

    /// What has become of it, for people.
    fn outcome(&self) -> &'static str {
        match self.kind {
            VerdictKind::Regressed => self.kind.words(),
            _ if self.rolled_back_at.is_some() => "rolled back",
            _ if self.is_kept() => "kept on the new side",
            _ => self.kind.words(),
        }
    }

    /// Writes a table for people, and the last verdict in a sentence.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write(&self, out: &mut dyn io::Write) -> io::Result<()> {
        if self.baseline_periods > 0 {
            let number = grouped(self.baseline_periods as u64);
            writeln!(out, "{number} periods before the new side's first request are the baseline")?;
        }
        if let Some(note) = self.note {
            writeln!(out, "{note}")?;
        }
        if !self.periods.is_empty() {
            writeln!(
                out,
                "{:<20} {:>12} {:>8} {:>12} {:>8} {:>8} {:>9}  verdict",
                "period", "old requests", "failed", "new requests", "failed", "share", "e"
            )?;
        }
        for judged in &self.periods {
            let rate = |side: Counts| side.error_rate().map_or("–".to_owned(), percent);
            let share = share(judged).map_or("–".to_owned(), percent);
            writeln!(
                out,
                "{:<20} {:>12} {:>8} {:>12} {:>8} {share:>8} {:>9}  {}{}",
                judged.start.to_string(),
                grouped(judged.old.requests),
                rate(judged.old),
                grouped(judged.new.requests),
                rate(judged.new),
                e_shown(judged.log10_e),
                judged.verdict.words(),
                if judged.is_held { ", held" } else { "" },
            )?;
        }
        for hold in &self.holds {
            writeln!(out, "{}", held(hold))?;
        }
        if self.not_judged > 0 {
            let number = grouped(self.not_judged as u64);
            let why = if self.is_kept() {
                "the cutover would have ended, with the traffic on the new side"
            } else {
                "the traffic would be back on the old side"
            };
            writeln!(out, "{number} more periods are not judged: {why}")?;
        }
        if self.periods.is_empty() {
            let why = "the new side never had a request that was meant for it";
            return writeln!(out, "not enough data: {why}");
        }
        let (outcome, number) = (self.outcome(), grouped(self.periods.len() as u64));
        writeln!(out, "{outcome} after {number} period(s): {}", self.reason)?;
        // Most have moved: whoever deletes the old side then takes the rest away.
        if let Some(rest) = self.old_share.filter(|share| *share > 0.0 && *share < 0.5) {
            writeln!(out, "the old side still gets {} of the requests", percent(rest))?;
        }
        Ok(())
    }

    /// Draws it: the measured share, the rates of failed requests, and e.
    #[must_use]
    pub fn draw(&self) -> String {
        const WIDTH: f64 = 1200.0;
        const HEIGHT: f64 = 720.0;
        let panel = |top, bottom| Panel { left: 64.0, right: WIDTH - 28.0, top, bottom, head: 0.0 };
        let (shares, rates, evidence) =
            (panel(104.0, 254.0), panel(312.0, 462.0), panel(520.0, 670.0));
        let mut svg = Svg::new(WIDTH, HEIGHT);
        let title =
            format!("cutover judge: {} after {} periods", self.outcome(), self.periods.len());
        svg.text((64.0, 36.0), &title, "font-size=\"22\" font-weight=\"bold\"");
        let reason = shortened(&self.reason, 160);
        svg.text((64.0, 60.0), &reason, &format!("font-size=\"13\" fill=\"{FAINT}\""));
        let first = self.periods.first().map_or(0, |judged| judged.start.as_second());
        let minutes = |start: Timestamp| seconds(start.as_second() - first) / 60.0;
        let last = self.periods.last().map_or(0.0, |judged| minutes(judged.start));
        let end = last + f64::from(self.period_s) / 60.0;
        let middle = f64::from(self.period_s) / 120.0;
        let time = shares.across(0.0, end);
        let at = |judged: &Judged| time.place(minutes(judged.start) + middle);
        let share_axis = shares.upward(0.0, 100.0, Scale::Linear);
        let highest = self.periods.iter().flat_map(|j| [j.old.error_rate(), j.new.error_rate()]);
        let highest = highest.flatten().fold(0.001, f64::max) * 100.0;
        let step = nice_step(highest / 4.0);
        let top = (highest / step).ceil() * step;
        let rate_axis = rates.upward(0.0, top, Scale::Linear);
        let e_axis = evidence.upward(1e-3, 10_f64.powf(self.log10_limit + 1.0), Scale::Log10);
        for value in [0.0, 25.0, 50.0, 75.0, 100.0] {
            svg.grid_line(&shares, share_axis.place(value), &format!("{value}"));
        }
        let mut value = 0.0;
        while value <= top * 1.001 {
            svg.grid_line(&rates, rate_axis.place(value), &label(value));
            value += step;
        }
        for power in e_axis.decades(6) {
            let e = f64::from(power);
            svg.grid_line(&evidence, e_axis.place(10_f64.powf(e)), &e_shown(e));
        }
        let limit = e_axis.place(10_f64.powf(self.log10_limit));
        let ends = [(evidence.left, limit), (evidence.right, limit)];
        svg.line(&ends, LIMIT, "stroke-dasharray=\"6 4\"");
        svg.title(&shares, "Requests of the new side, %, measured");
        svg.title(&rates, "Failed requests, %");
        svg.legend(
            &rates,
            &[(OLD, Mark::Line, "old side".to_owned()), (NEW, Mark::Line, "new side".to_owned())],
        );
        svg.title(&evidence, "Evidence against the new side, e");
        let limit = format!("limit, {}", e_shown(self.log10_limit));
        svg.legend(&evidence, &[(LIMIT, Mark::Dashes, limit)]);
        let mut draw = |color: &str, value: &dyn Fn(&Judged) -> Option<f64>| {
            let points = self.periods.iter().map(|j| value(j).map(|y| (at(j), y)));
            for run in unbroken(points) {
                svg.line(&run, color, "stroke-width=\"1.8\"");
                if let [alone] = run.as_slice() {
                    svg.dot(*alone, color);
                }
            }
        };
        let rate = |side: Counts| side.error_rate().map(|rate| rate_axis.place(rate * 100.0));
        draw(NEW, &|j| share(j).map(|share| share_axis.place(share * 100.0)));
        draw(OLD, &|j| rate(j.old));
        draw(NEW, &|j| rate(j.new));
        draw(INK, &|j| Some(e_axis.place(10_f64.powf(j.log10_e))));
        // In minutes, but of a series that is over in a few of them.
        let step = (time_step_s(end * 60.0) / 60.0).max(1.0 / 60.0);
        let mut tick = 0.0;
        while tick <= end {
            svg.tick(&evidence, time.place(tick), &label(tick));
            tick += step;
        }
        let style = format!("font-size=\"13\" fill=\"{FAINT}\"");
        svg.text((64.0, 712.0), "minutes since the new side's first request", &style);
        svg.finish()
    }
}

/// Words a hold.
fn held(hold: &Hold) -> String {
    let why = match hold.doubt {
        Doubt::Failing => "the new side is over a limit",
        Doubt::Unjudged => "it cannot be judged",
        Doubt::OldShare => "the old side still gets more than old_share_max",
    };
    let then = match hold.end {
        HoldEnd::Open => "and still is",
        HoldEnd::Passed => "then it goes on",
        HoldEnd::Shifted => {
            "then the series shifts, where cutover would hold: what follows is judged as recorded"
        }
        HoldEnd::Advanced => "then it goes on all the same",
        HoldEnd::RolledBack => "then the traffic goes back",
        HoldEnd::Kept => {
            "then the traffic should go back, and stays because the old side does even worse"
        }
    };
    let seconds = hold.until.as_second() - hold.since.as_second();
    format!("the step is held from {} for {seconds} s because {why}; {then}", hold.since)
}

/// The measured share of the new side, 0–1.
#[expect(clippy::cast_precision_loss, reason = "counts stay below 2^53")]
fn share(judged: &Judged) -> Option<f64> {
    let all = (judged.old + judged.new).requests;
    (all > 0).then(|| judged.new.requests as f64 / all as f64)
}

fn e_shown(log10_e: f64) -> String {
    cutover_core::e_shown(log10_e * std::f64::consts::LN_10)
}

#[expect(clippy::cast_precision_loss, reason = "years of seconds")]
fn seconds(seconds: i64) -> f64 {
    seconds as f64
}

/// A number of an axis, without the digits that adding up has left.
fn label(value: f64) -> String {
    let text = format!("{value:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
