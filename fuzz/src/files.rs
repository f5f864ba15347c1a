//! Stripe's API responses, and operators' files.

use std::path::Path;

use serde_json::Value;
use shared::apply::apply;
use shared::domain::access::Status;
use shared::domain::decide::{Content, Outcome};
use shared::ports::AccessReader;
use shared::stripe::wire::{self, session_from_api};
use simulation::clock::ManualClock;
use simulation::rendering::MARK;
use simulation::shop;

use crate::ledger::{Asked, Watched};
use crate::{NOW, block_on};

/// Any response of Stripe's about a session, a payment or a dispute is either parsed or refused; a
/// session that is applied opens the product that it names to the learner that it names.
pub fn session(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for refused in [
        wire::payment_owner_from_api(text).err(),
        wire::dispute_status_from_api(text).err(),
        session_from_api(text, NOW).err(),
    ] {
        let is_short = |reason: String| !reason.is_empty() && reason.len() < 300;
        assert!(refused.is_none_or(is_short), "{text}");
    }
    let Ok(session) = session_from_api(text, NOW) else { return };
    let ledger = Watched::default();
    let clock = ManualClock::at(NOW.unix_seconds());
    let shop = shop();
    let ingest = || block_on(apply(&ledger, &Asked, &clock, &shop, &session.observation)).unwrap();
    let outcome = ingest();
    let contents = ledger.inner.contents();
    assert!(contents.events.is_empty(), "no event has told it");
    match (&outcome, &session.observation.content) {
        (Outcome::Applied, Content::Facts(source, facts)) => {
            let learner = &facts.purchase().expect("a session is about a purchase").sale.learner;
            assert_eq!(session.learner.as_ref(), Some(learner));
            let entitlements = block_on(ledger.inner.entitlements(learner)).unwrap();
            let grants: Vec<_> = entitlements.iter().collect();
            let [(granted, grant)] = grants[..] else { panic!("{grants:?}") };
            assert_eq!(granted, source);
            let told: Value = serde_json::from_str(text).unwrap();
            let status = told["payment_status"].as_str();
            let paid = matches!(status, Some("paid" | "no_payment_required"));
            assert_eq!(grant.status == Status::Active, paid, "{status:?}");
            assert_eq!(told["metadata"]["coursegate"], MARK);
            assert_eq!(told["metadata"]["learner_id"], learner.as_str());
            assert_eq!(told["metadata"]["product"], grant.product.as_str());
            assert_eq!(ingest(), Outcome::Duplicate);
        }
        (Outcome::Ignored(_) | Outcome::Quarantined { .. }, _) => {
            assert_eq!(ledger.commits(), 0);
            assert_eq!(ingest(), outcome);
        }
        _ => panic!("an empty ledger gives {outcome:?}"),
    }
    assert_eq!(ledger.inner.contents(), contents, "the same again changes nothing");
}

/// Any catalog file is either valid or reported with what is wrong.
pub fn catalog(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match coursegate::catalog::parse(text, Path::new("catalog.toml")) {
        Ok(catalog) => {
            // Every product has existing courses.
            for price in catalog.prices() {
                let offer = catalog.offer(&price.key).expect("a price has an offer");
                assert!(price.money.amount_minor >= 0);
                for course in &offer.product.courses {
                    assert!(catalog.course(course).is_some(), "{course}");
                }
            }
        }
        Err(error) => assert!(error.to_string().starts_with("catalog.toml")),
    }
}
