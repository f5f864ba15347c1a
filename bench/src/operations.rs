//! What is measured: a list. Each operation is a sample of `events/`, changed for each call.

use serde_json::Value;

/// The table that an operation is asked of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Shop {
    /// Its learners come as they buy; [`REFUNDABLE`] are there.
    Growing,
    /// It has the learners that [`ONE`] and [`FIFTY`] name.
    Small,
    /// It has a hundred thousand learners who own something, and [`ONE`].
    Large,
}

/// A learner with one purchase.
pub(crate) const ONE: &str = "ada";
/// A learner with a thousand.
pub(crate) const FIFTY: &str = "fifty";

/// How many learners have a payment that can be refunded.
pub(crate) const REFUNDABLE: u64 = 2_000;

/// Something that a function is asked to do.
#[derive(Debug)]
pub(crate) struct Operation {
    /// For people.
    pub(crate) name: &'static str,
    /// Who does it. Whoever stands in for this function does it too.
    pub(crate) function: &'static str,
    /// A file of `events/`. An event of Stripe's in its body is signed.
    pub(crate) sample: &'static str,
    /// Which table it is asked of.
    pub(crate) shop: Shop,
    /// Makes the sample this call's.
    pub(crate) change: fn(&mut Value, &Call),
    /// The answer's status.
    pub(crate) status: u64,
    /// What the answer of a function of ours has in its body.
    pub(crate) says: &'static str,
    /// Whether a function is started for it, time and again.
    pub(crate) is_started: bool,
    /// Whether many are done at once.
    pub(crate) is_loaded: bool,
    /// Whether those who stand in for the function can do it too.
    pub(crate) is_for_peers: bool,
}

/// One call.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    /// Who is called.
    pub(crate) by: &'a str,
    /// No other call has this number.
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

/// A learner whose payment can be refunded.
pub(crate) fn refundable(number: u64) -> String {
    format!("refundable{number}")
}

/// Makes an event of Stripe's that of this learner's only purchase.
pub(crate) fn purchase(event: &mut Value, learner: &str) {
    event["id"] = format!("evt_{learner}").into();
    let session = &mut event["data"]["object"];
    session["id"] = format!("cs_test_{learner}").into();
    session["payment_intent"] = format!("pi_{learner}").into();
    session["client_reference_id"] = learner.into();
    session["metadata"]["learner_id"] = learner.into();
}

fn asked_by(event: &mut Value, learner: &str) {
    event["requestContext"]["authorizer"]["jwt"]["claims"]["sub"] = learner.into();
}
