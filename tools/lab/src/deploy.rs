//! Deploys the real template as `sam deploy` does: artifacts to S3, then a change set.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use aws_config::SdkConfig;
use aws_sdk_cloudformation::Client as CloudFormation;
use aws_sdk_cloudformation::types::{
    Capability, ChangeSetStatus, ChangeSetType, Parameter, StackStatus,
};
use aws_sdk_s3::Client as S3;
use aws_sdk_s3::primitives::ByteStream;

use crate::aws;
use crate::error::LabError;
use crate::functions::Function;

/// How long a change set or a stack may take; the emulator needs a second or two.
const READY_MAX: Duration = Duration::from_mins(2);
const POLL: Duration = Duration::from_millis(100);
const CHANGE_SET: &str = "lab";

/// Path of the template, and of the state machine as the template names it.
const TEMPLATE: &str = "template.yaml";
const STATE_MACHINE: &str = "statemachine/cutover.asl.json";

/// A deployed stack.
#[derive(Debug, Clone)]
pub struct Stack {
    /// Its name.
    pub name: String,
    /// What the template's `Outputs` came to.
    pub outputs: BTreeMap<String, String>,
}

/// Deploys the template in `root` with the given functions as a new stack.
///
/// # Errors
/// `Deploy` with the reasons when CloudFormation refuses or fails, or the template does not name
/// each artifact exactly once; `Io` when a file cannot be read; `Aws` when a call fails.
pub async fn deploy(
    config: &SdkConfig,
    root: &Path,
    stack: &str,
    parameters: &[(&str, &str)],
    functions: Vec<Function>,
) -> Result<Stack, LabError> {
    let deployment =
        Deployment { cloud_formation: CloudFormation::new(config), s3: aws::s3(config), stack };
    let template = deployment.upload(root, functions).await?;
    deployment.create_change_set(template, parameters).await?;
    let outputs = deployment.execute_change_set().await?;
    Ok(Stack { name: stack.to_owned(), outputs })
}

struct Deployment<'a> {
    cloud_formation: CloudFormation,
    s3: S3,
    stack: &'a str,
}

