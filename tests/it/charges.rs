//! AWS's charges for a purchase, for an idle month, and for the site.
//!
//! `cargo test -p tests --test it aws_costs -- --nocapture` prints the sums.

use std::collections::BTreeSet;

use serde_json::json;
use tests::meter::Reading;
use tests::requests::{Who, learner};
use tests::world::{root, template_yaml};

use crate::costs::Shop;
use crate::log_hygiene::{lines, listen};
use crate::site;

/// AWS's prices in us-east-1, in millionths of a dollar for a million of each, without free tiers:
/// <https://aws.amazon.com/dynamodb/pricing/on-demand/>, <https://aws.amazon.com/lambda/pricing/>,
/// <https://aws.amazon.com/api-gateway/pricing/>, <https://aws.amazon.com/secrets-manager/pricing/>,
/// <https://aws.amazon.com/cloudwatch/pricing/>, <https://aws.amazon.com/xray/pricing/>,
/// <https://aws.amazon.com/cloudfront/pricing/>, <https://aws.amazon.com/s3/pricing/>.
mod price {
    pub(super) const READ_UNIT: u64 = 125_000;
    pub(super) const WRITE_UNIT: u64 = 625_000;
    pub(super) const INVOCATION: u64 = 200_000;
    /// A GB for a millisecond, on arm64.
    pub(super) const GB_MILLISECOND: u64 = 13_333;
    pub(super) const API_REQUEST: u64 = 1_000_000;
    pub(super) const SECRET_READ: u64 = 5_000_000;
    pub(super) const LOG_BYTE: u64 = 500;
    pub(super) const TRACE: u64 = 5_000_000;
    pub(super) const EDGE_REQUEST: u64 = 1_000_000;
    pub(super) const EDGE_FUNCTION: u64 = 100_000;
    pub(super) const EDGE_BYTE: u64 = 85;
    pub(super) const OBJECT_READ: u64 = 400_000;
    pub(super) const OBJECT_BYTE: u64 = 90;

    // In millionths of a dollar, each per month.
    pub(super) const SECRET_KEPT: u64 = 400_000;
    pub(super) const METRIC_WATCHED: u64 = 100_000;
    pub(super) const DASHBOARD: u64 = 3_000_000;
    pub(super) const METRIC_SENT: u64 = 300_000;
}

/// What can't be measured here is overestimated.
mod assumed {
    /// The log volume that Lambda adds per invocation, and API Gateway per request.
    pub(super) const LOG_BYTES_OF_AWS: u64 = 1_000;
    /// A function reads its secret every five minutes. These assume no other purchase in that time:
    /// the key for the checkout, the signing secret's two versions for the event.
    pub(super) const SECRET_READS: u64 = 3;
    /// The learner's page loads: first, after sign-in, after Stripe, and once more.
    pub(super) const VISITS: u64 = 4;
    /// An unchanged file's response has only headers.
    pub(super) const HEADER_BYTES: u64 = 500;
    pub(super) const CHAPTERS_READ: u64 = 10;
    /// A long one, which S3 does not compress.
    pub(super) const CHAPTER_BYTES: u64 = 50_000;
}

/// The requests to each function.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// It waits for the table at most once.
    Reading,
    /// It waits for Stripe twice, and for the table.
    Checkout,
    /// It waits for Stripe once, and for the table.
    Confirm,
    /// It waits for the table twice.
    Event,
    /// It waits for the table three times.
    Tool,
}

impl Asked {
    /// The assumed duration that Lambda charges for; an overestimate.
    const fn milliseconds(self) -> u64 {
        match self {
            Self::Reading => 20,
            Self::Tool => 60,
            Self::Checkout => 2_000,
            Self::Confirm => 1_000,
            Self::Event => 50,
        }
    }

    const fn function(self) -> &'static str {
        match self {
            Self::Reading => "entitlements",
            Self::Tool => "tutor",
            Self::Checkout | Self::Confirm => "checkout",
            Self::Event => "webhook",
        }
    }
}

