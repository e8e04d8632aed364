//! The emulator for real: start, stop, proxy and deployment.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what a test helper cannot do fails the test"
)]

use std::io::{BufRead, BufReader, Cursor, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use aws_config::SdkConfig;
use aws_sdk_sfn::types::ExecutionStatus;
use lab::aws::sdk_config;
use lab::deploy::deploy;
use lab::emulator::{Emulator, EmulatorOptions};
use lab::error::LabError;
use lab::functions::Function;
use lab::proxy::{Effect, Rule};
use lab::python::Venv;

const DEADLINE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn an_emulator_starts_says_that_its_port_is_in_use_and_stops() {
    let venv = venv().await;
    let emulator = Emulator::start(&venv, EmulatorOptions::default()).await.unwrap();
    let address = emulator.endpoint().replace("http://", "");
    let port = address.rsplit(':').next().unwrap().parse().unwrap();
    let route53 = aws_sdk_route53::Client::new(&sdk_config(&emulator.endpoint()));
    assert!(route53.list_hosted_zones().send().await.unwrap().hosted_zones().is_empty());

    let options = EmulatorOptions { port: Some(port), ..EmulatorOptions::default() };
    let error = Emulator::start(&venv, options).await.unwrap_err();
    assert!(matches!(error, LabError::PortInUse { port: refused } if refused == port), "{error}");

    emulator.stop().await.unwrap();
    assert!(TcpStream::connect(&address).is_err(), "somebody still listens on {address}");
}

#[tokio::test]
async fn an_emulator_that_does_not_come_up_shows_its_log() {
    let broken = vec![("BIND_HOST".to_owned(), "192.0.2.1".to_owned())];
    let options = EmulatorOptions { env: broken, ..EmulatorOptions::default() };
    let error = Emulator::start(&venv().await, options).await.unwrap_err().to_string();
    assert!(error.contains("ended before it was ready"), "{error}");
    assert!(error.contains("OSError"), "{error}");
}

#[tokio::test]
async fn an_emulator_ends_when_its_owner_is_killed() {
    const OWNER: &str = "LAB_TEST_OWNER";
    if std::env::var_os(OWNER).is_some() {
        let emulator = Emulator::start(&venv().await, EmulatorOptions::default()).await.unwrap();
        println!("{}", emulator.endpoint());
        return std::future::pending().await;
    }
    let mut owner = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "an_emulator_ends_when_its_owner_is_killed", "--nocapture"])
        .env(OWNER, "")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(owner.stdout.take().unwrap()).lines().map(Result::unwrap);
    let address = said.find_map(|line| Some(line.split_once("http://")?.1.to_owned())).unwrap();
    owner.kill().unwrap();
    owner.wait().unwrap();
    refuses_connections(&address).await;
}