impl Deployment<'_> {
    /// Uploads what the template refers to by path, and gives the template that refers to the
    /// uploaded objects instead.
    async fn upload(&self, root: &Path, functions: Vec<Function>) -> Result<String, LabError> {
        let bucket = format!("artifacts-of-{}", self.stack);
        let created = self.s3.create_bucket().bucket(&bucket).send().await;
        created.map_err(|error| LabError::aws(format!("create the bucket {bucket}"), error))?;

        let mut template = read(root, TEMPLATE)?;
        for function in functions {
            let property = format!("CodeUri: functions/{}/", function.name);
            let key = format!("{}.zip", function.name);
            template = self.refer(&template, &property, &bucket, &key)?;
            self.put(&bucket, &key, function.zip.into()).await?;
        }
        let property = format!("DefinitionUri: {STATE_MACHINE}");
        template = self.refer(&template, &property, &bucket, STATE_MACHINE)?;
        self.put(&bucket, STATE_MACHINE, read(root, STATE_MACHINE)?.into_bytes().into()).await?;
        Ok(template)
    }

    async fn put(&self, bucket: &str, key: &str, body: ByteStream) -> Result<(), LabError> {
        // The signature leaves the body out, for the same reason as `aws::s3` leaves out checksums.
        let put = self.s3.put_object().bucket(bucket).key(key).body(body).customize();
        let put = put.disable_payload_signing().send().await;
        put.map(drop).map_err(|error| LabError::aws(format!("upload {key}"), error))
    }

    /// Changes the value of `property`, a line of the template, to the object's URI.
    fn refer(
        &self,
        template: &str,
        property: &str,
        bucket: &str,
        key: &str,
    ) -> Result<String, LabError> {
        let lines = || template.lines().map(str::trim).filter(|line| *line == property);
        let (count, name) = (lines().count(), property.split(':').next().unwrap_or(property));
        if count != 1 {
            return Err(self.failed(format!("{TEMPLATE} has {count} lines `{property}`, not one")));
        }
        Ok(template.replace(property, &format!("{name}: s3://{bucket}/{key}")))
    }

    async fn create_change_set(
        &self,
        template: String,
        parameters: &[(&str, &str)],
    ) -> Result<(), LabError> {
        let doing = "create the change set";
        let parameters = parameters.iter().map(|(key, value)| {
            Parameter::builder().parameter_key(*key).parameter_value(*value).build()
        });
        self.cloud_formation
            .create_change_set()
            .stack_name(self.stack)
            .change_set_name(CHANGE_SET)
            .change_set_type(ChangeSetType::Create)
            .capabilities(Capability::CapabilityIam)
            .capabilities(Capability::CapabilityAutoExpand)
            .set_parameters(Some(parameters.collect()))
            .template_body(template)
            .send()
            .await
            .map_err(|error| LabError::aws(doing, error))?;

        let deadline = Instant::now() + READY_MAX;
        loop {
            let change_set = self
                .cloud_formation
                .describe_change_set()
                .stack_name(self.stack)
                .change_set_name(CHANGE_SET)
                .send()
                .await
                .map_err(|error| LabError::aws(doing, error))?;
            match change_set.status() {
                Some(ChangeSetStatus::CreateComplete) => return Ok(()),
                Some(ChangeSetStatus::Failed) => {
                    let reason = change_set.status_reason().unwrap_or("no reason given");
                    return Err(self.failed(format!("the change set failed: {reason}")));
                }
                status => {
                    let status = status.map(ChangeSetStatus::as_str);
                    self.wait("the change set", status, deadline).await?;
                }
            }
        }
    }

    /// Makes the stack and gives its outputs.
    async fn execute_change_set(&self) -> Result<BTreeMap<String, String>, LabError> {
        let doing = "execute the change set";
        self.cloud_formation
            .execute_change_set()
            .stack_name(self.stack)
            .change_set_name(CHANGE_SET)
            .send()
            .await
            .map_err(|error| LabError::aws(doing, error))?;

        let deadline = Instant::now() + READY_MAX;
        loop {
            let described = self
                .cloud_formation
                .describe_stacks()
                .stack_name(self.stack)
                .send()
                .await
                .map_err(|error| LabError::aws(doing, error))?;
            let Some(stack) = described.stacks().first() else {
                return Err(self.failed("CloudFormation does not know it".to_owned()));
            };
            match stack.stack_status() {
                Some(StackStatus::CreateComplete) => {
                    let outputs = stack.outputs().iter().filter_map(|output| {
                        Some((output.output_key()?.to_owned(), output.output_value()?.to_owned()))
                    });
                    return Ok(outputs.collect());
                }
                Some(
                    StackStatus::CreateFailed
                    | StackStatus::RollbackComplete
                    | StackStatus::RollbackFailed
                    | StackStatus::DeleteComplete,
                ) => return Err(self.failed(self.failed_resources().await?)),
                status => {
                    self.wait("the stack", status.map(StackStatus::as_str), deadline).await?;
                }
            }
        }
    }

    /// What CloudFormation says of each resource that failed, the first failure first.
    async fn failed_resources(&self) -> Result<String, LabError> {
        let events = self.cloud_formation.describe_stack_events().stack_name(self.stack).send();
        let events =
            events.await.map_err(|error| LabError::aws("read the events of the stack", error))?;
        let failures = events.stack_events().iter().rev().filter_map(|event| {
            let failed = event.resource_status()?.as_str().ends_with("FAILED");
            let reason = event.resource_status_reason()?;
            failed.then(|| format!("{}: {reason}", event.logical_resource_id().unwrap_or("?")))
        });
        Ok(failures.collect::<Vec<_>>().join("\n"))
    }

    async fn wait(
        &self,
        what: &str,
        status: Option<&str>,
        deadline: Instant,
    ) -> Result<(), LabError> {
        if Instant::now() < deadline {
            tokio::time::sleep(POLL).await;
            return Ok(());
        }
        let status = status.unwrap_or("without a status");
        Err(self.failed(format!("{what} is still {status} after {} s", READY_MAX.as_secs())))
    }

    fn failed(&self, reason: String) -> LabError {
        LabError::Deploy { stack: self.stack.to_owned(), reason }
    }
}

fn read(root: &Path, path: &str) -> Result<String, LabError> {
    std::fs::read_to_string(root.join(path))
        .map_err(|error| LabError::io(format!("read {path}"), error))
}
