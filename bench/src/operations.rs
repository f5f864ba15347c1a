//! The list of operations. Each is a sample of `events/`, varied for each call.

use serde_json::Value;

/// The table that an operation uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Shop {
    /// New learners arrive; those with [`REFUNDABLE`] payments exist.
    Growing,
    /// It has the learners [`ONE`] and [`FIFTY`].
    Small,
    /// It has a hundred thousand learners with purchases, and [`ONE`].
    Large,
}

/// A learner with one purchase.
pub(crate) const ONE: &str = "ada";
/// A learner with fifty purchases.
pub(crate) const FIFTY: &str = "fifty";

/// The number of learners with a refundable payment.
pub(crate) const REFUNDABLE: u64 = 2_000;

/// A request to a function.
#[derive(Debug)]
pub(crate) struct Operation {
    /// Its name in the report.
    pub(crate) name: &'static str,
    /// The function, or a peer in its place.
    pub(crate) function: &'static str,
    /// A file in `events/`. A Stripe event in its body gets signed.
    pub(crate) sample: &'static str,
    /// The table it uses.
    pub(crate) shop: Shop,
    /// Varies the sample for this call.
    pub(crate) change: fn(&mut Value, &Call),
    /// The expected status.
    pub(crate) status: u64,
    /// What the response body of our own functions must contain.
    pub(crate) says: &'static str,
    /// Whether cold starts are measured.
    pub(crate) is_started: bool,
    /// Whether throughput is measured.
    pub(crate) is_loaded: bool,
    /// Whether peers can do it too.
    pub(crate) is_for_peers: bool,
}

/// One call.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    /// The subject.
    pub(crate) by: &'a str,
    /// Unique for each call.
    pub(crate) number: u64,
}

const PAID: &str = "webhook/checkout_session_completed_paid.json";
const ACCESS: &str = "entitlements/access_locked_chapter.json";

/// Every operation, in the order of the report.
pub(crate) const OPERATIONS: &[Operation] = &[
    Operation {
        name: "200 and nothing else",
        function: "floor",
        sample: PAID,
        shop: Shop::Growing,
        change: a_new_purchase,
        status: 200,
        says: "",
        is_started: true,
        is_loaded: true,
        is_for_peers: true,
    },
    Operation {
        name: "event applied",
        function: "webhook",
        sample: PAID,
        shop: Shop::Growing,
        change: a_new_purchase,
        status: 200,
        says: r#""outcome":"applied""#,
        is_started: true,
        is_loaded: true,
        is_for_peers: true,
    },
    Operation {
        name: "event again",
        function: "webhook",
        sample: PAID,
        shop: Shop::Growing,
        change: the_same_purchase,
        status: 200,
        says: r#""outcome":"duplicate""#,
        is_started: false,
        is_loaded: false,
        is_for_peers: true,
    },
    Operation {
        name: "refund applied",
        function: "webhook",
        sample: "webhook/refund_created.json",
        shop: Shop::Growing,
        change: a_new_refund,
        status: 200,
        says: r#""outcome":"applied""#,
        is_started: false,
        is_loaded: false,
        is_for_peers: false,
    },
    Operation {
        name: "access, 1 purchase",
        function: "entitlements",
        sample: ACCESS,
        shop: Shop::Small,
        change: |event, _| asked_by(event, ONE),
        status: 200,
        says: r#""access":"granted""#,
        is_started: true,
        is_loaded: true,
        is_for_peers: true,
    },
    Operation {
        name: "access, 50 purchases",
        function: "entitlements",
        sample: ACCESS,
        shop: Shop::Small,
        change: |event, _| asked_by(event, FIFTY),
        status: 200,
        says: r#""access":"granted""#,
        is_started: false,
        is_loaded: false,
        is_for_peers: true,
    },
    Operation {
        name: "access, 100,000 learners",
        function: "entitlements",
        sample: ACCESS,
        shop: Shop::Large,
        change: |event, _| asked_by(event, ONE),
        status: 200,
        says: r#""access":"granted""#,
        is_started: false,
        is_loaded: false,
        is_for_peers: true,
    },
    Operation {
        name: "session opened",
        function: "checkout",
        sample: "checkout/checkout.json",
        shop: Shop::Growing,
        change: |event, call| asked_by(event, &format!("{}{}", call.by, call.number)),
        status: 201,
        says: r#""session_id":"#,
        is_started: true,
        is_loaded: false,
        is_for_peers: true,
    },
    Operation {
        name: "tool called",
        function: "tutor",
        sample: "tutor/check_access_denied.json",
        shop: Shop::Small,
        change: about_another_learner,
        status: 200,
        says: r#""access":"denied""#,
        is_started: true,
        is_loaded: false,
        is_for_peers: false,
    },
];

fn a_new_purchase(event: &mut Value, call: &Call) {
    purchase(&mut event["body"], &format!("{}{}", call.by, call.number));
}

fn the_same_purchase(event: &mut Value, call: &Call) {
    purchase(&mut event["body"], &format!("{}same", call.by));
}

fn a_new_refund(event: &mut Value, call: &Call) {
    let event = &mut event["body"];
    let refund = format!("{}{}", call.by, call.number);
    event["id"] = format!("evt_refund{refund}").into();
    event["data"]["object"]["id"] = format!("re_{refund}").into();
    let payment = refundable(call.number % REFUNDABLE);
    event["data"]["object"]["payment_intent"] = format!("pi_{payment}1").into();
}

/// A learner with a refundable payment.
pub(crate) fn refundable(number: u64) -> String {
    format!("refundable{number}")
}

/// Changes a Stripe event to one about this learner's only purchase.
pub(crate) fn purchase(event: &mut Value, learner: &str) {
    event["id"] = format!("evt_{learner}").into();
    let session = &mut event["data"]["object"];
    session["id"] = format!("cs_test_{learner}").into();
    session["payment_intent"] = format!("pi_{learner}").into();
    session["client_reference_id"] = learner.into();
    session["metadata"]["learner_id"] = learner.into();
}

/// A tool's call about a new learner: each has a limit.
fn about_another_learner(event: &mut Value, call: &Call) {
    let message = event["body"].as_str().unwrap_or_default();
    let learner = format!("x-{}{}", call.by, call.number);
    event["body"] = message.replace("\"x-7\"", &format!("\"{learner}\"")).into();
}

fn asked_by(event: &mut Value, learner: &str) {
    event["requestContext"]["authorizer"]["jwt"]["claims"]["sub"] = learner.into();
}