/// Billed usage.
#[derive(Default)]
struct Used {
    table: Reading,
    invocations: u64,
    api_requests: u64,
    milliseconds: u64,
    log_bytes: u64,
    /// By function and name, as CloudWatch stores them.
    metrics: BTreeSet<(&'static str, String)>,
}

impl Used {
    /// Does this, and records its usage.
    async fn by<T>(&mut self, shop: &Shop, asked: Asked, doing: impl Future<Output = T>) -> T {
        listen();
        let done = doing.await;
        self.log_bytes += assumed::LOG_BYTES_OF_AWS;
        for line in lines() {
            self.log_bytes += u64::try_from(line.to_string().len() + 1).unwrap();
            if let Some(metric) =
                line["_aws"]["CloudWatchMetrics"][0]["Metrics"][0]["Name"].as_str()
            {
                self.metrics.insert((asked.function(), metric.to_owned()));
            }
        }
        self.table += &shop.meter.take();
        self.invocations += 1;
        self.api_requests += u64::from(asked != Asked::Event);
        self.milliseconds += asked.milliseconds();
        done
    }

    /// The lines of the bill: item, quantity, and the price of a million.
    fn bill(&self) -> [(&'static str, u64, u64); 8] {
        let functions = tests::world::template().functions;
        let memory_mb = u64::from(functions.iter().map(|it| it.memory_mb).max().unwrap());
        let gb_milliseconds = self.milliseconds * memory_mb / 1_024;
        [
            ("DynamoDB, read units", self.table.read_units, price::READ_UNIT),
            ("DynamoDB, write units", self.table.write_units, price::WRITE_UNIT),
            ("Lambda, invocations", self.invocations, price::INVOCATION),
            ("Lambda, GB milliseconds", gb_milliseconds, price::GB_MILLISECOND),
            ("API Gateway, requests", self.api_requests, price::API_REQUEST),
            ("Secrets Manager, reads", assumed::SECRET_READS, price::SECRET_READ),
            ("CloudWatch, bytes logged", self.log_bytes, price::LOG_BYTE),
            ("X-Ray, traces", self.invocations, price::TRACE),
        ]
    }
}

/// A learner looks around, requests ten chapters, buys, and opens their purchases.
async fn a_typical_purchase(shop: &Shop) -> Used {
    let mut used = Used::default();
    let ada = learner("ada");
    let courses = shop.read("GET /courses", "/courses", &Who::Anyone);
    used.by(shop, Asked::Reading, courses).await;
    for _ in 0..10 {
        used.by(shop, Asked::Reading, shop.access(&ada)).await;
    }
    let checkout = shop.checkout(&ada, "tutorclaw_paid", 201);
    let session = used.by(shop, Asked::Checkout, checkout).await;
    shop.world.pay(&session).await;
    let paid = shop.event("checkout.session.completed", &session).await;
    Box::pin(used.by(shop, Asked::Event, shop.deliver(&paid, "applied"))).await;
    used.by(shop, Asked::Confirm, shop.confirm(&ada, &session)).await;
    for _ in 0..2 {
        let entitlements = shop.read("GET /entitlements", "/entitlements", &ada);
        used.by(shop, Asked::Reading, entitlements).await;
    }
    used
}

fn dollars(millionths: u64) -> String {
    format!("${}.{:04}", millionths / 1_000_000, millionths % 1_000_000 / 100)
}

/// Prints a bill, and returns its sum in millionths of a dollar.
#[expect(clippy::print_stdout, reason = "this is what the test is run for by hand")]
fn print(title: &str, bill: &[(&str, u64, u64)]) -> u64 {
    println!("\n{title}, in us-east-1:");
    for (what, quantity, charge) in bill {
        println!("{what:32}{quantity:>11}  {}", dollars(*charge));
    }
    let sum = bill.iter().map(|(_, _, charge)| charge).sum();
    println!("{:45}{}\n", "together", dollars(sum));
    sum
}

/// The usage and charges of a thousand purchases.
fn for_a_thousand<const LINES: usize>(
    bill: [(&'static str, u64, u64); LINES],
) -> [(&'static str, u64, u64); LINES] {
    bill.map(|(what, each, per_million)| {
        let thousand = each * 1_000;
        (what, thousand, thousand * per_million / 1_000_000)
    })
}

#[tokio::test]
async fn aws_costs_under_25_cents_per_thousand_purchases() {
    let used = Box::pin(a_typical_purchase(&Shop::open().await)).await;
    let bill = for_a_thousand(used.bill());
    let sum = print("For 1,000 purchases", &bill);
    assert!((1..250_000).contains(&sum), "{}", dollars(sum));
}

#[tokio::test]
async fn a_tutor_costs_under_5_cents_per_thousand_calls() {
    let shop = Shop::open().await;
    let chapter = json!({ "course": "tutorclaw", "chapter": 6 });
    let ada = learner("ada");
    // The first call of a window writes more than the others.
    shop.world.call(&ada, "check_access", &chapter).await;
    let _ = shop.meter.take();
    let mut used = Used::default();
    let call = shop.world.call(&ada, "check_access", &chapter);
    used.by(&shop, Asked::Tool, call).await;
    let bill = for_a_thousand(used.bill());
    let sum = print("For 1,000 calls of a tutor's tools", &bill);
    assert!((1..50_000).contains(&sum), "{}", dollars(sum));
}

/// The site's requests in all visits of one learner: each file each time, since `CloudFront` and the
/// browser revalidate it; and the API, which is behind `CloudFront` too.
fn a_learner_s_visits(api_requests: u64) -> [(&'static str, u64, u64); 5] {
    let page = std::fs::read_to_string(root().join("web/index.html")).unwrap();
    let names = page.split(['"', '\'']).filter(|text| text.starts_with('/') && text.contains('.'));
    // The page itself, and the files that it names.
    let files = u64::try_from(names.count()).unwrap() + 1;
    assert!(files > 30, "{files} files");
    let requests = files * assumed::VISITS;
    let bytes = u64::try_from(site::BYTES_MAX).unwrap() + requests * assumed::HEADER_BYTES;
    let chapter_bytes = assumed::CHAPTERS_READ * assumed::CHAPTER_BYTES;
    [
        ("CloudFront, requests", requests + api_requests, price::EDGE_REQUEST),
        ("CloudFront, functions", requests, price::EDGE_FUNCTION),
        ("CloudFront, bytes", bytes, price::EDGE_BYTE),
        ("S3, reads", requests + assumed::CHAPTERS_READ, price::OBJECT_READ),
        ("S3, bytes of chapters", chapter_bytes, price::OBJECT_BYTE),
    ]
}

#[tokio::test]
async fn the_site_costs_under_50_cents_per_thousand_purchases() {
    let used = Box::pin(a_typical_purchase(&Shop::open().await)).await;
    let bill = for_a_thousand(a_learner_s_visits(used.api_requests));
    let sum = print("For the site, for 1,000 purchases", &bill);
    assert!((1..500_000).contains(&sum), "{}", dollars(sum));
}

/// The number of metrics in the template's alarms; each is charged for.
fn metrics_watched(resources: &[&serde_norway::Value]) -> usize {
    let alarms = resources.iter().filter(|it| it["Type"] == "AWS::CloudWatch::Alarm");
    let watched = alarms.map(|alarm| match alarm["Properties"]["Metrics"].as_sequence() {
        Some(metrics) => metrics.iter().filter(|it| it.get("MetricStat").is_some()).count(),
        None => 1,
    });
    watched.sum()
}

#[tokio::test]
async fn aws_costs_under_3_dollars_a_month_beyond_the_free_tier() {
    let template = template_yaml();
    let resources: Vec<_> = template["Resources"].as_mapping().unwrap().values().collect();
    let count = |kind: &str| resources.iter().filter(|it| it["Type"] == kind).count();
    let sent = Box::pin(a_typical_purchase(&Shop::open().await)).await.metrics.len();
    assert_ne!(sent, 0);
    // Item, quantity, how many are free in each account, and the price of the others. A metric is
    // charged only for the hours in which it is sent.
    let month = [
        ("Secrets Manager, secrets", count("AWS::SecretsManager::Secret"), 0, price::SECRET_KEPT),
        ("CloudWatch, metrics watched", metrics_watched(&resources), 10, price::METRIC_WATCHED),
        ("CloudWatch, metrics sent", sent, 10, price::METRIC_SENT),
        ("CloudWatch, dashboards", count("AWS::CloudWatch::Dashboard"), 3, price::DASHBOARD),
    ];
    let charged = month.map(|(what, quantity, _, price)| {
        let quantity = u64::try_from(quantity).unwrap();
        (what, quantity, quantity * price)
    });
    print("For a month", &charged);
    let charged = month.map(|(what, quantity, free, price)| {
        let quantity = u64::try_from(quantity.saturating_sub(free)).unwrap();
        (what, quantity, quantity * price)
    });
    let sum = print("For a month, beyond what is free in an account", &charged);
    assert!((1..3_000_000).contains(&sum), "{}", dollars(sum));
}
