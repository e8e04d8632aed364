//! Everything that validation asks the world.

use std::collections::BTreeMap;

use cutover_core::limits::REFUSED_DAY_METERS_MAX;
use cutover_core::{
    Attempt, BASELINE_PERIODS, Backend, Busiest, Cutover, Facts, Failure, Health, History, Meter,
    Outlook, OwnSeries, PERIOD_S_MIN, Request, Series, Side, Sides, Survey, TRAFFIC_PERIODS,
    Validation, Window, mark_holders, own_counts_of,
};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::listeners::entrances;
use crate::probe::Prober;
use crate::router::SYNTAXES;
use crate::{
    Alarms, Capacity, CloudWatch, Router, Routers, Targets, Telemetry, clients, executions,
    parameters,
};

/// The services that validation reads, and where the defaults of this installation stand.
///
/// Validation needs five clients, one after the other. Each is built when its turn comes, so that the
/// first answer of a cold start does not wait for all; the connections are those of the one configuration.
#[derive(Clone, Debug)]
pub struct World {
    config: clients::Config,
    defaults_parameter: String,
    hosted_zone_id: Option<String>,
    cluster_name_prefix: String,
    period_s_min: u32,
}

impl World {
    /// Region and credentials from the environment, `DEFAULTS_PARAMETER` (name of the SSM parameter) as well, and what
    /// may be left out: `HOSTED_ZONE_ID` (for a request that names no zone), `CLUSTER_NAME_PREFIX` (none) and
    /// `PERIOD_S_MIN` (60).
    ///
    /// # Errors
    /// `Internal` when the first is missing or the last is no number: the function was deployed
    /// wrongly. It ends then, and Lambda calls that `Runtime.ExitError`.
    pub async fn from_env() -> Result<Self, Failure> {
        let variable = |name: &str| {
            std::env::var(name)
                .map_err(|_| Failure::Internal(format!("the environment has no {name}")))
        };
        let period_s_min = match std::env::var("PERIOD_S_MIN") {
            Ok(text) => text.parse().map_err(|_| {
                Failure::Internal(format!("PERIOD_S_MIN is {text:?}; it must be a whole number"))
            })?,
            Err(_) => PERIOD_S_MIN,
        };
        Ok(Self {
            config: clients::sdk_config().await,
            cluster_name_prefix: std::env::var("CLUSTER_NAME_PREFIX").unwrap_or_default(),
            period_s_min,
            defaults_parameter: variable("DEFAULTS_PARAMETER")?,
            // The template gives an empty one where only listeners may be changed.
            hosted_zone_id: std::env::var("HOSTED_ZONE_ID").ok().filter(|id| !id.is_empty()),
        })
    }

    /// What the name of a new EKS cluster must begin with to start a cutover.
    #[must_use]
    pub fn cluster_name_prefix(&self) -> &str {
        &self.cluster_name_prefix
    }

    /// The shortest period that a request may ask for, in seconds.
    #[must_use]
    pub const fn period_s_min(&self) -> u32 {
        self.period_s_min
    }

    /// The request's defaults.
    ///
    /// # Errors
    /// As [`parameters::defaults`].
    pub async fn defaults(&self) -> Result<Value, Failure> {
        let client = clients::parameters(&self.config);
        let mut defaults = parameters::defaults(&client, &self.defaults_parameter).await?;
        if let (Value::Object(fields), Some(id)) = (&mut defaults, &self.hosted_zone_id) {
            fields.entry("hosted_zone").or_insert_with(|| json!(id));
        }
        Ok(defaults)
    }

    /// Looks at everything that a request depends on and lets core decide: the routes, then what stands behind them,
    /// alarms and other executions, and last what is costly.
    ///
    /// While the new side is waited for, this is done again and again. Then who else writes the weights is not asked,
    /// and not the traffic.
    ///
    /// # Errors
    /// `InvalidInput` with every problem, `NotReady` when all of them may pass by waiting;
    /// `Unreachable` and `Refused` of the services asked.
    pub async fn validate(
        &self,
        request: Request,
        state_machine_arn: &str,
        attempt: Attempt,
    ) -> Result<Cutover, Failure> {
        let old = request.old.clone().unwrap_or_default();
        let sides = Sides { old, new: request.new.clone() };
        let router = Routers::new(&self.config).get(&request.router, sides)?;
        let survey = router.survey(&request).await?;
        let metrics = CloudWatch::new(clients::cloudwatch(&self.config));
        let facts = self.facts(&metrics, &request, &survey, state_machine_arn, &attempt);
        // It is large, and done before the rest begins.
        let facts = Box::pin(facts).await?;
        let now = attempt.now;
        let mut validation = Validation::of(request, survey, facts, attempt, &SYNTAXES);
        let outlook = validation.outlook();
        if outlook == Outlook::NotReady {
            return validation.conclude(&History::new());
        }
        let (request, survey) = validation.request_and_survey();
        if !survey.writers_are_known {
            router.find_writers(request, survey).await?;
        }
        if let Some(probe) = validation.request().probe.clone() {
            // Built only when it is wanted: its root certificates take time to read.
            let prober = Prober::with_system_roots()?;
            let (survey, facts) = validation.survey_and_facts();
            let answers = Box::pin(prober.probe(&probe, &survey.routes, facts)).await;
            validation.look_at_probes(&answers);
        }
        let own = own_counts(&metrics, &validation, outlook, now).await?;
        let history = history(&metrics, &validation, outlook, &own, now).await?;
        validation.look_at_own_days(&own);
        let mut cutover = validation.conclude(&history)?;
        if let Cutover { report: Some(report), meters, health, sides, .. } = &mut cutover {
            let (of_meters, own) = CloudWatch::metrics_per_check(meters, health, sides);
            report.plan = report.plan.take().map(|plan| plan.asking(of_meters, own));
        }
        Ok(cutover)
    }

