//! Memory: how long each function takes for the largest cutover, with the share of a processor that Lambda gives
//! for its memory.
//!
//! A control group of Linux holds the release build to that share. The emulator answers from outside of the
//! group, so that its time comes on top: what is measured is at most what Lambda takes beside its network.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use cutover_core::Cutover;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::calls::{Bench, Events};
use crate::cold_start;
use crate::program::run_until;
use crate::stubs::{self, Seen};
use crate::table::markdown;
use lab::error::LabError;
use lab::functions;

/// Routes, and pairs of load balancers behind them: the largest cutover.
const ROUTES: usize = 250;
/// What is tried, in MB.
const MEMORY_MB: [u32; 4] = [128, 256, 512, 1024];
/// The memory that comes with one whole processor.
/// Source: Lambda developer guide, "Configure Lambda function memory".
const WHOLE_PROCESSOR_MB: u32 = 1769;
/// The time in which a function has its share, in microseconds.
const PERIOD_US: u32 = 20_000;
/// Minutes of requests that validation reads of the old side, and a check of both.
const DAY_MIN: i64 = 1440;
const CHECKED_MIN: i64 = 200;
/// How long one run may take: the longest time-out of a function.
const RUN_MAX: Duration = Duration::from_mins(5);

/// One run of a function.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The function.
    pub name: &'static str,
    /// Its memory, in MB.
    pub memory_mb: u32,
    /// From the event to the response, in seconds.
    pub seconds: f64,
    /// The most memory that it had resident, in KiB (`VmHWM`).
    pub peak_kib: u64,
}

/// Runs each function with each memory; `say` hears what is going on.
///
/// # Errors
/// Whatever keeps the emulator or a function from working; no right to make a control group.
pub async fn measure(root: &Path, say: impl Fn(&str)) -> Result<Vec<Row>, LabError> {
    say("memory: building the functions as for a release");
    let programs = cold_start::release_programs(root).await?;
    say("memory: building and deploying them for the emulator");
    let (bench, emulator) = Bench::start(root).await?;
    say("memory: a cutover of 250 pairs of load balancers");
    let (_, mut events) = bench.case(ROUTES, ROUTES).await?;
    let state = |value: &Value| {
        serde_json::from_value::<Cutover>(value.clone())
            .map_err(|error| LabError::aws("read what a function gave back", error))
    };
    let mut baking = state(&events.check_health)?;
    say("memory: a day of requests");
    let (mut old, mut new) = (Vec::new(), Vec::new());
    for (index, lb) in baking.meters.iter().enumerate() {
        let is_old = baking.routes.iter().any(|route| route.old_meter == index);
        if is_old { &mut old } else { &mut new }.push(lb.id.clone());
    }
    bench.count_minutes(old.iter().map(String::as_str), DAY_MIN).await?;
    bench.count_minutes(new.iter().map(String::as_str), CHECKED_MIN).await?;
    baking.first_shift_at = Some(Timestamp::now() - SignedDuration::from_mins(CHECKED_MIN));
    events.check_health = json!(baking);

    let mut rows = Vec::new();
    for memory_mb in MEMORY_MB {
        let share = Share::of(memory_mb)?;
        // In this order, so that each finds the weights that it expects.
        for (name, program) in functions::NAMES.into_iter().zip(programs.iter().skip(1)) {
            let event = event(&events, name);
            say(&format!("memory: {name} with {memory_mb} MB"));
            let (seconds, peak_kib) = run(&bench, &share, name, program, event).await?;
            say(&format!("memory: {name} with {memory_mb} MB took {seconds:.1} s"));
            rows.push(Row { name, memory_mb, seconds, peak_kib });
        }
    }
    emulator.stop().await?;
    Ok(rows)
}

fn event<'a>(events: &'a Events, name: &str) -> &'a Value {
    match name {
        "validate" => &events.validate,
        "shift-weight" => &events.shift_weight,
        "check-health" => &events.check_health,
        _ => &events.rollback,
    }
}

/// The rows as a table, one line a function.
#[must_use]
pub fn table(rows: &[Row]) -> String {
    let of_memory = MEMORY_MB.map(|memory_mb| format!("{memory_mb} MB"));
    let mut header = vec!["250 pairs, seconds"];
    header.extend(of_memory.iter().map(String::as_str));
    header.push("peak, MiB");
    let cells = |name: &'static str| {
        let mut cells = vec![name.to_owned()];
        cells.extend(MEMORY_MB.map(|memory_mb| {
            let row = rows.iter().find(|row| row.name == name && row.memory_mb == memory_mb);
            row.map_or_else(|| "–".to_owned(), |row| format!("{:.1}", row.seconds))
        }));
        let peaks = rows.iter().filter(|row| row.name == name).map(|row| row.peak_kib);
        cells.push(format!("{:.0}", cold_start::mebi(peaks.max().unwrap_or_default())));
        cells
    };
    markdown(&header, &functions::NAMES.map(cells))
}