#[tokio::test]
async fn a_template_with_a_function_and_a_state_machine_is_deployed_and_runs_behind_the_proxy() {
    let (emulator, proxy) =
        Emulator::start_behind_proxy(&venv().await, EmulatorOptions::default()).await.unwrap();
    let config = sdk_config(&emulator.endpoint());
    let root = scratch("deploy", TEMPLATE);
    let parameters = [("Greeting", "hello")];
    let stack = deploy(&config, &root, "tiny", &parameters, vec![function()]).await.unwrap();

    let _lost = proxy.rule(Rule::on("ListHostedZones", Effect::DropReply).times(1));
    let output = execute(&config, &stack.outputs["StateMachine"]).await;
    // The function made its call twice, for it got no answer to the first.
    assert_eq!(output, r#"{"greeting": "hello", "failed": 1, "status": 200}"#);
    assert_eq!(proxy.calls()[&("unsigned".to_owned(), "ListHostedZones".to_owned())], 2);
    emulator.stop().await.unwrap();
}

#[tokio::test]
async fn a_deployment_that_fails_tells_the_resource_and_the_reason() {
    let emulator = Emulator::start(&venv().await, EmulatorOptions::default()).await.unwrap();
    let config = sdk_config(&emulator.endpoint());
    let root = scratch("broken", &TEMPLATE.replace("Outputs:", &format!("{RECORD}Outputs:")));
    let parameters = [("Greeting", "hello")];
    let error = deploy(&config, &root, "broken", &parameters, vec![function()]).await.unwrap_err();
    let error = error.to_string();
    assert!(error.contains("broken could not be deployed"), "{error}");
    assert!(error.contains("RecordOfNoZone: "), "{error}");

    let other = Function { name: "missing".to_owned(), ..function() };
    let error = deploy(&config, &root, "other", &parameters, vec![other]).await.unwrap_err();
    let error = error.to_string();
    assert!(error.contains("0 lines `CodeUri: functions/missing/`"), "{error}");
}

async fn refuses_connections(address: &str) {
    let deadline = Instant::now() + DEADLINE;
    while TcpStream::connect(address).is_ok() {
        assert!(Instant::now() < deadline, "somebody still listens on {address}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn venv() -> Venv {
    Venv::ready(&target_dir()).await.unwrap()
}

/// This test runs as `target/debug/deps/infra-…`.
fn target_dir() -> PathBuf {
    std::env::current_exe().unwrap().ancestors().nth(3).unwrap().to_owned()
}

fn scratch(name: &str, template: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(root.join("statemachine")).unwrap();
    std::fs::write(root.join("template.yaml"), template).unwrap();
    std::fs::write(root.join("statemachine/cutover.asl.json"), STATE_MACHINE).unwrap();
    root
}

fn function() -> Function {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let executable = zip::write::SimpleFileOptions::default().unix_permissions(0o755);
    zip.start_file("bootstrap", executable).unwrap();
    zip.write_all(BOOTSTRAP.as_bytes()).unwrap();
    Function { name: "hello".to_owned(), zip: zip.finish().unwrap().into_inner() }
}

async fn execute(config: &SdkConfig, state_machine: &str) -> String {
    let sfn = aws_sdk_sfn::Client::new(config);
    let started = sfn.start_execution().state_machine_arn(state_machine).send().await.unwrap();
    let deadline = Instant::now() + DEADLINE;
    loop {
        let execution =
            sfn.describe_execution().execution_arn(started.execution_arn()).send().await.unwrap();
        match execution.status() {
            ExecutionStatus::Succeeded => return execution.output().unwrap().to_owned(),
            ExecutionStatus::Running => assert!(Instant::now() < deadline, "{execution:?}"),
            _ => panic!("{execution:?}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

const TEMPLATE: &str = "
AWSTemplateFormatVersion: '2010-09-09'
Transform: AWS::Serverless-2016-10-31
Parameters:
  Greeting:
    Type: String
Resources:
  HelloFunction:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: functions/hello/
      Handler: bootstrap
      Runtime: provided.al2023
      Environment:
        Variables:
          GREETING: !Ref Greeting
  HelloStateMachine:
    Type: AWS::Serverless::StateMachine
    Properties:
      DefinitionUri: statemachine/cutover.asl.json
      DefinitionSubstitutions:
        HelloFunctionArn: !GetAtt HelloFunction.Arn
      Policies:
        - LambdaInvokePolicy:
            FunctionName: !Ref HelloFunction
Outputs:
  StateMachine:
    Value: !Ref HelloStateMachine
";

/// A resource that cannot be made.
const RECORD: &str = "
  RecordOfNoZone:
    Type: AWS::Route53::RecordSet
    Properties:
      HostedZoneId: Z0
      Name: chat.example.com
      Type: A
      TTL: 60
      ResourceRecords: [192.0.2.1]
";

const STATE_MACHINE: &str = r#"{
  "QueryLanguage": "JSONata",
  "StartAt": "SayHello",
  "States": {"SayHello": {"Type": "Task", "Resource": "${HelloFunctionArn}", "End": true}}
}"#;

/// A runtime of a few lines: asks AWS for the hosted zones until there is an answer.
const BOOTSTRAP: &str = r#"#!/usr/bin/env python3
import json, os, urllib.request
runtime = "http://%s/2018-06-01/runtime/invocation" % os.environ["AWS_LAMBDA_RUNTIME_API"]
while True:
    event = urllib.request.urlopen(runtime + "/next")
    answer = {"greeting": os.environ["GREETING"], "failed": 0}
    while "status" not in answer:
        try:
            aws = os.environ["AWS_ENDPOINT_URL"] + "/2013-04-01/hostedzone"
            answer["status"] = urllib.request.urlopen(aws).status
        except OSError:
            answer["failed"] += 1
    url = "%s/%s/response" % (runtime, event.headers["Lambda-Runtime-Aws-Request-Id"])
    urllib.request.urlopen(url, data=json.dumps(answer).encode())
"#;