    /// What stands behind the endpoints, alarms and other executions.
    async fn facts(
        &self,
        metrics: &CloudWatch,
        request: &Request,
        survey: &Survey,
        state_machine_arn: &str,
        attempt: &Attempt,
    ) -> Result<Facts, Failure> {
        let endpoints = survey.routes.iter().flat_map(|found| [&found.old.id, &found.new.id]);
        let endpoints = endpoints.cloned().collect();
        let load_balancing = clients::load_balancing(&self.config);
        let targets = Targets::new(load_balancing.clone(), metrics.clone());
        let step_functions = clients::step_functions(&self.config);
        let mark_holders = mark_holders(survey, attempt);
        let sides = async {
            let behind = targets.behind(&endpoints).await?;
            let entrances = entrances(&load_balancing, &survey.routes, &behind).await?;
            Ok((behind, entrances))
        };
        let ((behind, entrances), alarms, running) = tokio::try_join!(
            sides,
            metrics.in_alarm(&request.health.alarms),
            executions::running(
                &step_functions,
                state_machine_arn,
                &attempt.execution.arn,
                &mark_holders,
            ),
        )?;
        let facts = Facts { behind, entrances, alarms, running, ..Facts::default() };
        let mut facts = facts.settled(&request.health);
        facts.busiest = busiest(metrics, &facts, survey, attempt.now).await?;
        Ok(facts)
    }
}

/// The busiest hours of the old side, of what has a new side to compare it with.
async fn busiest(
    metrics: &CloudWatch,
    facts: &Facts,
    survey: &Survey,
    now: Timestamp,
) -> Result<BTreeMap<String, Busiest>, Failure> {
    // One that is still waited for is not compared.
    let is_there = |new: &&Backend| new.active && new.healthy() > 0;
    let both = survey.routes.iter().filter_map(|found| {
        let new = facts.serving(found, Side::New).filter(is_there);
        new.and(facts.serving(found, Side::Old))
    });
    let olds: BTreeMap<&str, &Backend> = both.map(|old| (old.meter.as_str(), old)).collect();
    let olds: Vec<&Backend> = olds.into_values().collect();
    metrics.busiest_hours(&olds, now).await
}

/// What the meters counted up to now: those of the old side over a day, for its baseline.
/// Of the new side it only matters whether it has traffic, and that only when the cutover is resumed.
///
/// A request that is refused anyway needs no day: a few periods tell whether the traffic is a reason as well.
///
/// # Errors
/// As [`Telemetry::series`].
pub async fn history(
    telemetry: &impl Telemetry,
    validation: &Validation,
    outlook: Outlook,
    own: &[OwnSeries],
    now: Timestamp,
) -> Result<History, Failure> {
    let old_periods = match outlook {
        Outlook::Accepted => BASELINE_PERIODS,
        Outlook::NotReady | Outlook::Refused => TRAFFIC_PERIODS,
    };
    let health = &validation.request().health;
    let resumed = validation.request().resume.then_some((Side::New, TRAFFIC_PERIODS));
    let mut history = History::new();
    for (side, periods) in [(Side::Old, old_periods)].into_iter().chain(resumed) {
        let mut ids = validation.meters(side);
        let own_counts = own_counts_of(side);
        if ids.remove(&own_counts) {
            history.insert(own_counts, lately(own.first(), side));
        }
        let ids = ids.into_iter().filter(|id| !history.contains_key(id));
        let meters: Vec<Meter> =
            ids.map(|id| Meter { id, hosts: Vec::new(), baseline: None }).collect();
        let window = Window::newest(periods, now, health, telemetry.limits());
        let refused = health.refused_tolerated_odds_ratio;
        let refused = refused.filter(|_| meters.len() <= REFUSED_DAY_METERS_MAX);
        let health = Health { refused_tolerated_odds_ratio: refused, ..health.clone() };
        let series = telemetry.series(&meters, window, &health).await?;
        history.extend(meters.into_iter().map(|of| of.id).zip(series));
    }
    Ok(history)
}

/// What the request's own signals counted of both sides up to now: over a day, for their baselines. A request that is
/// refused anyway needs none, but where they are all that a side counts, a few periods tell whether it has traffic.
///
/// # Errors
/// As [`Telemetry::own`].
pub async fn own_counts(
    telemetry: &impl Telemetry,
    validation: &Validation,
    outlook: Outlook,
    now: Timestamp,
) -> Result<Vec<OwnSeries>, Failure> {
    let health = &validation.request().health;
    let are_all = || validation.meters(Side::Old).contains(&own_counts_of(Side::Old));
    let periods = match outlook {
        Outlook::Accepted => BASELINE_PERIODS,
        Outlook::NotReady | Outlook::Refused if are_all() => TRAFFIC_PERIODS,
        Outlook::NotReady | Outlook::Refused => return Ok(Vec::new()),
    };
    let Some(sides) = &validation.survey_and_facts().0.sides else { return Ok(Vec::new()) };
    let window = Window::newest(periods, now, health, telemetry.limits());
    telemetry.own(&health.signals, sides, window).await
}

/// What a signal counted of a side in the newest periods.
fn lately(of: Option<&OwnSeries>, side: Side) -> Series {
    let counts = of.map_or(&[][..], |of| match side {
        Side::Old => &of.old,
        Side::New => &of.new,
    });
    let newest = counts.len().saturating_sub(TRAFFIC_PERIODS as usize);
    Series { counts: counts.get(newest..).unwrap_or_default().to_vec(), ..Series::default() }
}
