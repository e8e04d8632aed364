//! The one place through which every function reads a state.
//!
//! A deployment in mid-ramp gives the state of one version of the functions to the next, and a roll-back may
//! find one that is months old. So a state is read by its `schema`. What former versions wrote is made a state of
//! this one where it comes in, by who knows the services that they named; the samples of every schema are in
//! `crates/core/tests/data`.
//!
//! A field that is added with a default leaves the schema as it is: older states lack the field, and older
//! functions ignore it. Whatever an older function would misread gets the next number.

use serde_json::Value;

use crate::cutover::{Cutover, SCHEMA};
use crate::failure::Failure;
use crate::request::fields::shown;

impl Cutover {
    /// Whether this is meant to be a state, of whatever schema: the error of a task and the answer to an event
    /// that asks for nothing are not.
    #[must_use]
    pub fn is_state(value: &Value) -> bool {
        value.get("schema").is_some() || value.get("routes").is_some()
    }

    /// Reads a state.
    ///
    /// # Errors
    /// `InvalidInput`: `unknown_schema` when a newer version of cutover wrote it, or none did;
    /// `unreadable_state` when something is missing or odd in it.
    pub fn read(state: Value) -> Result<Self, Failure> {
        let refuse = |message: String| Err(Failure::invalid("unknown_schema", message));
        let schema = state.get("schema");
        match schema.and_then(Value::as_u64) {
            Some(schema) if schema == u64::from(SCHEMA) => {
                serde_json::from_value(state).map_err(|error| {
                    let message = format!(
                        "this state of schema {SCHEMA} cannot be read: {error}; allowed: a state as cutover wrote it"
                    );
                    Failure::invalid("unreadable_state", message)
                })
            }
            Some(newer) if newer > u64::from(SCHEMA) => refuse(format!(
                "a newer version of cutover wrote this state: its schema is {newer}, and these functions know up to \
                 {SCHEMA}. Deploy the newer version of the functions again, or roll the execution back with it"
            )),
            _ => refuse(format!(
                "this is no state of cutover: its schema is {}; allowed: a whole number from 1 to {SCHEMA}",
                schema.map_or("missing".to_owned(), shown)
            )),
        }
    }
}
