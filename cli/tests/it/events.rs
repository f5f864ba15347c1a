//! Events once more, and those that wait in quarantine.

use serde_json::{Value, json};

use crate::shop::Shop;

/// Whom an event of Stripe's own making is about, and what it lacks to be read.
fn unreadable(shop: &Shop) -> Value {
    let metadata = json!({"coursegate": shop.mark(), "learner_id": "ada"});
    json!({
        "type": "checkout.session.completed",
        "object": {"id": "cs_test_odd", "object": "checkout.session", "metadata": metadata}
    })
}

/// Puts an event on the list as code would that could not read it.
fn quarantine(shop: &Shop, event: &str, kind: &str) {
    let mut item = json!({
        "pk": {"S": format!("EVENT#{event}")}, "sk": {"S": "EVENT"}, "type": {"S": kind},
        "created": {"N": "1"}, "at": {"N": "1"}, "outcome": {"S": "quarantined"},
    });
    let put = |item: &Value| {
        let put = json!({"TableName": "coursegate", "Item": item});
        shop.aws("dynamodb", "DynamoDB_20120810.PutItem", &put);
    };
    put(&item);
    item["pk"]["S"] = "QUARANTINE".into();
    item["sk"]["S"] = event.into();
    item["reason"] = json!({"S": "checkout session: mode is missing"});
    put(&item);
}

#[test]
fn a_lost_event_is_read_from_stripe_and_applied() {
    let shop = Shop::open();
    let ada = shop.sign_in("ada@example.com");
    shop.sim("/_sim/deliveries/hold", &json!({}));
    let session = shop.check_out(&ada, "tutorclaw_paid");
    let paid = shop.pay(session);
    let event = shop.event("checkout.session.completed");
    assert!(!shop.lets_in(&ada));

    let said = shop.says(&["replay", &event]);
    let expected = format!(
        "{event}: applied. Its content is in the table now.\nIt is about {}.\n",
        paid.payment
    );
    assert_eq!(said, expected);
    assert!(shop.lets_in(&ada));
    let said = shop.says(&["replay", &event]);
    assert!(said.starts_with(&format!("{event}: duplicate. ")), "{said}");

    let said = shop.says(&["replay", &shop.event("payment_intent.succeeded")]);
    assert!(said.contains(": ignored. No access depends on events of this type."), "{said}");
    let odd = shop.sim("/_sim/events", &unreadable(&shop))["id"].as_str().unwrap().to_owned();
    let said = shop.refuses(&["replay", &odd]);
    assert!(said.contains(": quarantined. It can't be read: checkout session: "), "{said}");
    let said = shop.refuses(&["replay", "evt_of_last_year"]);
    assert!(said.contains("keeps events for 30 days"), "{said}");
}

#[test]
fn a_refund_replayed_before_its_purchase_still_closes_it() {
    let shop = Shop::open();
    let ada = shop.sign_in("ada@example.com");
    shop.sim("/_sim/deliveries/hold", &json!({}));
    let session = shop.check_out(&ada, "tutorclaw_paid");
    let paid = shop.pay(session);
    shop.stripe("/v1/refunds", &[("payment_intent", &paid.payment)]);
    // Whose it is, Stripe says.
    let said = shop.says(&["replay", &shop.event("refund.created")]);
    assert!(said.contains(": applied. ") && said.contains(&paid.payment), "{said}");
    shop.says(&["replay", &shop.event("checkout.session.completed")]);
    assert_eq!(shop.status(&ada, &paid.payment).as_deref(), Some("refunded"));
    assert!(!shop.lets_in(&ada));
    let why = shop.says(&["why", &ada.id]);
    assert!(why.contains("CLOSED since") && why.contains("9.99 USD was refunded."), "{why}");
}

#[test]
fn quarantined_events_are_listed_drained_and_reported() {
    let shop = Shop::open();
    assert_eq!(shop.says(&["quarantine", "list"]), "No event is in quarantine.\n");
    assert_eq!(shop.says(&["quarantine", "drain"]), "No event is in quarantine.\n");
    let odd = shop.sim("/_sim/events", &unreadable(&shop))["id"].as_str().unwrap().to_owned();
    shop.wait_for_deliveries();

    let ada = shop.sign_in("ada@example.com");
    shop.sim("/_sim/deliveries/hold", &json!({}));
    let session = shop.check_out(&ada, "tutorclaw_paid");
    shop.pay(session);
    let paid = shop.event("checkout.session.completed");
    let expired = shop.check_out(&ada_s_friend(&shop), "tutorclaw_paid");
    shop.stripe(&format!("/v1/checkout/sessions/{expired}/expire"), &[("expand[]", "customer")]);
    let expired = shop.event("checkout.session.expired");
    for (event, kind) in [
        (paid.as_str(), "checkout.session.completed"),
        (&expired, "checkout.session.expired"),
        ("evt_of_last_year", "checkout.session.completed"),
    ] {
        quarantine(&shop, event, kind);
    }

    let list = shop.says(&["quarantine", "list"]);
    assert!(list.contains("\n4 events in quarantine. "), "{list}");
    let shown = format!("{odd} checkout.session.completed\n  about cs_test_odd, since ");
    assert!(list.contains(&shown), "{list}");
    let said = shop.says(&["doctor"]);
    assert!(
        said.contains("quarantine       events in quarantine that could not be read: 4"),
        "{said}"
    );

    let said = shop.run(&["quarantine", "drain"]);
    for line in [
        format!("{paid} (checkout.session.completed): applied. "),
        format!("{expired} (checkout.session.expired): ignored. It is about a checkout that ended"),
        format!("{odd} (checkout.session.completed): quarantined. It can't be read: checkout"),
        "evt_of_last_year (checkout.session.completed): left. Stripe has no evt_of_last".to_owned(),
    ] {
        assert!(said.out.contains(&line), "{}", said.out);
    }
    assert!(said.problem.contains("2 events left") && said.code == Some(1), "{}", said.problem);
    assert!(shop.lets_in(&ada));
    // Its late delivery finds it on record.
    shop.sim("/_sim/deliveries/release", &json!({}));
    shop.wait_for_deliveries();
    let list = shop.says(&["quarantine", "list"]);
    assert!(list.contains("\n2 events in quarantine. "), "{list}");

    for event in [&odd, "evt_of_last_year"] {
        let said = shop.says(&["quarantine", "dismiss", event]);
        assert_eq!(said, format!("{event} is dismissed from quarantine and was not applied.\n"));
    }
    assert_eq!(shop.says(&["quarantine", "drain"]), "No event is in quarantine.\n");
    let said = shop.refuses(&["quarantine", "dismiss", &odd]);
    assert!(said.contains("is not in quarantine"), "{said}");
}

fn ada_s_friend(shop: &Shop) -> crate::shop::Learner {
    shop.sign_in("bob@example.com")
}
