//! Everything that validation asks the world.

use std::collections::{BTreeMap, BTreeSet};

use cutover_core::baseline::BASELINE_PERIODS;
use cutover_core::check::{Attempt, Survey, TRAFFIC_PERIODS, Zone};
use cutover_core::facts::{Facts, FoundLoadBalancer, Record};
use cutover_core::{Failure, LoadBalancer, Series, Side, Window};
use serde_json::{Value, json};

use crate::zone::{ZoneLookup, find_zone, records};
use crate::{CloudWatch, Targets, Telemetry, clients, executions, parameters};

/// The services that validation reads, and where the defaults of this installation stand.
///
/// Validation needs five clients, one after the other. Each is built when its turn comes, so that the
/// first answer of a cold start does not wait for all; the connections are those of the one configuration.
#[derive(Clone, Debug)]
pub struct World {
    config: clients::Config,
    defaults_parameter: String,
    hosted_zone_id: String,
}

impl World {
    /// Region and credentials from the environment, `DEFAULTS_PARAMETER` (name of the SSM parameter)
    /// and `HOSTED_ZONE_ID` (for a request that names no zone) as well.
    ///
    /// # Errors
    /// `Internal` when one of the two variables is missing: the function was deployed wrongly. It
    /// ends then, and Lambda calls that `Runtime.ExitError`.
    pub async fn from_env() -> Result<Self, Failure> {
        let variable = |name: &str| {
            std::env::var(name)
                .map_err(|_| Failure::Internal(format!("the environment has no {name}")))
        };
        Ok(Self {
            config: clients::sdk_config().await,
            defaults_parameter: variable("DEFAULTS_PARAMETER")?,
            hosted_zone_id: variable("HOSTED_ZONE_ID")?,
        })
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

    /// The zone of this name or id, and its records.
    ///
    /// # Errors
    /// `InvalidInput` (`zone_missing`, `zone_ambiguous`) when there is none or there are several;
    /// as [`records`] otherwise.
    pub async fn zone(&self, name_or_id: &str) -> Result<(Zone, Vec<Record>), Failure> {
        let client = clients::route53(&self.config);
        let zone = match find_zone(&client, name_or_id).await? {
            ZoneLookup::Found(zone) => zone,
            ZoneLookup::None => {
                let message = format!("there is no hosted zone {name_or_id:?} in this account");
                return Err(Failure::invalid("zone_missing", message));
            }
            ZoneLookup::Many(zones) => {
                let kind = |private: bool| if private { "private" } else { "public" };
                let ids: Vec<String> = zones
                    .iter()
                    .map(|(z, private)| format!("{} ({})", z.id, kind(*private)))
                    .collect();
                let message = format!(
                    "several hosted zones are named {name_or_id:?}: {}; name one by its id",
                    ids.join(", ")
                );
                return Err(Failure::invalid("zone_ambiguous", message));
            }
        };
        let records = records(&client, &zone.id).await?;
        Ok((zone, records))
    }

    /// What [`Survey::conclude`] needs to know.
    ///
    /// # Errors
    /// `TransientAws` and `AwsRefused` of the services asked.
    pub async fn facts(
        &self,
        survey: &Survey,
        state_machine_arn: &str,
        attempt: &Attempt,
    ) -> Result<Facts, Failure> {
        let dns_names = &survey.dns_names(Side::Old) | &survey.dns_names(Side::New);
        let targets = Targets::new(clients::load_balancing(&self.config));
        let telemetry = CloudWatch::new(clients::cloudwatch(&self.config));
        let step_functions = clients::step_functions(&self.config);
        let found = async {
            let found = targets.find(&dns_names).await?;
            let history = history(&telemetry, survey, &found, attempt).await?;
            Ok::<_, Failure>((found, history))
        };
        let ((load_balancers, history), alarms, running) = tokio::try_join!(
            found,
            telemetry.alarms(&survey.request().health.alarms),
            executions::running(&step_functions, state_machine_arn, &attempt.execution.arn),
        )?;
        Ok(Facts { load_balancers, history, alarms, running })
    }
}

/// What the load balancers counted up to now, by their id: the old side's over a day, for its baseline.
/// Of the new side it only matters whether it has traffic, and that only when the cutover is resumed.
///
/// While the new side is waited for, all of this is asked again every few seconds: then a few periods
/// tell as much as a day.
///
/// # Errors
/// As [`Telemetry::series`].
pub async fn history(
    telemetry: &impl Telemetry,
    survey: &Survey,
    found: &BTreeMap<String, FoundLoadBalancer>,
    attempt: &Attempt,
) -> Result<BTreeMap<String, Series>, Failure> {
    let refused = survey.is_refused(found, attempt);
    let old_periods = if refused { TRAFFIC_PERIODS } else { BASELINE_PERIODS };
    let resumed = survey.request().resume.then_some((Side::New, TRAFFIC_PERIODS));
    let mut history = BTreeMap::new();
    for (side, periods) in [(Side::Old, old_periods)].into_iter().chain(resumed) {
        let ids: BTreeSet<String> = survey
            .dns_names(side)
            .iter()
            .filter_map(|name| found.get(name))
            .map(|load_balancer| load_balancer.id.clone())
            .filter(|id| !history.contains_key(id))
            .collect();
        let load_balancers: Vec<LoadBalancer> = ids
            .into_iter()
            .map(|id| LoadBalancer { id, target_groups: Vec::new(), baseline: None })
            .collect();
        let health = &survey.request().health;
        let window = Window::newest(periods, attempt.now, health);
        let series = telemetry.series(&load_balancers, window, health).await?;
        history.extend(load_balancers.into_iter().map(|of| of.id).zip(series));
    }
    Ok(history)
}
