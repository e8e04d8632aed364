//! What can go wrong in the lab, each in a sentence that says what to do about it.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};

use aws_smithy_types::error::ErrorMetadata;

use crate::scenario::Router;

/// Why the lab could not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// The emulator's Python environment could not be made.
    #[error("The emulator's Python environment could not be made. The last lines were:\n{tail}")]
    Python {
        /// The last lines that its maker printed.
        tail: String,
    },
    /// Somebody else listens where the emulator should.
    #[error(
        "Port {port} of 127.0.0.1 is in use. Stop the program that listens there, or choose another port."
    )]
    PortInUse {
        /// The port asked for.
        port: u16,
    },
    /// The lab has no such story for this router.
    #[error(
        "The lab does not play {what} with --router {router}. Take the scenario {allowed}, or --router route53.",
        router = router.name(),
        allowed = router.scenarios()
    )]
    NotPlayed {
        /// What it does not play, as "the scenario not-ready".
        what: String,
        /// The router.
        router: Router,
    },
    /// The emulator did not come up.
    #[error("The emulator {what}. The end of its log ({log}):\n{tail}", log = log.display())]
    Emulator {
        /// What it did, as "ended before it was ready".
        what: String,
        /// Where its whole output stands.
        log: PathBuf,
        /// The last lines of it.
        tail: String,
    },
    /// cargo could not build the functions; it has printed why.
    #[error("The functions could not be built: {0}")]
    Build(String),
    /// The template, or what goes with it, cannot be deployed.
    #[error("The stack {stack} could not be deployed: {reason}")]
    Deploy {
        /// Name of the stack.
        stack: String,
        /// What CloudFormation said, one line a resource.
        reason: String,
    },
    /// The generated traffic, or its measurement, broke down.
    #[error("The lab's traffic broke down: {0}")]
    Traffic(String),
    /// A file, socket or process could not be used.
    #[error("Could not {doing}: {source}")]
    Io {
        /// What was attempted.
        doing: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// A call of an AWS API failed.
    #[error("Could not {doing}: {reason}")]
    Aws {
        /// What was attempted.
        doing: String,
        /// The error with all its causes.
        reason: String,
    },
}

impl LabError {
    /// A failed use of a file, socket or process; `doing` completes "Could not …".
    #[must_use]
    pub fn io(doing: impl Into<String>, source: io::Error) -> Self {
        Self::Io { doing: doing.into(), source }
    }

    /// A failed call of an AWS API; `doing` completes "Could not …".
    ///
    /// The text of an SDK error is only "service error": what happened stands in its causes.
    #[must_use]
    pub fn aws(doing: impl Into<String>, error: impl Error) -> Self {
        Self::Aws { doing: doing.into(), reason: reason(&error) }
    }

    /// A break-down of the generated traffic.
    #[must_use]
    pub fn traffic(what: impl Into<String>) -> Self {
        Self::Traffic(what.into())
    }
}

/// What happened, in one line: what the service said if it answered, else the error with all its
/// causes.
fn reason(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(said) = error.downcast_ref::<ErrorMetadata>() {
            let said: Vec<&str> = [said.code(), said.message()].into_iter().flatten().collect();
            return said.join(": ");
        }
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// The last lines of a text, for an error message.
pub(crate) fn tail(text: &str) -> String {
    const LINES: usize = 15;
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines.iter().skip(lines.len().saturating_sub(LINES)).copied().collect::<Vec<_>>().join("\n")
}

/// The last lines of a log file, or why there are none.
pub(crate) fn tail_of(log: &Path) -> String {
    match std::fs::read(log) {
        Ok(bytes) => tail(&String::from_utf8_lossy(&bytes)),
        Err(error) => format!("(cannot be read: {error})"),
    }
}
