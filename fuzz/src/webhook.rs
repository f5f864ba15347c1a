//! What comes to the webhook's Function URL.

use std::sync::LazyLock;

use lambda_http::{Body, Request, Response};
use serde_json::{Value, json};
use shared::domain::access::Status;
use shared::domain::decide::{Mode, Recorded};
use shared::ports::{SecretReader, SecretUnavailable, SecretVersion};
use shared::secrets::SecretCache;
use shared::stripe::signature::UnverifiedDelivery;
use simulation::clock::ManualClock;
use simulation::memory::Contents;
use webhook::App;

use crate::ledger::Watched;
use crate::message::Message;
use crate::signing::{filled_in, is_signed};
use crate::{NOW, answered, assert_problem, block_on};

/// The signing secrets, and one that is none of them.
const SECRETS: [&str; 3] = ["whsec_current", "whsec_previous", "whsec_somebody_else_s"];
/// How many of them count.
const ACCEPTED: usize = 2;
/// The largest body that the webhook takes.
const BODY_BYTES_MAX: usize = 1024 * 1024;

/// What Secrets Manager holds.
struct Secrets;

impl SecretReader for Secrets {
    async fn version(&self, stage: &str) -> Result<Option<SecretVersion>, SecretUnavailable> {
        let secret = if stage == "AWSCURRENT" { SECRETS[0] } else { SECRETS[1] };
        Ok(Some(SecretVersion { text: secret.into(), created: Some(NOW) }))
    }
}

/// The function as if just started, on an empty ledger.
fn app() -> App<Watched, ManualClock, Secrets> {
    App {
        ledger: Watched::default(),
        signing_secrets: SecretCache::signing_secrets_of(Secrets),
        mode: Mode::Test,
        clock: ManualClock::at(NOW.unix_seconds()),
    }
}

/// Any header, with any body and any secrets: what is accepted was signed with one of them, within
/// five minutes of now. The first line is the secrets.
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

/// Any request to the Function URL: it is answered, and nothing is written unless it was signed.
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

/// Any body, signed as Stripe signs: it is applied, ignored for a reason, or kept; what is opened
/// is what it says; and the same again changes nothing.
pub fn signed(bytes: &[u8]) {
    let header = filled_in("t=$t,v1=$0", bytes, &SECRETS, NOW);
    let message = Message::parse(b"");
    let request = request("POST", &message, &header, bytes).expect("Stripe's own headers");
    let app = app();
    let first = block_on(webhook::handle(&app, &request));
    let (status, answer) = answered(&first);
    if status != 200 {
        assert_problem(&first);
        let expected = if std::str::from_utf8(bytes).is_err() {
            400
        } else if bytes.len() > BODY_BYTES_MAX {
            413
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

/// What the ledger holds after one event is what the event says and the answer names.
fn assert_explained(app: &App<Watched, ManualClock, Secrets>, body: &[u8], answer: &Value) {
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
        Some("ignored") => assert_eq!(contents, Contents::default()),
        _ => panic!("an empty ledger answers {answer}"),
    }
}

/// One purchase, of whom and of what the event says; open if it says that it is paid.
fn assert_opened_as_told(contents: &Contents, body: &[u8]) {
    let event: Value = serde_json::from_slice(body).unwrap();
    assert_eq!(event["livemode"], false, "of the other mode");
    assert!(event["account"].is_null(), "of a connected account");
    let session = &event["data"]["object"];
    let (source, stored) = contents.sources.first_key_value().unwrap();
    assert_eq!(contents.sources.len(), 1);
    let sale = &stored.purchase.sale;
    assert_eq!(session["metadata"]["learner_id"], sale.learner.as_str());
    assert_eq!(session["metadata"]["product"], sale.product.as_str());
    assert_eq!(session["id"], sale.session.as_str());
    let grants = &contents.access[&sale.learner];
    assert_eq!((contents.access.len(), grants.len()), (1, 1));
    let grant = &grants[source];
    assert_eq!(grant.product, sale.product);
    let status = session["payment_status"].as_str();
    let paid = matches!(status, Some("paid" | "no_payment_required"));
    assert_eq!(grant.status == Status::Active, paid, "{status:?}");
}

/// What the Function URL hands on; none if it hands on nothing of the kind. A body that is no text
/// comes in base64, as would one of a binary content type.
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
