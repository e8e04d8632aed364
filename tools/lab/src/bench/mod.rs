//! What a cutover costs: calls of AWS, the cold starts of its functions, and how long they take with the
//! processor share that comes with their memory.

pub mod calls;
pub mod cold_start;
pub mod memory;
mod stubs;

use std::fs;
use std::time::Duration;

use tokio::process::Command;

use crate::error::LabError;

/// A table in Markdown; the first column is text, the others are numbers.
fn markdown(header: &[&str], rows: &[Vec<String>]) -> String {
    let rule = " ---: |".repeat(header.len().saturating_sub(1));
    let rows: Vec<String> = rows.iter().map(|row| format!("| {} |\n", row.join(" | "))).collect();
    format!("| {} |\n| --- |{rule}\n{}", header.join(" | "), rows.concat())
}

/// Starts a program, lets it run until `heard` has what it waits for, and stops it. Gives what was heard, and what
/// Linux knows of the process then, as `/proc/PID/status` has it.
async fn run_until<T>(
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

#[cfg(test)]
mod tests {
    #[test]
    fn a_table_aligns_its_numbers_to_the_right() {
        let row = ["one", "2"].map(str::to_owned).to_vec();
        let table = super::markdown(&["routes", "calls"], &[row]);
        assert_eq!(table, "| routes | calls |\n| --- | ---: |\n| one | 2 |\n");
    }
}
