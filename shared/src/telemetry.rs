//! What a function says: JSON lines for people, and counts in CloudWatch's embedded metric format.
//!
//! Both are `tracing` events, so that a test can read all that would leave the process. Fields are
//! dotted and the same everywhere: `stripe.event_id`, `stripe.event_type`, `stripe.object_id`,
//! `learner.id`, `outcome`.

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

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    /// Facts were added.
    Applied,
    /// An event, or its facts, were known already.
    Duplicate,
    /// An event changes nothing, by a rule.
    Ignored,
    /// An event can't be read and is kept.
    Quarantined,
    /// A request to the webhook is not Stripe's, or too large.
    Refused,
    /// A decision had to be made anew.
    Conflict,
    /// A session was opened.
    SessionOpened,
    /// A request could not be answered for a reason of ours, or of something that we need.
    Failed,
}

impl Metric {
    const fn name(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Duplicate => "duplicate",
            Self::Ignored => "ignored",
            Self::Quarantined => "quarantined",
            Self::Refused => "refused",
            Self::Conflict => "conflict",
            Self::SessionOpened => "session_opened",
            Self::Failed => "failed",
        }
    }
}

/// Counts this many of it.
pub fn count(metric: Metric, times: u32) {
    if times > 0 {
        tracing::info!(target: METRICS, metric = metric.name(), times);
    }
}

/// An error and all its causes, for a log: each says its own part.
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

/// Sends everything that this process says to standard output, from which Lambda takes it.
pub fn init(function: &'static str) {
    subscriber(function, std::io::stdout).init();
}

/// The same for a writer of one's own.
pub fn subscriber<W>(function: &'static str, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'w> MakeWriter<'w> + Clone + Send + Sync + 'static,
{
    // The libraries below say what they send and receive, or that they can't read it.
    let quiet = Targets::new()
        .with_default(LevelFilter::INFO)
        .with_targets(["stripe", "stripe_webhook"].map(|target| (target, LevelFilter::OFF)))
        .with_targets(
            ["aws_smithy_runtime", "lambda_http", "lambda_runtime", "hyper", "rustls"]
                .map(|target| (target, LevelFilter::WARN)),
        )
        .with_target(METRICS, LevelFilter::OFF);
    let lines = tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_current_span(true)
        .with_span_list(false)
        .with_writer(writer.clone())
        .with_filter(quiet);
    let metrics = EmbeddedMetrics { function, writer }
        .with_filter(FilterFn::new(|metadata| metadata.target() == METRICS));
    Registry::default().with(lines).with(metrics)
}

/// Writes counts as CloudWatch takes them from a log:
/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>
struct EmbeddedMetrics<W> {
    function: &'static str,
    writer: W,
}

impl<S, W> Layer<S> for EmbeddedMetrics<W>
where
    S: Subscriber,
    W: for<'w> MakeWriter<'w> + 'static,
{
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut counted = Counted::default();
        event.record(&mut counted);
        let mut line = json!({
            "_aws": {
                "Timestamp": SystemClock.now().unix_seconds().saturating_mul(1000),
                "CloudWatchMetrics": [{
                    "Namespace": "Coursegate",
                    "Dimensions": [["function"]],
                    "Metrics": [{ "Name": counted.metric, "Unit": "Count" }],
                }],
            },
            "function": self.function,
        });
        if let Some(line) = line.as_object_mut() {
            line.insert(counted.metric, counted.times.into());
        }
        // Nobody is left to tell when standard output is gone.
        let _ = writeln!(self.writer.make_writer(), "{line}");
    }
}

#[derive(Default)]
struct Counted {
    metric: String,
    times: u64,
}

impl Visit for Counted {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "metric" {
            value.clone_into(&mut self.metric);
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "times" {
            self.times = value;
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn fmt::Debug) {}
}
