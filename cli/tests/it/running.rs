//! A `coursegate up` to test.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;

/// A stack that is ready. It is killed when the test ends before it has stopped.
pub(crate) struct Running {
    pub(crate) child: Child,
    pub(crate) addresses: Value,
    /// What it said until it was ready.
    pub(crate) said: String,
    /// None if it is thrown away.
    stdout: Option<BufReader<ChildStdout>>,
}

/// How a stack ended that was not meant to run.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stderr: String,
}

pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_coursegate"));
    command.args(arguments).current_dir(project()).stdin(Stdio::null());
    command.env_remove("STRIPE_API_KEY").env_remove("STRIPE_WEBHOOK_SECRET");
    command.env_remove("RUST_LOG").stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

pub(crate) fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Starts a stack and waits for its `ready` line.
pub(crate) fn up(arguments: &[&str]) -> Running {
    start(command(arguments))
}

/// The same for a command of one's own.
pub(crate) fn start(mut command: Command) -> Running {
    let mut child = command.stderr(Stdio::inherit()).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut running = Running { child, addresses: Value::Null, said: String::new(), stdout: None };
    loop {
        let mut line = String::new();
        let read = stdout.read_line(&mut line).unwrap();
        assert_ne!(read, 0, "it ended before it was ready: {}", running.said);
        if let Some(addresses) = line.strip_prefix("ready ") {
            running.addresses = serde_json::from_str(addresses).unwrap();
            running.stdout = Some(stdout);
            return running;
        }
        running.said.push_str(&line);
    }
}

/// Runs a command that is expected to end by itself.
pub(crate) fn end(mut command: Command) -> Ended {
    let output = command.output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    Ended { code: output.status.code(), stderr }
}

impl Running {
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.addresses["gateway"].as_str().unwrap())
    }

    /// Throws away what it says from now on. It says a line for each request, and stops when nobody
    /// reads so many.
    pub(crate) fn discard_output(&mut self) {
        let mut stdout = self.stdout.take().unwrap();
        std::thread::spawn(move || std::io::copy(&mut stdout, &mut std::io::sink()));
    }

    /// Sends a signal and gives the exit code, and what it said since it was ready.
    pub(crate) fn stop(mut self, signal: &str) -> (Option<i32>, String) {
        let kill = format!("kill {signal} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
        let mut said = String::new();
        if let Some(stdout) = &mut self.stdout {
            stdout.read_to_string(&mut said).unwrap();
        }
        (self.child.wait().unwrap().code(), said)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until a process is gone.
pub(crate) fn wait_until_gone(process: u64) {
    for _ in 0..500 {
        if !runs(process) {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    panic!("process {process} still runs");
}

fn runs(process: u64) -> bool {
    if !Path::new("/proc/self/stat").exists() {
        let probe = format!("kill -0 {process} 2>&1");
        return Command::new("sh").args(["-c", &probe]).output().unwrap().status.success();
    }
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{process}/stat")) else { return false };
    // After its name in parentheses comes its state. Z is one that only waits to be collected.
    stat.rsplit(") ").next().is_some_and(|rest| !rest.starts_with('Z'))
}

/// A folder of its own, removed at the end.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new() -> Folder {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("coursegate-cli-test-{}-{count}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        Folder(folder)
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
