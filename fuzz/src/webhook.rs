//! Requests to the webhook's Function URL.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use lambda_http::{Body, Request, Response};
use serde_json::{Value, json};
use shared::domain::access::Status;
use shared::domain::decide::Recorded;
use shared::domain::id::{DisputeId, FraudWarningId};
use shared::ports::{SecretReader, SecretUnavailable, SecretVersion};
use shared::secrets::SecretCache;
use shared::stripe::signature::UnverifiedDelivery;
use simulation::clock::ManualClock;
use simulation::memory::{Contents, Customer};
use simulation::rendering::MARK;
use simulation::shop;
use webhook::App;

use crate::ledger::{Asked, Watched};
use crate::message::Message;
use crate::signing::{filled_in, is_signed};
use crate::{NOW, answered, assert_problem, block_on};

/// The signing secrets, and another one.
const SECRETS: [&str; 3] = ["whsec_current", "whsec_previous", "whsec_somebody_else_s"];
/// How many of them are accepted.
const ACCEPTED: usize = 2;
/// The learner who has a customer, and its id.
const LEARNER: &str = "grace";
const CUSTOMER: &str = "cus_Grace";
/// The largest body that the webhook accepts.
const BODY_BYTES_MAX: usize = 1024 * 1024;

/// The contents of Secrets Manager.
struct Secrets;

impl SecretReader for Secrets {
    async fn version(&self, stage: &str) -> Result<Option<SecretVersion>, SecretUnavailable> {
        let secret = if stage == "AWSCURRENT" { SECRETS[0] } else { SECRETS[1] };
        Ok(Some(SecretVersion { id: stage.to_owned(), text: secret.into(), created: Some(NOW) }))
    }
}

/// A table in which one learner has a customer at Stripe, and nobody has bought anything.
fn initial() -> Contents {
    let customer = Customer { id: CUSTOMER.parse().unwrap(), is_deleted: false };
    let customers = [(LEARNER.parse().unwrap(), customer)].into();
    Contents { customers, ..Contents::default() }
}

/// The function, just started, with that table.
fn app() -> App<Watched, ManualClock, Asked, Secrets> {
    App {
        ledger: Watched::with(initial()),
        stripe: Asked,
        signing_secrets: SecretCache::signing_secrets_of(Secrets),
        shop: shop(),
        clock: ManualClock::at(NOW.unix_seconds()),
    }
}

/// With any header, body and secrets, an accepted signature was made with one of the secrets,
/// within five minutes. The first line has the secrets.
pub fn signature(bytes: &[u8]) {
    let message = Message::parse(bytes);
    let secrets: Vec<&str> = message.first.split_whitespace().collect();
    let Ok(body) = std::str::from_utf8(message.body) else { return };
    let header = message.field("stripe-signature").unwrap_or_default();
    let header = filled_in(header, message.body, &secrets, NOW);
    let known: Vec<_> = secrets.iter().map(|secret| (*secret).into()).collect();
    let delivery = UnverifiedDelivery { unverified_signature: &header, unverified_body: body };
    if delivery.verify(&known, NOW).is_ok() {
        assert!(is_signed(&header, message.body, &secrets, NOW), "accepted: {header:?}");
    }
}

/// Any request to the Function URL gets a response, and nothing is written unless it was signed.
/// The first line is the method, the fields are headers.
pub fn delivery(bytes: &[u8]) {
    let message = Message::parse(bytes);
    let header = message.field("stripe-signature").unwrap_or_default();
    let header = filled_in(header, message.body, &SECRETS, NOW);
    let Some(request) = request(&message.first, &message, &header, message.body) else { return };
    let app = app();
    let response = block_on(webhook::handle(&app, &request));
    let (status, answer) = answered(&response);
    assert!(status < 500, "{status} {answer}");
    let signed = is_signed(&header, message.body, &SECRETS[..ACCEPTED], NOW);
    if status == 200 {
        assert!(signed, "taken without a signature: {answer}");
        assert_explained(&app, message.body, &answer);
    } else {
        assert_problem(&response);
        assert_eq!(app.ledger.commits(), 0, "{status} {answer}");
    }
}

/// Any body with a valid signature is applied, ignored by a rule, or quarantined. What it opens is
/// what it says, and a second delivery changes nothing.
pub fn signed(bytes: &[u8]) {
    let header = filled_in("t=$t,v1=$0", bytes, &SECRETS, NOW);
    let message = Message::parse(b"");
    let request = request("POST", &message, &header, bytes).expect("Stripe's own headers");
    let app = app();
    let first = block_on(webhook::handle(&app, &request));
    let (status, answer) = answered(&first);
    if status != 200 {
        assert_problem(&first);
        let expected = if bytes.len() > BODY_BYTES_MAX {
            413
        } else if std::str::from_utf8(bytes).is_err() {
            400
        } else {
            200
        };
        assert_eq!(status, expected, "{answer}");
        assert_eq!(app.ledger.commits(), 0);
        return;
    }
    assert_explained(&app, bytes, &answer);
    let contents = app.ledger.inner.contents();

    let again: Response<Body> = block_on(webhook::handle(&app, &request));
    let expected =
        if answer["outcome"] == "applied" { json!("duplicate") } else { answer["outcome"].clone() };
    assert_eq!(answered(&again), (200, json!({ "outcome": expected })));
    assert_eq!(app.ledger.inner.contents(), contents, "the same again changes nothing");
}

