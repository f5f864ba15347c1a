//! `sam build` and `sam local invoke`, as typed.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::Fault;
use super::expected::Answer;
use super::stack::Stack;

/// SAM's command, for this machine's architecture.
pub(crate) struct Sam {
    program: PathBuf,
    /// samconfig.toml's section for this architecture.
    config: &'static [&'static str],
}

impl Sam {
    pub(crate) fn find() -> Result<Sam, Fault> {
        let program = tools::find("sam")
            .ok_or("sam is missing: `cargo xtask tools` installs it in target/tools")?;
        let config: &[&str] = match std::env::consts::ARCH {
            "aarch64" => &[],
            "x86_64" => &["--config-env", "x86"],
            other => {
                return Err(format!("Lambda doesn't support {other}, only arm64 and x86_64").into());
            }
        };
        Ok(Sam { program, config })
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(words).args(self.config);
        command.current_dir(tools::root()).env("SAM_CLI_TELEMETRY", "0");
        // It passes the Region and the credentials that it finds on to the containers.
        command.env("AWS_REGION", "us-east-1").env("AWS_DEFAULT_REGION", "us-east-1");
        for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"] {
            command.env(name, "local");
        }
        // With them it asks AWS whose account they are of, for ten seconds where nothing answers.
        command.env("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:9").env("AWS_MAX_ATTEMPTS", "1");
        command
    }

    /// Builds every function into `.aws-sam`.
    pub(crate) fn build(&self) -> Result<(), Fault> {
        println!("== sam build {}", self.config.join(" "));
        if !self.command(&["build"]).status()?.success() {
            return Err("sam build failed: see above".into());
        }
        Ok(())
    }

    /// Invokes a function in a container.
    pub(crate) fn invoke(
        &self,
        function: &str,
        event: &Value,
        stack: &Stack,
    ) -> Result<Answer, Fault> {
        let variables = stack.variables_file()?;
        let mut child = self
            .command(&["local", "invoke"])
            .args([function, "--event", "-", "--env-vars"])
            .arg(variables)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(event.to_string().as_bytes())?;
        }
        let output = child.wait_with_output()?;
        let said = String::from_utf8_lossy(&output.stdout);
        answer(&said).ok_or_else(|| {
            let complaints = String::from_utf8_lossy(&output.stderr);
            format!("{function} returned nothing.\n{said}\n{complaints}").into()
        })
    }
}

/// A function's response in Lambda's format 2.0 for HTTP.
fn answer(said: &str) -> Option<Answer> {
    let mut said: Value = serde_json::from_str(said).ok()?;
    let mut take = |name: &str| said.get_mut(name).map(Value::take);
    let (status, headers, body) = (take("statusCode")?, take("headers")?, take("body")?);
    // No body is null in the snapshots.
    let body = body.as_str().filter(|text| !text.is_empty());
    let body =
        body.map(|text| serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.into())));
    Some(Answer { status, headers, body: body.unwrap_or_default() })
}
