//! The emulator's Python environment: made once under `target/`, from pinned, hash-checked packages.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

use crate::error::{LabError, tail};

/// What makes the environment, or leaves one that is complete.
const MAKE_VENV: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../make-venv");

/// Every package the emulator needs, with the hashes that pip checks.
const REQUIREMENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/requirements.txt");

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
    /// `Python` when there is no interpreter of at least 3.10, or the environment or its packages
    /// cannot be installed; `Io` when the directory cannot be written.
    pub async fn ready(target_dir: &Path) -> Result<Self, LabError> {
        let cannot = |error| LabError::io(format!("write to {}", target_dir.display()), error);
        fs::create_dir_all(target_dir).map_err(cannot)?;
        let venv = Self { target_dir: target_dir.canonicalize().map_err(cannot)? };
        run(Command::new(MAKE_VENV).arg(venv.dir()).arg(REQUIREMENTS)).await?;
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
}

/// Runs a tool to its end and keeps what it printed for the error.
async fn run(command: &mut Command) -> Result<(), LabError> {
    let output = command
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|error| LabError::io("start what makes the Python environment", error))?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    Err(LabError::Python { tail: tail(&String::from_utf8_lossy(&said)) })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    /// An interpreter that says it is version 3.10, and makes environments with itself in them. Its pip writes
    /// what it is asked for into a file, and fails when there is no network.
    const NEW: &str = r#"#!/bin/sh
    case "$1 $2" in
    "-c import sys"*) echo 3.10 ;;
    "-c "*) PATH=$REAL_PATH exec python3 "$@" ;;
    "-m venv") mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
    "-m pip") echo "$@" >>"$PIP_LOG"; [ -n "$NETWORK" ] || { echo "no route to the index" >&2; exit 1; } ;;
    esac"#;
    const OLD: &str = "#!/bin/sh\necho 3.9";

    /// A directory with nothing on its PATH but what the script calls, and these interpreters.
    struct Desk(PathBuf);

    impl Desk {
        fn with(name: &str, interpreters: &[(&str, &str)]) -> Self {
            let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target");
            let desk = Self(target.join(format!("lab-desk-{name}")));
            // Left there by a run before, or not.
            let _ = fs::remove_dir_all(&desk.0);
            fs::create_dir_all(desk.0.join("bin")).unwrap();
            let path = std::env::var_os("PATH").unwrap();
            for tool in ["bash", "cat", "cmp", "cp", "dirname", "mkdir", "rm"] {
                let mut places = std::env::split_paths(&path).map(|place| place.join(tool));
                let real = places.find(|place| place.exists()).unwrap();
                symlink(real, desk.0.join("bin").join(tool)).unwrap();
            }
            for (name, program) in interpreters {
                desk.install(&format!("bin/{name}"), program);
            }
            desk.require("one==1");
            desk
        }

        /// Puts a program there by another process: a file that this one had open for writing could be
        /// open still in a child that another test starts, and a program that is open does not start.
        fn install(&self, to: &str, program: &str) {
            let (text, to) = (self.0.join("program"), self.0.join(to));
            fs::write(&text, program).unwrap();
            fs::set_permissions(&text, fs::Permissions::from_mode(0o755)).unwrap();
            let copied = std::process::Command::new("cp").arg(text).arg(to).status().unwrap();
            assert!(copied.success());
        }

        fn require(&self, packages: &str) {
            fs::write(self.0.join("requirements.txt"), packages).unwrap();
        }

        async fn make(&self, network: &str) -> Result<(), String> {
            let mut command = Command::new(MAKE_VENV);
            command.arg(self.0.join("venv")).arg(self.0.join("requirements.txt"));
            command.env("PATH", self.0.join("bin")).env("NETWORK", network);
            command.env("REAL_PATH", std::env::var_os("PATH").unwrap());
            command.env("PIP_LOG", self.0.join("pip.log"));
            run(&mut command).await.map_err(|error| error.to_string())
        }

        /// How often pip has been asked.
        fn installed(&self) -> usize {
            fs::read_to_string(self.0.join("pip.log")).unwrap_or_default().lines().count()
        }
    }

    #[tokio::test]
    async fn says_that_there_is_no_python() {
        let error = Desk::with("empty", &[]).make("up").await.unwrap_err();
        assert!(error.ends_with("and there is no python3 on the PATH."), "{error}");
    }

    #[tokio::test]
    async fn passes_over_a_python_that_is_too_old_and_names_it_if_there_is_no_other() {
        let both = Desk::with("both", &[("python3", OLD), ("python3.11", NEW)]);
        assert_eq!(both.make("up").await, Ok(()));
        let error = Desk::with("old", &[("python3", OLD)]).make("up").await.unwrap_err();
        assert!(error.ends_with("and python3 is only version 3.9."), "{error}");
    }

    #[tokio::test]
    async fn a_failed_tool_is_told_with_its_last_lines_and_tried_again() {
        let desk = Desk::with("offline", &[("python3", NEW)]);
        let error = desk.make("").await.unwrap_err();
        let lines: Vec<&str> = error.lines().skip(1).collect();
        let ["no route to the index", last] = lines.as_slice() else { panic!("{error}") };
        assert!(last.starts_with("Could not install ") && last.contains("network"), "{error}");
        assert_eq!(desk.make("up").await, Ok(()));
        assert_eq!(desk.installed(), 2);
    }

    #[tokio::test]
    async fn of_several_runs_one_makes_it_and_the_others_find_it_made() {
        let desk = Desk::with("several", &[("python3", NEW)]);
        let done = tokio::join!(desk.make("up"), desk.make("up"), desk.make("up"));
        assert_eq!(done, (Ok(()), Ok(()), Ok(())));
        assert_eq!(desk.installed(), 1);
    }

    #[tokio::test]
    async fn other_requirements_and_another_interpreter_make_it_anew() {
        let desk = Desk::with("changes", &[("python3", NEW)]);
        let python = desk.0.join("venv/bin/python");
        let newer = NEW.replace("3.10", "3.11");
        let made_by: [(&str, &dyn Fn(), usize); 5] = [
            ("nothing was there", &|| (), 1),
            ("nothing has changed", &|| (), 1),
            ("requirements", &|| desk.require("one==2"), 2),
            ("an interpreter that has gone", &|| fs::remove_file(&python).unwrap(), 3),
            ("one of another version", &|| desk.install("venv/bin/python", &newer), 4),
        ];
        for (what, change, installed) in made_by {
            change();
            assert_eq!(desk.make("up").await, Ok(()), "{what}");
            assert_eq!(desk.installed(), installed, "{what}");
        }
    }

    #[test]
    fn every_requirement_is_pinned_and_hashed() {
        let lines = fs::read_to_string(REQUIREMENTS).unwrap().replace("\\\n", " ");
        let packages = lines.lines().filter(|line| line.starts_with(|c: char| c.is_alphanumeric()));
        for package in packages {
            assert!(package.contains("==") && package.contains("--hash=sha256:"), "{package}");
        }
    }
}