/// After one event, the ledger contains what the event says and the response names.
fn assert_explained(app: &App<Watched, ManualClock, Asked, Secrets>, body: &[u8], answer: &Value) {
    let contents = app.ledger.inner.contents();
    let recorded: Vec<Recorded> = contents.events.values().copied().collect();
    match answer["outcome"].as_str() {
        Some("applied") => {
            assert_eq!(recorded, [Recorded::Applied]);
            assert!(contents.quarantine.is_empty());
            assert_opened_as_told(&contents, body);
        }
        Some("quarantined") => {
            assert_eq!(recorded, [Recorded::Quarantined]);
            assert_eq!(contents.quarantine.len(), 1);
            assert!(contents.sources.is_empty() && contents.access.is_empty());
        }
        Some("ignored") => assert_eq!(contents, initial()),
        // Another customer than the learner's is never unlinked.
        Some("duplicate") => {
            let event: Value = serde_json::from_slice(body).unwrap();
            assert_eq!(event["type"], "customer.deleted");
            assert_eq!(recorded, [Recorded::Unchanged]);
            assert_eq!(Contents { events: BTreeMap::new(), ..contents }, initial());
        }
        _ => panic!("a table without purchases gives {answer}"),
    }
}

/// One source, as the event says: its learner, and open if paid; or the refund or dispute of an
/// unknown payment, which opens nothing.
fn assert_opened_as_told(contents: &Contents, body: &[u8]) {
    let event: Value = serde_json::from_slice(body).unwrap();
    assert_eq!(event["livemode"], false, "of the other mode");
    assert!(event["account"].is_null(), "of a connected account");
    let object = &event["data"]["object"];
    if event["type"] == "customer.deleted" {
        let is_deleted = contents.customers.values().any(|customer| customer.is_deleted);
        assert!(is_deleted && contents.sources.is_empty() && contents.access.is_empty());
        let metadata = &object["metadata"];
        assert_eq!(
            (&object["id"], &metadata["learner_id"], &metadata["coursegate"]),
            (&json!(CUSTOMER), &json!(LEARNER), &json!(MARK))
        );
        return;
    }
    assert_eq!(contents.customers, initial().customers);
    let (source, stored) = contents.sources.first_key_value().unwrap();
    assert_eq!(contents.sources.len(), 1);
    let facts = &stored.facts;
    let Some(purchase) = facts.purchase() else {
        assert_eq!(contents.access.len(), 0, "{facts:?}");
        let payment = &object["payment_intent"];
        let payment = payment.as_str().or_else(|| payment["id"].as_str());
        assert_eq!(payment, Some(source.as_str()));
        let refunds = facts.refunds.iter().map(|(id, refund)| {
            assert_eq!(object["amount"], refund.amount_minor);
            id.as_str()
        });
        let disputes = facts.disputes.keys().map(DisputeId::as_str);
        let warnings = facts.fraud_warnings.keys().map(FraudWarningId::as_str);
        let told: Vec<&str> = refunds.chain(disputes).chain(warnings).collect();
        assert_eq!(told, [object["id"].as_str().unwrap()]);
        return;
    };
    let sale = &purchase.sale;
    assert_eq!(object["metadata"]["coursegate"], MARK, "of another shop");
    assert_eq!(object["metadata"]["learner_id"], sale.learner.as_str());
    assert_eq!(object["metadata"]["product"], sale.product.as_str());
    assert_eq!(object["id"], sale.session.as_str());
    let grants = &contents.access[&sale.learner].grants;
    assert_eq!((contents.access.len(), grants.len()), (1, 1));
    let grant = &grants[source];
    assert_eq!(grant.product, sale.product);
    let status = object["payment_status"].as_str();
    let paid = matches!(status, Some("paid" | "no_payment_required"));
    assert_eq!(grant.status == Status::Active, paid, "{status:?}");
}

/// The event from the Function URL; none if it would not pass the request on. A binary body is in
/// base64.
fn request(method: &str, headers: &Message<'_>, signature: &str, body: &[u8]) -> Option<Request> {
    static ENVELOPE: LazyLock<Value> = LazyLock::new(|| {
        let text = include_str!("../../events/webhook/checkout_session_completed_paid.json");
        serde_json::from_str(text).unwrap()
    });
    let mut event = ENVELOPE.clone();
    event["requestContext"]["http"]["method"] = method.into();
    let sent = event["headers"].as_object_mut().unwrap();
    for (name, value) in headers.fields() {
        sent.insert(name.to_ascii_lowercase(), value.into());
    }
    sent.insert("stripe-signature".to_owned(), signature.into());
    if signature.is_empty() {
        sent.remove("stripe-signature");
    }
    match std::str::from_utf8(body) {
        Ok(text) if headers.field("base64").is_none() => event["body"] = text.into(),
        _ => {
            event["body"] = aws_smithy_types::base64::encode(body).into();
            event["isBase64Encoded"] = true.into();
        }
    }
    lambda_http::request::from_str(&event.to_string()).ok()
}
