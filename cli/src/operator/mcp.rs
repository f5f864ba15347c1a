//! `coursegate mcp`.

use std::io::{BufRead as _, Write as _};

use coursegate::mcp::Bridge;
use coursegate::mcp::token::{TOKEN, Tokens};
use secrecy::SecretString;
use shared::config::process_environment;

use super::{Ended, find, run, say};
use crate::arguments::PlaceArguments;

/// Answers each line of standard input, until it ends. Nothing else is written to standard output.
pub(crate) fn mcp(place: PlaceArguments) -> Ended {
    run(async {
        let deployment = find(place).await?;
        let given = process_environment(TOKEN).filter(|token| !token.is_empty());
        let tokens = Tokens::of(&deployment, given.map(SecretString::from)).await.map_err(say)?;
        let url = format!("{}/mcp", deployment.api_url);
        let mut bridge = Bridge::new(url, tokens).map_err(say)?;
        let mut output = std::io::stdout().lock();
        for line in std::io::stdin().lock().lines() {
            let line = line.map_err(say)?;
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
