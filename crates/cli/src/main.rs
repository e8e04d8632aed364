//! The `cutover` command: what people do at a desk. Nothing here calls AWS.

use std::io::{self, BufWriter, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;
use cutover_cli::desk_plan::{self, Known};
use cutover_cli::{replay, series};
use cutover_core::{Failure, Health};
use serde::Serialize;
use serde_json::Value;

/// Judge a recorded series, plan a cutover. Nothing here calls AWS.
#[derive(Debug, Parser)]
#[command(name = "cutover", version, about, max_term_width = 100)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show what cutover would have said and done on a recorded series, period by period
    ///
    /// SERIES is CSV with the header
    /// `period_start,requests_old,errors_old,requests_new,errors_new[,slow_old,slow_new][,refused_old,refused_new][,intended]`,
    /// or JSON lines with the same names, oldest or newest first; `intended` is the share, 0 to 1, that was meant for
    /// the new side. Times are in RFC 3339 or epoch seconds; whole numbers
    /// may also look like CloudWatch's exports (1200.0). The last 1,440 periods before the new side's first
    /// request show the old side's bursts, so include a day of them.
    ///
    /// Played: a check at the end of each period, of the 200 periods up to it, and the holding of steps. Every change of
    /// `intended` begins a step, whose periods count from 60 s later, when it has settled; without that column, all is one
    /// step. A step that would not be passed after its bake (`requests_min`, a limit, `old_share_max`) is held: until a
    /// verdict passes it, until the series shifts all the same, or for `hold_max_s`. Then `on_no_data` decides; if the
    /// traffic goes back, the rest is not judged. What was recorded cannot be moved: a series that stays on a step that is
    /// passed is judged on, as if its bake ended with each period.
    ///
    /// Not played: the policy's `period_s` (the series has its own), `metrics_delay_s` and `check_interval_s` (a
    /// cutover decides later by up to their sum), own signals, alarms, and hosts that are not healthy.
    ///
    /// Exit code: 0 healthy; 3 regressed, or held for too long; 4 not enough data; 2 bad input.
    Judge {
        /// File with the series, or - for standard input
        series: String,
        /// JSON file with the policy: the "health" of a request
        #[arg(long, value_name = "FILE")]
        policy: Option<String>,
        /// Seconds that each step bakes before it is passed or held: the `bake_s` of a ramp
        #[arg(long, value_name = "S", default_value_t = 300, value_parser = clap::value_parser!(u32).range(0..=604_800))]
        bake_s: u32,
        /// Draw the share, error rates and evidence into an SVG file
        #[arg(long, value_name = "FILE.svg")]
        plot: Option<PathBuf>,
        /// Print one JSON document
        #[arg(long)]
        json: bool,
    },
    /// Show the timetable, weights, worst shares, capacity, calls and cost of a request
    Plan {
        /// JSON file with the request as the state machine takes it, or - for standard input
        request: String,
        /// Number of healthy hosts behind each load balancer of the old side
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
        hosts: Option<u32>,
        /// Number of routes, if the request does not name them
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
        routes: Option<u16>,
        /// Number of load balancer pairs (old and new) that the routes share
        #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1000))]
        load_balancer_pairs: u16,
        /// Longest TTL of the records, in seconds: 60 for an alias to a load balancer
        #[arg(long, value_name = "S", default_value_t = 60, value_parser = clap::value_parser!(u32).range(0..=300))]
        ttl_s: u32,
        /// Print one JSON document
        #[arg(long)]
        json: bool,
    },
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// Exit code of bad input and of files that cannot be read or written.
const REFUSED: u8 = 2;

fn main() -> ExitCode {
    let done = match Args::parse().command {
        Command::Judge { series, policy, bake_s, plot, json } => {
            judge(&series, policy.as_deref(), bake_s, plot, json)
        }
        Command::Plan { request, hosts, routes, load_balancer_pairs, ttl_s, json } => {
            let known = Known {
                routes: routes.map(usize::from),
                load_balancer_pairs: usize::from(load_balancer_pairs),
                hosts,
                ttl_s,
            };
            plan(&request, &known, json)
        }
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Args::command(), "cutover", &mut script);
            say(|out| out.write_all(&script)).map(|()| 0)
        }
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(why) => {
            // Nobody is left to tell when standard error is closed as well.
            let _ = writeln!(io::stderr(), "{why}");
            ExitCode::from(REFUSED)
        }
    }
}

fn judge(
    series: &str,
    policy: Option<&str>,
    bake_s: u32,
    plot: Option<PathBuf>,
    json: bool,
) -> Result<u8, String> {
    let policy = match policy {
        Some(path) => {
            Health::parse(&read_json(path)?).map_err(|refused| problems(path, &refused))?
        }
        None => Health::default(),
    };
    // The bytes that were read are gone once they are parsed.
    let parsed = series::Series::parse(&series::read(series)?)
        .map_err(|refused| format!("{series}: {refused}"))?;
    let replay = replay::judge(&parsed, &policy, bake_s);
    if let Some(path) = plot {
        std::fs::write(&path, replay.draw())
            .map_err(|error| format!("Could not write {}: {error}", path.display()))?;
    }
    say(|out| if json { write_json(out, &replay) } else { replay.write(out) })?;
    Ok(replay.exit_code())
}

fn plan(path: &str, known: &Known, json: bool) -> Result<u8, String> {
    let request = read_json(path)?;
    let (request, plan) =
        desk_plan::plan(&request, known).map_err(|refused| problems(path, &refused))?;
    say(|out| {
        if json {
            write_json(out, &plan)
        } else {
            out.write_all(desk_plan::table(&request, &plan).as_bytes())
        }
    })?;
    Ok(0)
}

fn read_json(path: &str) -> Result<Value, String> {
    let read = series::read(path)?;
    serde_json::from_slice(&read).map_err(|error| format!("{path}: this is no JSON: {error}"))
}

/// Every problem of an input on a line of its own.
fn problems(path: &str, failure: &Failure) -> String {
    match failure.problems() {
        [] => format!("{path}: {failure}"),
        problems => {
            let lines = problems.iter().map(|problem| format!("{path}: {}", problem.message));
            lines.collect::<Vec<_>>().join("\n")
        }
    }
}

fn write_json(out: &mut dyn io::Write, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, value)?;
    writeln!(out)
}

/// Prints what is written. A reader that has seen enough (`| head`) is no failure.
fn say(write: impl FnOnce(&mut dyn io::Write) -> io::Result<()>) -> Result<(), String> {
    let mut out = BufWriter::new(io::stdout().lock());
    match write(&mut out).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(format!("Could not print: {error}"))
        }
        _ => Ok(()),
    }
}
