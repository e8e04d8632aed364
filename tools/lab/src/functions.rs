//! The four functions, built and packed as Lambda wants them.

use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde::Deserialize;
use tokio::process::Command;
use tokio::task::JoinSet;
use zip::CompressionMethod;
use zip::write::{SimpleFileOptions, ZipWriter};

use crate::error::LabError;

/// The functions: each is a directory under `functions/`, a package and a binary of this name.
pub const NAMES: [&str; 4] = ["validate", "shift-weight", "check-health", "rollback"];

/// A function ready to be uploaded.
#[derive(Debug, Clone)]
pub struct Function {
    /// Its name, as `shift-weight`.
    pub name: String,
    /// A zip file with the executable in it, named `bootstrap`.
    pub zip: Vec<u8>,
}

/// Builds the functions with the profile and features of the workspace, so that everything is
/// shared with what `cargo test` and `cargo lab` have built already, and packs them.
///
/// # Errors
/// `Build` when cargo fails, which has then printed why; `Io` when a file cannot be read.
pub async fn build(workspace_root: &Path) -> Result<Vec<Function>, LabError> {
    let executables = cargo_build(workspace_root, &["--workspace", "--bins"], &NAMES).await?;
    let mut packing = JoinSet::new();
    for (name, executable) in NAMES.into_iter().zip(executables) {
        packing.spawn_blocking(move || pack(name, &executable));
    }
    packing.join_all().await.into_iter().collect()
}

/// Runs `cargo build` with these arguments, and gives the path of each of the named executables.
///
/// # Errors
/// `Build` when cargo fails, or builds no executable of a name; `Io` when it cannot be started.
pub async fn cargo_build(
    workspace_root: &Path,
    arguments: &[&str],
    names: &[&str],
) -> Result<Vec<PathBuf>, LabError> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    // What `cargo run` and `cargo test` say of their own package. The build script of ring watches
    // these, so ring and all above it would be built anew here, and again by the next cargo outside.
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&*name);
        }
    }
    let output = command
        .args(["build", "--locked", "--message-format=json-render-diagnostics"])
        .args(arguments)
        .current_dir(workspace_root)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|error| LabError::io("start cargo", error))?;
    if !output.status.success() {
        return Err(LabError::Build(format!("cargo ended with {}", output.status)));
    }
    let built = String::from_utf8_lossy(&output.stdout);
    let find = |name: &&str| {
        let path = built.lines().find_map(|line| executable(line, name));
        path.ok_or_else(|| LabError::Build(format!("cargo built no executable {name}")))
    };
    names.iter().map(find).collect()
}

/// One line of cargo's messages, as far as it matters here.
#[derive(Deserialize)]
struct Message {
    target: Target,
    executable: PathBuf,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

/// The path of the executable `name`, if that is what the message is about.
fn executable(message: &str, name: &str) -> Option<PathBuf> {
    // Messages about anything else have no executable, and do not parse.
    let message: Message = serde_json::from_str(message).ok()?;
    (message.target.name == name).then_some(message.executable)
}

fn pack(name: &str, executable: &Path) -> Result<Function, LabError> {
    let doing = || format!("pack {}", executable.display());
    let program = std::fs::read(executable).map_err(|error| LabError::io(doing(), error))?;
    // Not compressed: the file goes over loopback, once, and a debug build of a compressor takes
    // five seconds for what the upload then saves a third of a second.
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    let zip = zip(&program, options).map_err(|error| LabError::io(doing(), error.into()))?;
    Ok(Function { name: name.to_owned(), zip })
}

/// Packs the program into a zip file, named `bootstrap`.
///
/// # Errors
/// What `zip` says when it cannot pack these options.
pub fn zip(program: &[u8], options: SimpleFileOptions) -> zip::result::ZipResult<Vec<u8>> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    zip.start_file("bootstrap", options.unix_permissions(0o755))?;
    zip.write_all(program)?;
    Ok(zip.finish()?.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_executable_in_the_messages_of_cargo() {
        let message = r#"{"reason":"compiler-artifact","target":{"kind":["bin"],"name":"rollback"},"executable":"/target/debug/rollback"}"#;
        let library = r#"{"reason":"compiler-artifact","target":{"kind":["lib"],"name":"rollback"},"executable":null}"#;
        assert_eq!(executable(message, "rollback"), Some("/target/debug/rollback".into()));
        assert_eq!(executable(message, "validate"), None);
        assert_eq!(executable(library, "rollback"), None);
        assert_eq!(executable(r#"{"reason":"build-finished","success":true}"#, "rollback"), None);
    }

    #[test]
    fn packs_an_executable_named_bootstrap() {
        let packed = zip(b"program", SimpleFileOptions::default()).unwrap();
        let mut packed = zip::ZipArchive::new(Cursor::new(packed)).unwrap();
        let file = packed.by_name("bootstrap").unwrap();
        assert_eq!(file.unix_mode().map(|mode| mode & 0o777), Some(0o755));
        assert_eq!(file.size(), 7);
    }
}
