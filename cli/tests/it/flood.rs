//! Somebody floods the webhook with forged deliveries, in an account with AWS's limits.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use reqwest::Client;
use tokio::task::JoinSet;

use crate::running::up;
use crate::shop::{Learner, Shop};

/// How many forged deliveries are on their way at any time.
const AT_ONCE: usize = 40;
/// Fewer than the API lets through at once.
const CHECKS: usize = 80;

/// Forges deliveries until it is stopped.
struct Flood {
    is_over: Arc<AtomicBool>,
    workers: JoinSet<Vec<u16>>,
}

impl Flood {
    fn begin(client: &Client, shop: &Shop) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let url = shop.running.addresses["webhook"].as_str().unwrap().to_owned();
        let mut workers = JoinSet::new();
        for _ in 0..AT_ONCE {
            let (client, url, is_over) = (client.clone(), url.clone(), Arc::clone(&is_over));
            workers.spawn(async move {
                let mut statuses = Vec::new();
                while !is_over.load(Ordering::Relaxed) {
                    let forged = client.post(&url).header("content-type", "application/json");
                    let forged = forged.header("stripe-signature", "t=1,v1=00").body("{}");
                    statuses.push(forged.send().await.unwrap().status().as_u16());
                }
                statuses
            });
        }
        Self { is_over, workers }
    }

    /// The statuses with which deliveries were answered.
    async fn end(self) -> BTreeSet<u16> {
        self.is_over.store(true, Ordering::Relaxed);
        self.workers.join_all().await.into_iter().flatten().collect()
    }
}

async fn statuses_of_checks(client: &Client, shop: &Shop, learner: &Learner) -> Vec<u16> {
    let url = shop.running.url("/api/courses/tutorclaw/access?chapter=6");
    let mut statuses = Vec::new();
    for _ in 0..CHECKS {
        let answer = client.get(&url).bearer_auth(&learner.token).send().await.unwrap();
        statuses.push(answer.status().as_u16());
    }
    statuses
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn access_is_checked_and_sold_while_the_webhook_is_flooded() {
    for (parameter, quota) in [("WebhookConcurrency=2", "10"), ("WebhookEntrance=api", "30")] {
        let mut running = up(&["--ephemeral", "--concurrency", quota, "--parameter", parameter]);
        running.discard_output();
        let shop = Shop { running };
        let client = Client::builder().no_proxy().build().unwrap();
        let ada = shop.sign_in("ada@example.com");
        let flood = Flood::begin(&client, &shop);
        let checks = statuses_of_checks(&client, &shop, &ada).await;
        let session = shop.check_out(&ada, "tutorclaw_paid");
        let paid = shop.pay(session);
        assert_eq!(shop.confirm(&ada, &paid.session)["access"], "granted", "{parameter}");
        let deliveries = flood.end().await;

        assert_eq!(checks, [200; CHECKS], "{parameter}");
        // Some were refused by the function, and all others before they reached it.
        assert_eq!(deliveries, [400, 429].into(), "{parameter}");
        // Stripe's own delivery was among them, and is repeated until it is taken.
        shop.wait_for_deliveries();
        assert_eq!(shop.status(&ada, &paid.payment).as_deref(), Some("active"));
    }
}
