//! Other implementations of the webhook. `bench/README.md` says what they must do.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use local::lambda::Program;

use crate::programs::{Subject, run};

/// The function that peers replace.
const STANDS_FOR: &str = "webhook";

/// `NAME=COMMAND`, as typed.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    name: String,
    command: Vec<String>,
}

impl std::str::FromStr for Peer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, command) = text.split_once('=').unwrap_or_default();
        let command: Vec<String> = command.split_whitespace().map(str::to_owned).collect();
        let is_name = name.bytes().all(|byte| byte.is_ascii_alphanumeric()) && !name.is_empty();
        if !is_name || command.is_empty() {
            return Err("a peer is NAME=COMMAND, with letters and digits in its name".to_owned());
        }
        Ok(Self { name: name.to_owned(), command })
    }
}

impl Peer {
    pub(crate) fn subject(&self) -> Result<Subject, String> {
        let (program, arguments) = self.command.split_first().ok_or("a peer without a command")?;
        let file = find(program)
            .ok_or_else(|| format!("the peer {} has no program {program}", self.name))?;
        let program = Program { file, arguments: arguments.to_vec() };
        Ok(subject(&self.name, program, None))
    }
}

fn subject(name: &str, program: Program, upload: Option<PathBuf>) -> Subject {
    Subject { name: name.to_owned(), function: STANDS_FOR.to_owned(), program, upload }
}

/// A program by its path or name. A function has no PATH to look it up in.
fn find(program: &str) -> Option<PathBuf> {
    if program.contains('/') {
        return fs::canonicalize(program).ok();
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// Installs the Node peer as `bench/peers/node` pins it, unless it is installed.
pub(crate) fn node() -> Result<Subject, String> {
    let (Some(node), Some(npm)) = (find("node"), find("npm")) else {
        return Err("node or npm is missing: install Node 20 or newer".to_owned());
    };
    let folder = Path::new("target/bench/node");
    let files = ["package.json", "package-lock.json", ".npmrc", "main.js", "webhook.js"];
    install("bench/peers/node", folder, &files, |folder| {
        let quiet = ["--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
        run(Command::new(&npm).arg("ci").args(quiet), folder)?;
        run(Command::new(&npm).args(["run", "--silent", "build"]), folder)
    })?;
    let bundle = tools::root().join(folder).join("index.cjs");
    let arguments = vec![bundle.to_string_lossy().into_owned()];
    Ok(subject("node", Program { file: node, arguments }, Some(bundle)))
}

/// Installs the Python peer as `bench/peers/python` pins it, unless it is installed.
pub(crate) fn python() -> Result<Subject, String> {
    let python = find("python3").ok_or("python3 is missing: install it with its venv module")?;
    let folder = Path::new("target/bench/python");
    let files = ["requirements.txt", "main.py", "webhook.py"];
    install("bench/peers/python", folder, &files, |folder| {
        run(Command::new(&python).args(["-m", "venv", "environment"]), folder)?;
        let pip = ["-m", "pip", "install", "--quiet", "--no-deps", "-r", "requirements.txt"];
        run(Command::new("environment/bin/python").args(pip), folder)
    })?;
    let folder = tools::root().join(folder);
    let file = folder.join("environment/bin/python");
    let arguments = vec![folder.join("main.py").to_string_lossy().into_owned()];
    Ok(subject("python", Program { file, arguments }, None))
}

/// Copies a peer's files and installs its dependencies, unless these were installed before.
fn install(
    from: &str,
    folder: &Path,
    files: &[&str],
    install: impl FnOnce(&Path) -> Result<(), String>,
) -> Result<(), String> {
    let (from, to) = (tools::root().join(from), tools::root().join(folder));
    let done = to.join("installed");
    let is_current = |file: &&str| fs::read(from.join(file)).ok() == fs::read(to.join(file)).ok();
    if done.exists() && files.iter().all(is_current) {
        return Ok(());
    }
    let failed = |error: std::io::Error| format!("{} can't be written: {error}", to.display());
    if to.exists() {
        fs::remove_dir_all(&to).map_err(failed)?;
    }
    fs::create_dir_all(&to).map_err(failed)?;
    for file in files {
        fs::copy(from.join(file), to.join(file)).map_err(failed)?;
    }
    install(folder)?;
    fs::write(done, "").map_err(failed)
}
