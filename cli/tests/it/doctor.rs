//! What the doctor says of settings at Stripe that change who sells, and what is delivered.

use serde_json::{Value, json};

use crate::operator::line;
use crate::shop::Shop;

/// A session that says of itself what this one of ours says, opened by code that knows nothing of
/// Managed Payments.
fn opened_without_declining(shop: &Shop, ours: &Value) -> String {
    let price = shop.stripe("/v1/prices?lookup_keys[]=tutorclaw_paid", &[]);
    let mut form = vec![
        ("mode".to_owned(), "payment".to_owned()),
        ("success_url".to_owned(), ours["success_url"].as_str().unwrap().to_owned()),
        ("line_items[0][quantity]".to_owned(), "1".to_owned()),
        ("line_items[0][price]".to_owned(), price["data"][0]["id"].as_str().unwrap().to_owned()),
    ];
    for (name, value) in ours["metadata"].as_object().unwrap() {
        form.push((format!("metadata[{name}]"), value.as_str().unwrap().to_owned()));
    }
    let form: Vec<(&str, &str)> =
        form.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let session = shop.stripe("/v1/checkout/sessions", &form);
    session["id"].as_str().unwrap_or_else(|| panic!("{session}")).to_owned()
}

#[test]
fn the_doctor_names_the_seller() {
    let shop = Shop::open();
    let seller = || line(&shop.run(&["doctor"]), "seller");
    assert!(seller().starts_with("ok") && seller().contains("none has ended yet"), "{}", seller());

    // Stripe has set the account up so that Link sells, and our sessions decline.
    shop.sim("/_sim/account", &json!({ "managed_payments": true }));
    let paid = shop.buy(&shop.sign_in("ada@example.com"), "tutorclaw_paid");
    let ours = shop.stripe(&format!("/v1/checkout/sessions/{}", paid.session), &[]);
    assert_eq!(ours["managed_payments"]["enabled"], false);
    let expected = "you, in 1 of 1 sessions that ended in the last 15 days";
    assert!(seller().starts_with("ok") && seller().contains(expected), "{}", seller());

    let by_link = opened_without_declining(&shop, &ours);
    shop.pay(by_link.clone());
    shop.wait_for_deliveries();
    let said = shop.run(&["doctor"]);
    let found = line(&said, "seller");
    assert!(found.starts_with("WRONG") && found.contains("Link, not you"), "{found}");
    assert!(found.contains(&by_link) && found.contains("1 of 2 sessions"), "{found}");
    assert_eq!(said.code, Some(1));

    shop.buy(&shop.sign_in("bob@example.com"), "curriculum_paid");
    let found = seller();
    assert!(found.starts_with("note") && found.contains("Link sold in 1 of 3"), "{found}");
}

#[test]
fn a_thin_event_endpoint_is_reported_with_its_fix() {
    let shop = Shop::open();
    let thin = || line(&shop.run(&["doctor"]), "thin events");
    assert!(thin().starts_with("ok"), "{}", thin());

    // Somebody has taken what the Dashboard offers first, and stored its secret.
    let list = shop.stripe("/v1/webhook_endpoints", &[]);
    let url = list["data"][0]["url"].as_str().unwrap();
    let enabled = json!(["v1.checkout.session.completed"]);
    let made = json!({ "url": url, "enabled_events": enabled });
    let made = shop.sim("/_sim/event_destinations", &made);
    let (id, secret) = (&made["id"], &made["webhook_endpoint"]["signing_secret"]);
    let (id, secret) = (id.as_str().unwrap(), secret.as_str().unwrap());
    assert_eq!(shop.stripe("/v1/webhook_endpoints", &[])["data"].as_array().unwrap().len(), 1);
    let name = json!({ "SecretId": "coursegate/StripeSigningSecret" });
    let stored = shop.aws("secrets_manager", "secretsmanager.GetSecretValue", &name);
    let both = format!("{} {secret}", stored["SecretString"].as_str().unwrap());
    let both = json!({ "SecretId": "coursegate/StripeSigningSecret", "SecretString": both });
    shop.aws("secrets_manager", "secretsmanager.PutSecretValue", &both);
    let found = thin();
    assert!(found.starts_with("WRONG") && found.contains(id), "{found}");
    assert!(found.contains("coursegate webhook register"), "{found}");

    // A key that may not list them finds none before one has come, and then finds them by that.
    let forbidden = json!({ "path": "/v2/core/event_destinations", "status": 403, "times": 9 });
    shop.sim("/_sim/faults", &forbidden);
    let found = thin();
    assert!(found.starts_with("note") && found.contains("can't check"), "{found}");
    shop.buy(&shop.sign_in("ada@example.com"), "tutorclaw_paid");
    shop.wait_for_deliveries();
    let found = thin();
    assert!(found.starts_with("WRONG") && found.contains("1 wait in quarantine"), "{found}");

    let listed = shop.says(&["quarantine", "list"]);
    assert!(listed.contains(" v1.checkout.session.completed\n  about cs_test_"), "{listed}");
    assert!(listed.contains("this endpoint sends thin events"), "{listed}");
    let drained = shop.run(&["quarantine", "drain"]);
    assert!(drained.out.contains("is a thin event"), "{}", drained.out);
    assert!(drained.out.contains("coursegate quarantine dismiss evt_test_"), "{}", drained.out);
}

#[test]
fn the_doctor_reaches_the_webhook_behind_the_api() {
    let shop = Shop::open_throttled();
    assert!(shop.running.addresses["webhook"].as_str().unwrap().ends_with("/api/webhook"));
    let said = shop.run(&["doctor"]);
    for check in ["endpoint", "signed probe", "forged probe"] {
        let found = line(&said, check);
        assert!(found.starts_with("ok"), "{found}");
    }
}
