//! Everything that validation asks the world.

use std::collections::{BTreeMap, BTreeSet};

use cutover_core::BASELINE_PERIODS;
use cutover_core::PERIOD_S_MIN;
use cutover_core::{Attempt, Outlook, Survey, TRAFFIC_PERIODS, Zone};
use cutover_core::{ExternalDns, Failure, LoadBalancer, Request, Series, Side, Window};
use cutover_core::{Facts, LoadBalancerKind};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::clients::Route53Client;
use crate::router::route53::zone_of;
use crate::zone::{ZoneLookup, find_zone, records, records_of};
use crate::{Alarms, CloudWatch, Targets, Telemetry, clients, executions, parameters};

/// The services that validation reads, and where the defaults of this installation stand.
///
/// Validation needs five clients, one after the other. Each is built when its turn comes, so that the
/// first answer of a cold start does not wait for all; the connections are those of the one configuration.
#[derive(Clone, Debug)]
pub struct World {
    config: clients::Config,
    defaults_parameter: String,
    hosted_zone_id: String,
    cluster_name_prefix: String,
    period_s_min: u32,
}

impl World {
    /// Region and credentials from the environment, `DEFAULTS_PARAMETER` (name of the SSM parameter)
    /// and `HOSTED_ZONE_ID` (for a request that names no zone) as well, and what may be left out:
    /// `CLUSTER_NAME_PREFIX` (none) and `PERIOD_S_MIN` (60).
    ///
    /// # Errors
    /// `Internal` when one of the first two is missing or the last is no number: the function was deployed
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
            hosted_zone_id: variable("HOSTED_ZONE_ID")?,
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
        if let Value::Object(fields) = &mut defaults {
            fields.entry("hosted_zone").or_insert_with(|| json!(self.hosted_zone_id));
        }
        Ok(defaults)
    }

    /// Looks at everything that a request depends on: the zone's records, then what they point at, alarms and
    /// other executions, and last the traffic.
    ///
    /// While the new side is waited for, this is done again and again. Then only the names that the request
    /// gives are read, and not the traffic. The whole zone is read when there is nothing to wait for, or when
    /// routes that external-dns owns are to be refused: its ownership records may stand anywhere.
    ///
    /// # Errors
    /// `InvalidInput` (`zone_missing`, `zone_ambiguous`) when there is no such zone or there are several;
    /// `Unreachable` and `Refused` of the services asked.
    pub async fn look(
        &self,
        request: Request,
        state_machine_arn: &str,
        attempt: &Attempt,
    ) -> Result<(Survey, Facts), Failure> {
        let client = clients::route53(&self.config);
        let zone = zone(&client, zone_of(&request.router.place)?).await?;
        let names = request.routes.as_ref().filter(|_| request.external_dns == ExternalDns::Warn);
        let read = match names {
            Some(names) => records_of(&client, &zone.id, names).await?,
            None => records(&client, &zone.id).await?,
        };
        let is_partial = names.is_some();
        let mut survey = Survey::of(request.clone(), zone.clone(), &read);
        let mut facts = self.facts(&survey, state_machine_arn, attempt).await?;
        let outlook = survey.outlook(&facts, attempt);
        if outlook == Outlook::NotReady {
            return Ok((survey, facts));
        }
        if is_partial {
            let all = records(&client, &zone.id).await?;
            survey = Survey::of(request, zone, &all);
        }
        let telemetry = CloudWatch::new(clients::cloudwatch(&self.config));
        facts.history = history(&telemetry, &survey, &facts, outlook, attempt.now).await?;
        Ok((survey, facts))
    }

    /// What stands behind the records, alarms and other executions.
    async fn facts(
        &self,
        survey: &Survey,
        state_machine_arn: &str,
        attempt: &Attempt,
    ) -> Result<Facts, Failure> {
        let dns_names = &survey.dns_names(Side::Old) | &survey.dns_names(Side::New);
        let telemetry = CloudWatch::new(clients::cloudwatch(&self.config));
        let targets = Targets::new(clients::load_balancing(&self.config), telemetry.clone());
        let step_functions = clients::step_functions(&self.config);
        let fence_holders = survey.fence_holders(attempt);
        let (load_balancers, alarms, running) = tokio::try_join!(
            targets.find(&dns_names),
            telemetry.in_alarm(&survey.request().health.alarms),
            executions::running(
                &step_functions,
                state_machine_arn,
                &attempt.execution.arn,
                &fence_holders,
            ),
        )?;
        let region = self.config.region();
        Ok(Facts { region, load_balancers, history: BTreeMap::new(), alarms, running })
    }
}

/// The zone of this name or id.
async fn zone(client: &Route53Client, name_or_id: &str) -> Result<Zone, Failure> {
    match find_zone(client, name_or_id).await? {
        ZoneLookup::Found(zone) => Ok(zone),
        ZoneLookup::None => {
            let message = format!(
                "there is no hosted zone {name_or_id:?} in the account of the functions, or in that of \
                 HostedZoneRoleArn if it is set: look at the spelling and at that role"
            );
            Err(Failure::invalid("zone_missing", message))
        }
        ZoneLookup::Many(zones) => {
            let kind = |private: bool| if private { "private" } else { "public" };
            let ids: Vec<String> = zones
                .iter()
                .map(|(zone, private)| format!("{} ({})", zone.id, kind(*private)))
                .collect();
            let message = format!(
                "several hosted zones are named {name_or_id:?}: {}; name one by its id",
                ids.join(", ")
            );
            Err(Failure::invalid("zone_ambiguous", message))
        }
    }
}

/// What the load balancers counted up to now, by their id: the old side's over a day, for its baseline.
/// Of the new side it only matters whether it has traffic, and that only when the cutover is resumed.
///
/// A request that is refused anyway needs no day: a few periods tell whether the traffic is a reason as well.
///
/// # Errors
/// As [`Telemetry::series`].
pub async fn history(
    telemetry: &impl Telemetry,
    survey: &Survey,
    facts: &Facts,
    outlook: Outlook,
    now: Timestamp,
) -> Result<BTreeMap<String, Series>, Failure> {
    let old_periods = match outlook {
        Outlook::Accepted => BASELINE_PERIODS,
        Outlook::NotReady | Outlook::Refused => TRAFFIC_PERIODS,
    };
    let resumed = survey.request().resume.then_some((Side::New, TRAFFIC_PERIODS));
    let mut history = BTreeMap::new();
    for (side, periods) in [(Side::Old, old_periods)].into_iter().chain(resumed) {
        let ids: BTreeSet<String> = survey
            .dns_names(side)
            .iter()
            .filter_map(|name| facts.load_balancers.get(name))
            .filter(|load_balancer| load_balancer.kind == LoadBalancerKind::Application)
            .map(|load_balancer| load_balancer.id.clone())
            .filter(|id| !history.contains_key(id))
            .collect();
        let load_balancers: Vec<LoadBalancer> = ids
            .into_iter()
            .map(|id| LoadBalancer { id, target_groups: Vec::new(), baseline: None })
            .collect();
        let health = &survey.request().health;
        let window = Window::newest(periods, now, health);
        let series = telemetry.series(&load_balancers, window, health).await?;
        history.extend(load_balancers.into_iter().map(|of| of.id).zip(series));
    }
    Ok(history)
}
