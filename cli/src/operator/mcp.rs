//! `coursegate mcp`.

use std::io::{BufRead as _, Write as _};

use coursegate::mcp::Bridge;
use coursegate::mcp::token::{TOKEN, Tokens};
use secrecy::SecretString;
use shared::config::process_environment;
use shared::domain::id::LearnerId;

use super::{Ended, find, run, say};
use crate::arguments::PlaceArguments;

/// Answers each line of standard input, until it ends. Nothing else is written to standard output.
pub(crate) fn mcp(place: PlaceArguments, learner: Option<LearnerId>) -> Ended {
    run(async {
        let deployment = find(place).await?;
        let given = process_environment(TOKEN).map(|token| token.trim().to_owned());
        let given = given.filter(|token| !token.is_empty()).map(SecretString::from);
        if given.is_some() && learner.is_some() {
            return Err(format!(
                "--learner is for a service's own token: leave it out, or unset {TOKEN}"
            ));
        }
        let tokens = Tokens::of(&deployment, given).await.map_err(say)?;
        let url = format!("{}/mcp", deployment.api_url);
        let mut bridge = Bridge::new(url, tokens, learner).map_err(say)?;
        let mut output = std::io::stdout().lock();
        for line in std::io::stdin().lock().split(b'\n') {
            let line = String::from_utf8_lossy(&line.map_err(say)?).into_owned();
            if line.trim().is_empty() {
                continue;
            }
            if let Some(answer) = bridge.answer(&line).await {
                writeln!(output, "{answer}").and_then(|()| output.flush()).map_err(say)?;
            }
        }
        Ok(())
    })
}
