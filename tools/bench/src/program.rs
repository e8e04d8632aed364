//! A program that is measured.

use std::fs;
use std::time::Duration;

use tokio::process::Command;

use lab::error::LabError;

/// Starts a program, lets it run until `heard` has what it waits for, and stops it. Gives what was heard, and what
/// Linux knows of the process then, as `/proc/PID/status` has it.
pub async fn run_until<T>(
    heard: impl Future<Output = Result<T, LabError>>,
    command: &mut Command,
    doing: &str,
    run_max: Duration,
) -> Result<(T, String), LabError> {
    let cannot = |error| LabError::io(doing, error);
    let failed = |reason: String| LabError::Aws { doing: doing.to_owned(), reason };
    let mut program = command.spawn().map_err(cannot)?;
    let pid = program.id().unwrap_or_default();
    let heard = tokio::select! {
        heard = heard => heard?,
        ended = program.wait() => {
            return Err(failed(format!("it ended ({})", ended.map_err(cannot)?)));
        }
        () = tokio::time::sleep(run_max) => {
            return Err(failed(format!("it is not done after {} s", run_max.as_secs())));
        }
    };
    let status = fs::read_to_string(format!("/proc/{pid}/status")).map_err(cannot)?;
    program.kill().await.map_err(cannot)?;
    Ok((heard, status))
}
