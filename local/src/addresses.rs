//! The addresses of a running stack, and commands to try with them.

use serde::{Deserialize, Serialize};

/// The stack's addresses, as URLs without a path, except the webhook's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Addresses {
    /// The site, the API under `/api`, and sign-in under `/local`.
    pub gateway: String,
    /// Where Stripe delivers events.
    pub webhook: String,
    /// Lambda's API.
    pub lambda: String,
    /// DynamoDB's API.
    pub dynamodb: String,
    /// The Stripe simulator.
    pub stripe: String,
    /// Secrets Manager's API.
    pub secrets_manager: String,
    /// S3, which has the chapters.
    pub content: String,
}

/// Which Stripe the stack uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stripe {
    /// This stack's simulator.
    Simulator,
    /// The developer's own account, whose events arrive through the Stripe CLI.
    Account {
        /// The handled event types, separated by commas.
        event_types: String,
    },
}

/// The catalog entries to try a purchase with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Demo {
    /// A course.
    pub course: String,
    /// Its first locked chapter.
    pub chapter: usize,
    /// The lookup key of a price for it.
    pub price: String,
}

/// A command to try in a shell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What it shows.
    pub says: String,
    /// The command.
    pub command: String,
}

impl Addresses {
    /// Each service's name and address.
    #[must_use]
    pub fn named(&self) -> [(&'static str, String); 9] {
        [
            ("Site", self.gateway.clone()),
            ("API", format!("{}/api", self.gateway)),
            ("MCP", format!("{}/api/mcp", self.gateway)),
            ("Webhook", self.webhook.clone()),
            ("Stripe", self.stripe.clone()),
            ("Lambda", self.lambda.clone()),
            ("DynamoDB", self.dynamodb.clone()),
            ("Secrets Manager", self.secrets_manager.clone()),
            ("S3", self.content.clone()),
        ]
    }

    /// A first purchase, command by command; without anything for sale, what else there is to see.
    #[must_use]
    pub fn try_this(&self, demo: Option<&Demo>, stripe: &Stripe) -> Vec<Step> {
        let Addresses { gateway, .. } = self;
        let mut steps = vec![
            step(
                "Sign in, and keep the token in the shell.",
                format!(
                    "token=$(curl -sS -H 'accept: text/plain' {gateway}/local/login \
                     -d '{{\"email\":\"grace@example.com\"}}')"
                ),
            ),
            step("List what is for sale.", format!("curl -sS {gateway}/api/courses; echo")),
        ];
        steps.extend(demo.into_iter().flat_map(|demo| self.buy(demo, stripe)));
        if let Stripe::Account { event_types } = stripe {
            steps.insert(0, self.listen(event_types));
        }
        steps
    }

    fn listen(&self, event_types: &str) -> Step {
        let address = self.webhook.trim_start_matches("http://");
        step(
            "Forward the events here with the Stripe CLI and the same STRIPE_API_KEY, in another \
             terminal.",
            format!("stripe listen --forward-to {address} --events {event_types}"),
        )
    }

    fn buy(&self, demo: &Demo, stripe: &Stripe) -> Vec<Step> {
        let Addresses { gateway, .. } = self;
        let Demo { course, chapter, price } = demo;
        let learner = "-H \"authorization: Bearer $token\"";
        let access = format!(
            "curl -sS {learner} '{gateway}/api/courses/{course}/access?chapter={chapter}'; echo"
        );
        let mut steps = vec![
            step(
                &format!("Chapter {chapter} is locked: access is denied, with an offer."),
                access.clone(),
            ),
            step(
                "Start a checkout. Open the URL in the response in a browser, and pay with \
                 4242 4242 4242 4242.",
                format!(
                    "checkout=$(curl -sS {learner} {gateway}/api/checkout \
                     -d '{{\"price\":\"{price}\"}}'); echo $checkout"
                ),
            ),
        ];
        if *stripe == Stripe::Simulator {
            steps.push(self.pay_without_a_browser());
        }
        steps.push(step(
            &format!("A moment later the webhook's event has opened chapter {chapter}."),
            format!("sleep 1; {access}"),
        ));
        steps
    }

    fn pay_without_a_browser(&self) -> Step {
        let stripe = &self.stripe;
        step(
            "Or pay without a browser.",
            format!(
                "session=$(echo $checkout | sed 's/.*\"session_id\":\"\\([^\"]*\\).*/\\1/'); \
                 curl -sS {stripe}/_sim/checkout/sessions/$session/pay \
                 -d '{{\"card\":\"4242424242424242\"}}' | grep -E 'payment_status|message'"
            ),
        )
    }
}

fn step(says: &str, command: String) -> Step {
    Step { says: says.to_owned(), command }
}
