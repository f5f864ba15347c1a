//! Where the pieces of a running stack are, and what to try with them.

use serde::Serialize;

/// The stack's addresses, as URLs without a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Addresses {
    /// The site, the API under `/api`, sign-in under `/local`, and the webhook.
    pub gateway: String,
    /// Lambda's Invoke API.
    pub lambda: String,
    /// DynamoDB.
    pub dynamodb: String,
    /// Stripe.
    pub stripe: String,
    /// Secrets Manager.
    pub secrets_manager: String,
}

/// One thing to try in a shell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What it shows.
    pub says: &'static str,
    /// The command.
    pub command: String,
}

impl Addresses {
    /// Each piece's name and address.
    #[must_use]
    pub fn named(&self) -> [(&'static str, String); 7] {
        [
            ("Site and sign-in", self.gateway.clone()),
            ("API", format!("{}/api", self.gateway)),
            ("Webhook", format!("{}/webhook", self.gateway)),
            ("Stripe", self.stripe.clone()),
            ("Lambda", self.lambda.clone()),
            ("DynamoDB", self.dynamodb.clone()),
            ("Secrets Manager", self.secrets_manager.clone()),
        ]
    }

    /// The first purchase, line by line. The demo catalog sells what it names.
    #[must_use]
    pub fn try_this(&self) -> Vec<Step> {
        let Addresses { gateway, stripe, .. } = self;
        let learner = "-H \"authorization: Bearer $token\"";
        let access =
            format!("curl {learner} '{gateway}/api/courses/tutorclaw/access?chapter=6'; echo");
        let step = |says, command: String| Step { says, command };
        vec![
            step(
                "Sign in; the shell keeps the token.",
                format!(
                    "token=$(curl -s -H 'accept: text/plain' {gateway}/local/login \
                     -d '{{\"email\":\"ada@example.com\"}}')"
                ),
            ),
            step("What is there to buy?", format!("curl {gateway}/api/courses; echo")),
            step("Chapter six is not free: denied, with an offer.", access.clone()),
            step(
                "Take the offer; the answer has the checkout page's address, to open in a browser.",
                format!(
                    "checkout=$(curl -s {learner} {gateway}/api/checkout \
                     -H 'content-type: application/json' -d '{{\"price\":\"tutorclaw_paid\"}}'); \
                     echo $checkout"
                ),
            ),
            step(
                "Or pay without a browser.",
                format!(
                    "session=$(echo $checkout | sed 's/.*\"session_id\":\"\\([^\"]*\\).*/\\1/'); \
                     curl -s {stripe}/_sim/checkout/sessions/$session/pay \
                     -d '{{\"card\":\"4242424242424242\"}}' | grep -E 'payment_status|message'"
                ),
            ),
            step(
                "A moment later the signed event has opened chapter six.",
                format!("sleep 1; {access}"),
            ),
        ]
    }
}
