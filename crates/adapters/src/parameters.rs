//! Parameters of SSM: the defaults of an installation.

use aws_sdk_ssm::Client;
use cutover_core::Failure;
use serde_json::Value;

use crate::errors::{failure, incomplete};

/// The JSON text of one parameter.
///
/// # Errors
/// `Unreachable` when SSM could not be reached or throttles, `Refused` when it refuses or there
/// is no such parameter, `InvalidInput` (`unreadable_defaults`) when it is not JSON.
pub async fn defaults(client: &Client, name: &str) -> Result<Value, Failure> {
    let what = format!("GetParameter {name}");
    let reply = client.get_parameter().name(name).send().await;
    let reply = reply.map_err(|error| failure(&what, &error))?;
    let text = reply
        .parameter()
        .and_then(|parameter| parameter.value())
        .ok_or_else(|| incomplete(&what, "Value"))?;
    serde_json::from_str(text).map_err(|error| {
        Failure::invalid(
            "unreadable_defaults",
            format!("the parameter {name} is not JSON: {error}; write a JSON object into it, {{}} for no defaults"),
        )
    })
}
