//! The emulator's Python environment: made once under `target/`, from pinned, hash-checked packages.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use crate::error::{LabError, tail};

/// Every package the emulator needs, with the hashes that pip checks.
const REQUIREMENTS: &str = include_str!("../requirements.txt");

/// The oldest Python (3.x) that the packages work with.
const MINOR_MIN: u32 = 10;

/// Names to look for: an old system Python often stands beside a newer one.
const INTERPRETERS: [&str; 6] =
    ["python3", "python3.14", "python3.13", "python3.12", "python3.11", "python3.10"];

/// How often a run looks whether another one has finished making the environment.
const LOCK_POLL: Duration = Duration::from_millis(100);

/// A virtual environment with the emulator in it.
#[derive(Debug, Clone)]
pub struct Venv {
    target_dir: PathBuf,
}

impl Venv {
    /// Gives the environment under `target_dir`, and makes it when it is missing, half made or
    /// made from other requirements. Of several runs at once, one makes it and the others wait.
    ///
    /// # Errors
    /// `Python` when there is no interpreter of at least 3.10, `Venv` when the environment or its
    /// packages cannot be installed, `Io` when the directory cannot be written.
    pub async fn ready(target_dir: &Path) -> Result<Self, LabError> {
        let cannot = |error| LabError::io(format!("write to {}", target_dir.display()), error);
        fs::create_dir_all(target_dir).map_err(cannot)?;
        let target_dir = target_dir.canonicalize().map_err(cannot)?;
        let venv = Self { target_dir };

        let lock = File::create(venv.target_dir.join("lab-venv.lock")).map_err(cannot)?;
        loop {
            match lock.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) => tokio::time::sleep(LOCK_POLL).await,
                Err(TryLockError::Error(error)) => return Err(cannot(error)),
            }
        }
        if !venv.is_complete() {
            venv.make(&find_python(&INTERPRETERS).await?).await?;
        }
        Ok(venv)
    }

    /// The `target` directory that this environment stands in.
    #[must_use]
    pub fn target_dir(&self) -> &Path {
        &self.target_dir
    }

    /// The interpreter of this environment.
    #[must_use]
    pub fn python(&self) -> PathBuf {
        self.dir().join("bin/python")
    }

    fn dir(&self) -> PathBuf {
        self.target_dir.join("lab-venv")
    }

    fn stamp(&self) -> PathBuf {
        self.dir().join("made-from.txt")
    }

    /// The stamp is written last, so it vouches for all before it; the interpreter is a link, and
    /// dangles once the Python it was made with is gone.
    fn is_complete(&self) -> bool {
        fs::read_to_string(self.stamp()).is_ok_and(|stamp| stamp == REQUIREMENTS)
            && self.python().exists()
    }

    async fn make(&self, python: &str) -> Result<(), LabError> {
        let dir = self.dir();
        let cannot = |error| LabError::io(format!("write to {}", dir.display()), error);
        if dir.exists() {
            fs::remove_dir_all(&dir).map_err(cannot)?;
        }
        let mut venv = Command::new(python);
        run(venv.args(["-m", "venv"]).arg(&dir), "make a virtual environment").await?;

        let requirements = dir.join("requirements.txt");
        fs::write(&requirements, REQUIREMENTS).map_err(cannot)?;
        let mut pip = Command::new(self.python());
        pip.args(["-m", "pip", "install", "--require-hashes", "--no-deps", "--no-input"])
            .args(["--disable-pip-version-check", "--progress-bar", "off", "-r"])
            .arg(&requirements);
        run(&mut pip, "install the emulator with pip (is there a network?)").await?;
        fs::write(self.stamp(), REQUIREMENTS).map_err(cannot)
    }
}

/// The first of `names` that is new enough.
async fn find_python(names: &[&str]) -> Result<String, LabError> {
    let mut too_old = None;
    for name in names {
        let version = "import sys; print(sys.version_info.major, sys.version_info.minor)";
        let asked = Command::new(name).args(["-c", version]).kill_on_drop(true).output().await;
        // One that cannot be started is as good as absent: another name may work.
        let Ok(output) = asked else { continue };
        let text = String::from_utf8_lossy(&output.stdout);
        let Some((major, minor)) = text.trim().split_once(' ') else { continue };
        if major == "3" && minor.parse().is_ok_and(|minor: u32| minor >= MINOR_MIN) {
            return Ok((*name).to_owned());
        }
        too_old.get_or_insert(format!("{name} is only version {major}.{minor}"));
    }
    let found = too_old.unwrap_or_else(|| "there is no python3 on the PATH".to_owned());
    Err(LabError::Python { found })
}

/// Runs a tool to its end and keeps what it printed for the error.
async fn run(command: &mut Command, doing: &'static str) -> Result<(), LabError> {
    let output = command
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|error| LabError::io(doing, error))?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    Err(LabError::Venv { doing, tail: tail(&String::from_utf8_lossy(&said)) })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[tokio::test]
    async fn says_that_there_is_no_python() {
        let error = find_python(&["no-such-python"]).await.unwrap_err().to_string();
        assert!(error.contains("there is no python3 on the PATH"), "{error}");
    }

    #[tokio::test]
    async fn passes_over_a_python_that_is_too_old_and_names_it_if_there_is_no_other() {
        let old = fake_python("old", "3 9");
        let new = fake_python("new", "3 10");
        assert_eq!(find_python(&[&old, &new]).await.unwrap(), new);
        let error = find_python(&[&old]).await.unwrap_err().to_string();
        assert!(error.contains("is only version 3.9"), "{error}");
    }

    #[tokio::test]
    async fn a_failed_tool_is_told_with_its_last_lines() {
        let mut pip = Command::new("sh");
        pip.args(["-c", "echo first; echo 'no route to the index' >&2; exit 1"]);
        let error = run(&mut pip, "install the emulator").await.unwrap_err().to_string();
        assert!(error.starts_with("Could not install the emulator."), "{error}");
        assert!(error.ends_with("no route to the index"), "{error}");
    }

    #[test]
    fn every_requirement_is_pinned_and_hashed() {
        let lines = REQUIREMENTS.replace("\\\n", " ");
        let packages = lines.lines().filter(|line| line.starts_with(|c: char| c.is_alphanumeric()));
        for package in packages {
            assert!(package.contains("==") && package.contains("--hash=sha256:"), "{package}");
        }
    }

    fn fake_python(name: &str, version: &str) -> String {
        let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target");
        let path = target.join(format!("lab-python-{name}"));
        fs::write(&path, format!("#!/bin/sh\necho {version}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path.to_str().unwrap().to_owned()
    }
}
