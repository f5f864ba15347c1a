//! `cargo xtask test`: all checks, cheapest first.

use std::ffi::OsString;
use std::num::NonZero;
use std::process::Command;
use std::time::Instant;

/// A check: its name, and the command as it could be typed.
struct Check {
    name: &'static str,
    command: &'static [&'static str],
    /// An environment variable for this command only.
    environment: &'static [(&'static str, &'static str)],
}

const CHECKS: [Check; 11] = [
    Check { name: "format", command: &["cargo", "fmt", "--all", "--check"], environment: &[] },
    Check {
        name: "lints",
        command: &["cargo", "clippy", "--workspace", "--all-targets", "--", "-D", "warnings"],
        environment: &[],
    },
    Check {
        name: "lints of a first build",
        // What a newcomer builds: the features that only other crates ask for are missing.
        command: &["cargo", "clippy", "--package", "coursegate", "--", "-D", "warnings"],
        environment: &[],
    },
    Check {
        name: "documentation",
        command: &["cargo", "doc", "--workspace", "--no-deps", "--quiet"],
        environment: &[("RUSTDOCFLAGS", "-D warnings")],
    },
    Check {
        name: "dependencies",
        // Advisories are another check, which needs a connection each time.
        command: &[
            "cargo-deny",
            "--locked",
            "check",
            "-D",
            "warnings",
            "bans",
            "licenses",
            "sources",
        ],
        environment: &[],
    },
    Check {
        name: "types of the site",
        command: &["tsc", "--project", "tools/web/tsconfig.json"],
        environment: &[],
    },
    Check {
        name: "template, by SAM",
        command: &["sam", "validate", "--lint", "--template", "template.yaml"],
        // It wants a Region, but makes no requests.
        environment: &[("AWS_DEFAULT_REGION", "us-east-1"), ("SAM_CLI_TELEMETRY", "0")],
    },
    Check {
        name: "template, by CloudFormation's linter",
        command: &["cfn-lint", "template.yaml"],
        environment: &[],
    },
    Check {
        name: "template, by Checkov",
        command: &["checkov", "--config-file", ".checkov.yaml"],
        environment: &[],
    },
    Check {
        name: "programs and tests",
        // Some tests run the functions' own executables, which `cargo test` alone doesn't build.
        command: &["cargo", "build", "--workspace", "--all-targets", "--profile", "test"],
        environment: &[],
    },
    Check {
        name: "tests",
        command: &["cargo", "test", "--workspace"],
        // A check writes no snapshot and skips nothing that is missing.
        environment: &[("INSTA_UPDATE", "no"), ("COURSEGATE_TEST_ALL", "1")],
    },
];

const ADVISORIES: Check = Check {
    name: "advisories",
    command: &["cargo-deny", "--locked", "check", "-D", "warnings", "advisories"],
    environment: &[],
};

/// Runs every check and stops at the first failure.
pub(crate) fn run() -> Result<(), Box<dyn std::error::Error>> {
    tools_are_there()?;
    let begun = Instant::now();
    // Installing waits for the network, and for what is compiled on one core at a time.
    let mut installation = Some(std::thread::spawn(tools::install));
    for check in &CHECKS {
        if check.needs_tools()
            && let Some(installation) = installation.take()
        {
            installation.join().map_err(|_panic| "the tools can't be installed")??;
        }
        check.run()?;
    }
    println!("\nEverything passed in {} s.", begun.elapsed().as_secs());
    Ok(())
}

/// How many tests of one program run at once.
const TEST_THREADS: &str = "RUST_TEST_THREADS";

/// Twice as many as there are cores, unless the variable is set: most tests wait for a browser, for
/// moto or for a pause to end.
fn test_threads() -> OsString {
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let usual = || cores.saturating_mul(2).to_string().into();
    std::env::var_os(TEST_THREADS).unwrap_or_else(usual)
}

/// Checks the dependencies for advisories.
pub(crate) fn advisories() -> Result<(), Box<dyn std::error::Error>> {
    tools::install_crate(tools::DENY)?;
    ADVISORIES.run().map_err(|error| {
        format!(
            "{error}\nWhere there is no connection to github.com, nothing has been asked: run it \
             again where there is one."
        )
        .into()
    })
}

impl Check {
    fn needs_tools(&self) -> bool {
        self.command.first() != Some(&"cargo")
    }

    fn run(&self) -> Result<(), Box<dyn std::error::Error>> {
        println!("\n== {}: {}", self.name, self.command.join(" "));
        let started = Instant::now();
        let (program, arguments) = self.command.split_first().ok_or("a check without a command")?;
        let found = tools::find(program).unwrap_or_else(|| program.into());
        let status = Command::new(found)
            .current_dir(tools::root())
            .args(arguments)
            .env(TEST_THREADS, test_threads())
            .envs(self.environment.iter().copied())
            .status()
            .map_err(|error| format!("{program} can't be started: {error}"))?;
        if !status.success() {
            return Err(format!("\n{} failed: {}", self.name, self.command.join(" ")).into());
        }
        println!("== {} passed in {} s", self.name, started.elapsed().as_secs());
        Ok(())
    }
}

/// The tests run the guides' own commands. Whatever they need besides Rust is checked for here, so
/// that nothing is installed on the machine without asking.
fn tools_are_there() -> Result<(), String> {
    println!(
        "This needs Rust with rustfmt and clippy, bash, curl, openssl, a C compiler, Python 3.10 or \
         newer with venv, Node.js 20 or newer with npm, and Chromium with its driver."
    );
    for (tool, remedy) in [
        ("rustfmt", "run `rustup component add rustfmt`"),
        ("cargo-clippy", "run `rustup component add clippy`"),
        ("bash", "install bash"),
        ("curl", "install curl"),
        ("openssl", "install openssl"),
        ("npm", "install Node.js with npm (nodejs and npm on Debian)"),
        (
            "chromedriver",
            "install Chromium with its driver (chromium and chromium-driver on Debian)",
        ),
    ] {
        // Before version 3, openssl only knew the command.
        let argument = if tool == "openssl" { "version" } else { "--version" };
        let found = Command::new(tool).arg(argument).output();
        if !found.is_ok_and(|output| output.status.success()) {
            return Err(format!("{tool} is missing: {remedy}, then run `cargo xtask test` again"));
        }
    }
    Ok(())
}
