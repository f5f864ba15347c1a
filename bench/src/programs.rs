//! The subjects: our functions as they are deployed, the floor, and the peers.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use flate2::Compression;
use flate2::write::DeflateEncoder;
use local::lambda::Program;
use serde::Serialize;

/// A program to measure.
#[derive(Debug, Clone)]
pub(crate) struct Subject {
    /// `webhook`, `node`
    pub(crate) name: String,
    /// The function that it replaces.
    pub(crate) function: String,
    pub(crate) program: Program,
    /// The size of its package, if known.
    pub(crate) upload: Option<PathBuf>,
}

/// How large a program is.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Size {
    pub(crate) bytes: u64,
    /// Compressed, as it is uploaded.
    pub(crate) zip_bytes: u64,
}

const FUNCTIONS: [&str; 5] = ["floor", "webhook", "entitlements", "checkout", "tutor"];

/// Builds our functions and the floor separately, so that none gets features that only another one
/// enables.
pub(crate) fn build() -> Result<Vec<Subject>, String> {
    FUNCTIONS.map(build_one).into_iter().collect()
}

fn build_one(name: &str) -> Result<Subject, String> {
    run(Command::new("cargo").args(["build", "--release", "--package", name]), Path::new("."))?;
    let file = tools::root().join("target/release").join(name);
    Ok(Subject {
        name: name.to_owned(),
        function: name.to_owned(),
        program: Program { file: file.clone(), arguments: Vec::new() },
        upload: Some(file),
    })
}

impl Subject {
    /// Whether it is one of ours: a peer words its outcomes differently.
    pub(crate) fn is_ours(&self) -> bool {
        self.name == self.function
    }

    pub(crate) fn size(&self) -> Result<Option<Size>, String> {
        self.upload.as_deref().map(size).transpose()
    }
}

/// The size of a file, and of a zip archive of it.
fn size(file: &Path) -> Result<Size, String> {
    const HEADERS: usize = 30 + 46 + 22 + 2 * "bootstrap".len();
    let failed = |error: std::io::Error| format!("{} can't be read: {error}", file.display());
    let content = std::fs::read(file).map_err(failed)?;
    let mut deflated = DeflateEncoder::new(Vec::new(), Compression::default());
    deflated.write_all(&content).map_err(failed)?;
    let deflated = deflated.finish().map_err(failed)?;
    let bytes = u64::try_from(content.len()).unwrap_or(u64::MAX);
    let zip_bytes = u64::try_from(deflated.len() + HEADERS).unwrap_or(u64::MAX);
    Ok(Size { bytes, zip_bytes })
}

/// Runs a command in a folder of the project, with its output on the terminal.
pub(crate) fn run(command: &mut Command, folder: &Path) -> Result<(), String> {
    let command = command.current_dir(tools::root().join(folder));
    let name = command.get_program().to_string_lossy().into_owned();
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err(format!("{name} failed: see above")),
        Err(error) => Err(format!("{name} can't be started: {error}")),
    }
}

/// A command's output, in one line.
pub(crate) fn said(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}
