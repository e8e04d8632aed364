//! Who says that something is wrong: alarms that people have set up.

use std::collections::BTreeSet;

use aws_sdk_cloudwatch::types::{AlarmType, StateValue};
use cutover_core::Failure;
use cutover_core::limits::ALARMS_PER_CALL;

use crate::CloudWatch;
use crate::errors::failure;

/// Says which alarms ring.
#[expect(async_fn_in_trait, reason = "the runtime has one thread: no future needs to be Send")]
pub trait Alarms {
    /// Those of the named alarms that exist, and whether each is in ALARM.
    ///
    /// # Errors
    /// `Unreachable` when the service could not be reached, throttles or fails, `Refused` when
    /// it refuses.
    async fn in_alarm(&self, names: &[String]) -> Result<Vec<(String, bool)>, Failure>;
}

impl Alarms for CloudWatch {
    async fn in_alarm(&self, names: &[String]) -> Result<Vec<(String, bool)>, Failure> {
        let names: BTreeSet<&String> = names.iter().collect();
        let names: Vec<String> = names.into_iter().cloned().collect();
        let mut alarms = Vec::new();
        for asked in names.chunks(ALARMS_PER_CALL) {
            let what = format!("DescribeAlarms of {}", asked.join(", "));
            let mut pages = self
                .client
                .describe_alarms()
                .set_alarm_names(Some(asked.to_vec()))
                // Left out, only metric alarms are found.
                .alarm_types(AlarmType::MetricAlarm)
                .alarm_types(AlarmType::CompositeAlarm)
                .into_paginator()
                .send();
            while let Some(page) = pages.next().await {
                let page = page.map_err(|error| failure(&what, &error))?;
                let metric = page.metric_alarms().iter().map(|a| (a.alarm_name(), a.state_value()));
                let composite =
                    page.composite_alarms().iter().map(|a| (a.alarm_name(), a.state_value()));
                alarms.extend(metric.chain(composite).filter_map(|(name, state)| {
                    Some((name?.to_owned(), state == Some(&StateValue::Alarm)))
                }));
            }
        }
        Ok(alarms)
    }
}
