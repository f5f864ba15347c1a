//! One instance: a process with exactly the environment that Lambda would give it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;
use tokio::sync::oneshot;

use super::{Options, Program, Programs, credentials};
use crate::template::Function;

/// The developer's variables that functions inherit. Nothing else is passed on, above all no AWS
/// credentials.
const PASSED_ON: &[&str] = &["RUST_LOG", "RUST_BACKTRACE"];

/// The process to start.
pub(super) struct Instance<'a> {
    pub(super) options: &'a Options,
    pub(super) function: &'a Function,
    pub(super) runtime_api: String,
    pub(super) id: &'a str,
}

pub(super) fn log_file(options: &Options, function: &Function) -> PathBuf {
    options.logs.join(format!("{}.log", function.binary))
}

/// The last line of a log, or a placeholder.
pub(super) fn last_line(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let line = text.lines().rev().map(str::trim).find(|line| !line.is_empty());
    line.map_or_else(|| "it logged nothing".to_owned(), |line| line.chars().take(400).collect())
}

/// Runs the process until it ends or is killed, and returns how it ended.
pub(super) async fn run(
    instance: Instance<'_>,
    killed: oneshot::Receiver<()>,
    started: impl FnOnce(Option<u32>),
) -> String {
    let name = &instance.function.binary;
    let Some(program) = program(&instance.options.programs, name) else {
        return format!("Programs::Each has no program for {name}");
    };
    let mut command = match command(&instance, &program) {
        Ok(command) => command,
        Err(error) => return format!("can't write its log: {error}"),
    };
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => return format!("can't run it: {error}"),
    };
    started(child.id());
    // The child reads from this pipe and ends when it closes, even if this process is killed.
    let lifeline = child.stdin.take();
    let end = tokio::select! {
        end = child.wait() => end,
        _ = killed => {
            // If it can't be killed, it has ended already.
            let _ = child.start_kill();
            child.wait().await
        }
    };
    drop(lifeline);
    match end {
        Ok(status) => status.to_string(),
        Err(error) => error.to_string(),
    }
}

/// The program that runs this function, with all of its arguments.
fn program(programs: &Programs, function: &str) -> Option<Program> {
    match programs {
        Programs::One(program) => {
            let mut program = program.clone();
            program.arguments.push(function.to_owned());
            Some(program)
        }
        Programs::Each(programs) => programs.get(function).cloned(),
    }
}

fn command(instance: &Instance<'_>, program: &Program) -> std::io::Result<Command> {
    let Instance { options, function, runtime_api, id } = instance;
    let log = log_file(options, function);
    let log = File::options().create(true).append(true).open(log)?;
    let name = function.binary.as_str();
    let mut command = Command::new(&program.file);
    command
        .args(&program.arguments)
        .env_clear()
        .envs(PASSED_ON.iter().filter_map(|name| Some((name, std::env::var_os(name)?))))
        .envs(&function.variables)
        .env("AWS_LAMBDA_RUNTIME_API", runtime_api)
        .env("AWS_LAMBDA_FUNCTION_NAME", name)
        .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
        .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", function.memory_mb.to_string())
        .env("AWS_LAMBDA_LOG_GROUP_NAME", format!("/aws/lambda/{name}"))
        .env("AWS_LAMBDA_LOG_STREAM_NAME", id)
        .env("AWS_LAMBDA_LOG_FORMAT", "JSON")
        .env("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand")
        .env("AWS_REGION", credentials::REGION)
        .env("AWS_DEFAULT_REGION", credentials::REGION)
        .env("AWS_ACCESS_KEY_ID", credentials::ACCESS_KEY_ID)
        .env("AWS_SECRET_ACCESS_KEY", credentials::SECRET_ACCESS_KEY)
        .env("AWS_SESSION_TOKEN", credentials::SESSION_TOKEN)
        .env("TZ", ":UTC")
        .stdin(Stdio::piped())
        .stdout(log.try_clone()?)
        .stderr(log)
        .kill_on_drop(true);
    // Ctrl-C in a terminal signals the whole process group. The stack ends its functions itself, so
    // that an event in progress isn't cut off before the stack knows.
    #[cfg(unix)]
    command.process_group(0);
    Ok(command)
}