/// A control group with a share of one processor. It ends with this value, once nothing is in it.
struct Share(PathBuf);

impl Share {
    /// Of version 1 or 2 of the control groups, whichever there is.
    fn of(memory_mb: u32) -> Result<Self, LabError> {
        let quota_us = PERIOD_US * memory_mb / WHOLE_PROCESSOR_MB;
        let all = Path::new("/sys/fs/cgroup");
        let v2 = all.join("cgroup.controllers").exists();
        let name = format!("cutover-bench-{}-{memory_mb}", std::process::id());
        let group = if v2 { all.join(name) } else { all.join("cpu").join(name) };
        let limits = if v2 {
            vec![("cpu.max", format!("{quota_us} {PERIOD_US}"))]
        } else {
            vec![
                ("cpu.cfs_period_us", PERIOD_US.to_string()),
                ("cpu.cfs_quota_us", quota_us.to_string()),
            ]
        };
        let cannot =
            |error| LabError::io(format!("limit the processor by {}", group.display()), error);
        fs::create_dir(&group).map_err(cannot)?;
        let share = Self(group.clone());
        for (file, limit) in limits {
            fs::write(group.join(file), limit).map_err(cannot)?;
        }
        Ok(share)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir(&self.0) {
            eprintln!("could not remove {}: {error}", self.0.display());
        }
    }
}

/// Starts a function in the group, gives it one event, and tells how many seconds it took to answer and how
/// much memory, in KiB.
async fn run(
    bench: &Bench,
    share: &Share,
    name: &str,
    program: &Path,
    event: &Value,
) -> Result<(f64, u64), LabError> {
    let doing = || format!("run {name}");
    let cannot = |error| LabError::io(doing(), error);
    let failed = |reason: String| LabError::Aws { doing: doing(), reason };
    let output = |name: &str| bench.outputs.get(name).cloned().unwrap_or_default();
    let (log, mut seen) = mpsc::unbounded_channel();
    let mut servers = JoinSet::new();
    let (runtime, port) = stubs::listen().await.map_err(cannot)?;
    servers.spawn(stubs::serve_runtime(runtime, event.to_string().into(), log));
    // The shell enters the group and becomes the function.
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", "echo $$ > \"$0\" && exec \"$1\""])
        .arg(share.0.join("cgroup.procs"))
        .arg(program)
        .env_clear()
        .env("AWS_LAMBDA_RUNTIME_API", format!("127.0.0.1:{port}"))
        .env("AWS_LAMBDA_FUNCTION_NAME", "bench")
        .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
        .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128")
        .env("AWS_ACCESS_KEY_ID", "test")
        .env("AWS_SECRET_ACCESS_KEY", "test")
        .env("AWS_REGION", lab::aws::REGION)
        .env("AWS_ENDPOINT_URL", &bench.endpoint)
        .env("DEFAULTS_PARAMETER", output("DefaultsParameterName"))
        .env("HOSTED_ZONE_ID", "Z0123456789EXAMPLE")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true);
    let mut given = None;
    let heard = async {
        while let Some((seen, at)) = seen.recv().await {
            match seen {
                Seen::Poll => given = given.or(Some(at)),
                Seen::Response(None) => {
                    let given = given.ok_or_else(|| failed("it did not ask".to_owned()))?;
                    return Ok(at.duration_since(given).as_secs_f64());
                }
                Seen::Response(Some(why)) | Seen::Broken(why) => return Err(failed(why)),
                Seen::Answer => {}
            }
        }
        Err(failed("the runtime API ended".to_owned()))
    };
    let (seconds, status) = run_until(heard, &mut command, &doing(), RUN_MAX).await?;
    let peak_kib = cold_start::kib(&status, "VmHWM");
    Ok((seconds, peak_kib.ok_or_else(|| failed("its status has no VmHWM".to_owned()))?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_a_line_a_function_and_a_column_a_memory() {
        let row = |name, memory_mb, seconds, peak_mib: u64| Row {
            name,
            memory_mb,
            seconds,
            peak_kib: 1024 * peak_mib,
        };
        let rows = [
            row("validate", 128, 60.04, 40),
            row("validate", 256, 30.0, 50),
            row("rollback", 1024, 2.0, 9),
        ];
        let table = table(&rows);
        assert!(table.starts_with(
            "| 250 pairs, seconds | 128 MB | 256 MB | 512 MB | 1024 MB | peak, MiB |\n"
        ));
        assert!(table.contains("| validate | 60.0 | 30.0 | – | – | 50 |\n"), "{table}");
        assert!(table.contains("| rollback | – | – | – | 2.0 | 9 |\n"), "{table}");
    }
}
