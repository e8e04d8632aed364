//! `cargo lab`: a real cutover, end to end, on this machine.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use lab::error::LabError;
use lab::run::{Options, Played, run};
use lab::scenario::{Router, Scenario};
use lab::view::say;
use tokio::signal::unix::{SignalKind, signal};

/// Runs a whole cutover on this machine, with an emulated AWS, the real functions, state machine and
/// template, and two simulated clusters that serve real requests.
#[derive(Parser)]
#[command(name = "cargo lab", version)]
struct Arguments {
    /// What happens during the cutover
    #[arg(long, value_enum, default_value_t)]
    scenario: Scenario,
    /// What splits the requests; with alb, only healthy, regressed, noisy and drift can be played
    #[arg(long, value_enum, default_value_t)]
    router: Router,
    /// Leave everything running after the end, until Ctrl-C
    #[arg(long)]
    keep: bool,
    /// Seed for everything that is random in the traffic
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Directory for the picture (run.svg) and the samples (run.json)
    #[arg(long, default_value = "lab-out")]
    out: PathBuf,
    /// Port of the emulator; a free one if left out
    #[arg(long)]
    port: Option<u16>,
}

/// The scenario did not end as it should.
const DIFFERENT: u8 = 1;
/// The lab could not run.
const BROKEN: u8 = 2;

#[tokio::main]
async fn main() -> ExitCode {
    let Arguments { scenario, router, keep, seed, out, port } = Arguments::parse();
    let options = Options { scenario, router, seed, out, port };
    match session(&options, keep).await {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(BROKEN)
        }
    }
}

/// Plays the scenario. A signal drops everything that runs, which stops it.
async fn session(options: &Options, keep: bool) -> Result<u8, LabError> {
    let mut signals = Signals::new()?;
    let mut played = tokio::select! {
        played = run(options) => played?,
        code = signals.any() => return Ok(code),
    };
    if keep {
        say(&played.commands());
        tokio::select! {
            error = played.broken() => return Err(error),
            _ = signals.any() => {}
        }
    }
    let Played { differences, .. } = &played;
    let code = if differences.is_empty() { 0 } else { DIFFERENT };
    played.stop().await?;
    Ok(code)
}

/// What ends the lab early.
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> Result<Self, LabError> {
        let listen = |kind| signal(kind).map_err(|error| LabError::io("listen for signals", error));
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    /// Waits for a signal, and gives the exit code that shells expect after it.
    async fn any(&mut self) -> u8 {
        tokio::select! {
            _ = self.interrupt.recv() => 130,
            _ = self.terminate.recv() => 143,
        }
    }
}
