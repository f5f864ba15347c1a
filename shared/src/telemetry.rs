//! Logs in JSON lines, and metrics in CloudWatch's embedded metric format.
//!
//! Both are `tracing` events, so that a test can read everything that leaves the process. Field
//! names are dotted and the same everywhere: `stripe.event_id`, `stripe.event_type`,
//! `stripe.object_id`, `learner.id`, `outcome`.

use std::error::Error;
use std::fmt;
use std::io::Write;

use serde_json::json;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::{FilterFn, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::Registry;
use tracing_subscriber::util::SubscriberInitExt;

use crate::ports::{Clock, SystemClock};

const METRICS: &str = "metrics";

/// The metrics. `template.yaml` defines alarms and graphs for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    /// Facts were added.
    Applied,
    /// An event or its facts were already known.
    Duplicate,
    /// A rule says that an event changes nothing.
    Ignored,
    /// An event couldn't be read and is kept.
    Quarantined,
    /// An event or a Stripe API key belongs to the other mode.
    OtherMode,
    /// An event is about something that another deployment, or other software, created in the
    /// Stripe account.
    NotOurs,
    /// The age of an event when it was first handled.
    EventAge,
    /// A webhook request has a Stripe signature that can't be verified.
    BadSignature,
    /// An event is larger than the webhook accepts.
    TooLarge,
    /// A webhook request has no Stripe signature.
    Refused,
    /// A commit failed because of a concurrent change, and the decision was repeated.
    Conflict,
    /// A learner has paid for the same product more than once.
    DoublePayment,
    /// Stripe warns that a payment's card may be stolen.
    FraudWarning,
    /// A payment arrived from a learner who was erased.
    PaidAfterErasure,
    /// A session was opened.
    SessionOpened,
    /// A request failed because of an error on our side or in a service that we need.
    Failed,
}

impl Metric {
    /// All metrics.
    pub const ALL: [Self; 16] = [
        Self::Applied,
        Self::Duplicate,
        Self::Ignored,
        Self::Quarantined,
        Self::OtherMode,
        Self::NotOurs,
        Self::EventAge,
        Self::BadSignature,
        Self::TooLarge,
        Self::Refused,
        Self::Conflict,
        Self::DoublePayment,
        Self::FraudWarning,
        Self::PaidAfterErasure,
        Self::SessionOpened,
        Self::Failed,
    ];

    /// Its name in CloudWatch.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Duplicate => "duplicate",
            Self::Ignored => "ignored",
            Self::Quarantined => "quarantined",
            Self::OtherMode => "other_mode",
            Self::NotOurs => "not_ours",
            Self::EventAge => "event_age_seconds",
            Self::BadSignature => "bad_signature",
            Self::TooLarge => "too_large",
            Self::Refused => "refused",
            Self::Conflict => "conflict",
            Self::DoublePayment => "double_payment",
            Self::FraudWarning => "fraud_warning",
            Self::PaidAfterErasure => "paid_after_erasure",
            Self::SessionOpened => "session_opened",
            Self::Failed => "failed",
        }
    }

    const fn unit(self) -> &'static str {
        if matches!(self, Self::EventAge) { "Seconds" } else { "Count" }
    }
}

/// Adds one to a metric.
pub fn count(metric: Metric) {
    record(metric, 1);
}

/// Records a value of a metric, in its unit.
pub fn record(metric: Metric, value: u64) {
    tracing::info!(target: METRICS, metric = metric.name(), unit = metric.unit(), value);
}

/// Formats an error with all its causes, for a log.
pub struct Chain<'a>(pub &'a (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

/// Writes logs and metrics to standard output, where Lambda collects them. The metrics are for the
/// function that is deployed under this name.
pub fn init(function_name: String) {
    subscriber(function_name, std::io::stdout).init();
}

/// The same with another writer.
pub fn subscriber<W>(function_name: String, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'w> MakeWriter<'w> + Clone + Send + Sync + 'static,
{
    // At lower levels, these libraries log what they send and receive, or can't parse.
    let quiet = Targets::new()
        .with_default(LevelFilter::INFO)
        .with_targets(
            ["aws_smithy_runtime", "lambda_http", "lambda_runtime", "hyper", "rustls"]
                .map(|target| (target, LevelFilter::WARN)),
        )
        // Its warnings repeat what clients send.
        .with_target("rmcp", LevelFilter::ERROR)
        .with_target(METRICS, LevelFilter::OFF);
    let lines = tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_current_span(true)
        .with_span_list(false)
        .with_writer(writer.clone())
        .with_filter(quiet);
    let metrics = EmbeddedMetrics { function_name, writer }
        .with_filter(FilterFn::new(|metadata| metadata.target() == METRICS));
    Registry::default().with(lines).with(metrics)
}

/// Writes metrics in the format that CloudWatch extracts from logs:
/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>
struct EmbeddedMetrics<W> {
    function_name: String,
    writer: W,
}

impl<S, W> Layer<S> for EmbeddedMetrics<W>
where
    S: Subscriber,
    W: for<'w> MakeWriter<'w> + 'static,
{
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut measured = Measured::default();
        event.record(&mut measured);
        let mut line = json!({
            "_aws": {
                "Timestamp": SystemClock.now().unix_seconds().saturating_mul(1000),
                "CloudWatchMetrics": [{
                    "Namespace": "Coursegate",
                    // The same as in AWS's own metrics for functions. Two stacks never share a
                    // function name.
                    "Dimensions": [["FunctionName"]],
                    "Metrics": [{ "Name": measured.metric, "Unit": measured.unit }],
                }],
            },
            "FunctionName": self.function_name,
        });
        if let Some(line) = line.as_object_mut() {
            line.insert(measured.metric, measured.value.into());
        }
        // If standard output is closed, there is no place to report it.
        let _ = writeln!(self.writer.make_writer(), "{line}");
    }
}

#[derive(Default)]
struct Measured {
    metric: String,
    unit: String,
    value: u64,
}

impl Visit for Measured {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "metric" => value.clone_into(&mut self.metric),
            "unit" => value.clone_into(&mut self.unit),
            _ => {}
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "value" {
            self.value = value;
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn fmt::Debug) {}
}
