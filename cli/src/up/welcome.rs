//! What the developer sees of the local stack.

use std::path::Path;

use local::addresses::{Addresses, Step};
use local::observer::Served;
use serde_json::json;

use crate::terminal::{BOLD, DIM, GREEN, RED, Terminal, YELLOW, print};

impl Terminal {
    /// Where everything is, and what to try.
    pub(super) fn welcome(
        self,
        addresses: &Addresses,
        state: &str,
        logs: &str,
        seconds: &str,
        steps: &[Step],
    ) {
        print(&format!("\n{} {seconds}\n", self.paint(BOLD, "Coursegate is ready in")));
        let more = [("State", state.to_owned()), ("Logs", logs.to_owned())];
        for (name, value) in addresses.named().into_iter().chain(more) {
            print(&format!("  {} {value}", self.paint(DIM, &format!("{name:<17}"))));
        }
        print(&format!("\n{}", self.paint(BOLD, "Try this in another terminal:")));
        for step in steps {
            print(&format!("\n  {}\n  {}", self.paint(DIM, &step.says), step.command));
        }
    }

    /// How an MCP client starts `coursegate mcp`.
    pub(super) fn mcp_client(self, program: &Path, addresses: &Addresses) {
        let port = addresses.gateway.rsplit(':').next().unwrap_or_default();
        let program = json!(program);
        let arguments = format!(r#"["mcp", "--learner", "x-1", "--gateway-port", "{port}"]"#);
        print(&format!("\n{}", self.paint(BOLD, "Give an MCP client the tutor's tools:")));
        let says = "Add this to its configuration. docs/TUTOR.md says more.";
        print(&format!("\n  {}", self.paint(DIM, says)));
        print(&format!(
            r#"  {{"mcpServers": {{"coursegate": {{"command": {program}, "args": {arguments}}}}}}}"#
        ));
    }

    /// A reminder that the simulator still holds its events back, since an earlier run.
    pub(super) fn held(self, count: usize, addresses: &Addresses) {
        let what = format!(
            "Stripe's events have been held back since an earlier run, {count} so far. Release \
             them:"
        );
        let stripe = &addresses.stripe;
        print(&self.paint(YELLOW, &what));
        print(&format!("  curl -X POST {stripe}/_sim/deliveries/release\n"));
    }

    /// `POST /api/checkout 201 12 ms checkout`
    pub(super) fn served(self, served: &Served) {
        let Served { method, path, status, duration, function, note } = served;
        let colour = match status {
            500.. => RED,
            400.. => YELLOW,
            _ => GREEN,
        };
        let status = self.paint(colour, &status.to_string());
        let function = function.as_deref().unwrap_or("gateway");
        let note =
            note.as_deref().map_or(String::new(), |note| format!(" {}", self.paint(DIM, note)));
        print(&format!("{method} {path} {status} {} ms {function}{note}", duration.as_millis()));
    }
}
