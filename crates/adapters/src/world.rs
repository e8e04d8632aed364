//! Everything that validation asks the world.

use std::collections::{BTreeMap, BTreeSet};

use aws_config::SdkConfig;
use cutover_core::check::{Survey, TRAFFIC_PERIODS, Zone};
use cutover_core::facts::{Facts, FoundLoadBalancer, Record};
use cutover_core::{Failure, Series, Window};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::zone::{ZoneLookup, find_zone, records};
use crate::{CloudWatch, Targets, Telemetry, clients, executions, parameters};

/// The services that validation reads, and where the defaults of this installation stand.
///
/// Validation needs five clients, one after the other. Each is built when its turn comes, so that the
/// first answer of a cold start does not wait for all; the connections are those of the one configuration.
#[derive(Clone, Debug)]
pub struct World {
    config: SdkConfig,
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
        execution_arn: &str,
        now: Timestamp,
    ) -> Result<Facts, Failure> {
        let dns_names = survey.dns_names();
        let targets = Targets::new(clients::load_balancing(&self.config));
        let telemetry = CloudWatch::new(clients::cloudwatch(&self.config));
        let step_functions = clients::step_functions(&self.config);
        let found = async {
            let found = targets.find(&dns_names).await?;
            let requests = requests(&telemetry, survey, &found, now).await?;
            Ok::<_, Failure>((found, requests))
        };
        let ((load_balancers, requests), alarms, running) = tokio::try_join!(
            found,
            telemetry.alarms(&survey.request().health.alarms),
            executions::running(&step_functions, state_machine_arn, execution_arn),
        )?;
        Ok(Facts { load_balancers, requests, alarms, running })
    }
}

/// The requests that each of the load balancers counted of late.
async fn requests(
    telemetry: &impl Telemetry,
    survey: &Survey,
    found: &BTreeMap<String, FoundLoadBalancer>,
    now: Timestamp,
) -> Result<BTreeMap<String, u64>, Failure> {
    let health = &survey.request().health;
    let looked_back_s = health.period_s * TRAFFIC_PERIODS + health.metrics_delay_s;
    let since = now
        .checked_sub(SignedDuration::from_secs(i64::from(looked_back_s)))
        .map_err(|error| Failure::Internal(format!("the time {now} is off: {error}")))?;
    let ids: BTreeSet<&String> = found.values().map(|lb| &lb.id).collect();
    let load_balancers: Vec<_> = ids
        .into_iter()
        .map(|id| cutover_core::LoadBalancer { id: id.clone(), target_groups: Vec::new() })
        .collect();
    let window = Window::complete(since, now, health);
    let series = telemetry.series(&load_balancers, window).await?;
    let total = |series: &Series| series.counts.iter().flatten().map(|c| c.requests).sum();
    Ok(load_balancers.into_iter().zip(&series).map(|(lb, s)| (lb.id, total(s))).collect())
}
