//! All that is held of a learner: written out, and erased.

use serde_json::{Value, json};

use crate::shop::{Learner, Paid, Shop, plain};

/// Somebody with some of everything that the table can hold of a learner, two payments, and a
/// session that can be paid.
fn somebody(shop: &Shop, email: &str) -> (Learner, [Paid; 2], String) {
    let learner = shop.sign_in(email);
    shop.upgrade_link(&learner, "tutorclaw_paid");
    let first = shop.buy(&learner, "tutorclaw_paid");
    shop.sim("/_sim/advance", &json!({"seconds": 60}));
    let second = shop.buy_again(&learner);
    let open = shop.check_out(&learner, "curriculum_paid");
    shop.says(&["grant", &learner.id, "production", "--reason", "Ada Lovelace asked for it"]);
    (learner, [first, second], open)
}

fn about(shop: &Shop, learner: &Learner) -> Vec<String> {
    shop.items().into_iter().filter(|item| item.contains(&learner.id)).collect()
}

#[test]
fn an_export_has_exactly_the_learner_s_items() {
    let shop = Shop::open();
    let (ada, [first, _], _) = somebody(&shop, "ada@example.com");
    let (bob, ..) = somebody(&shop, "bob@example.com");
    let export = shop.says(&["learner", "export", &ada.id]);
    assert!(!export.contains(&bob.id), "{export}");
    let export: Value = serde_json::from_str(&export).unwrap();
    assert_eq!(export["learner"], ada.id);
    let items = export["items"].as_array().unwrap();
    let keys: Vec<&str> = items.iter().map(|item| item["sk"].as_str().unwrap()).collect();
    for kind in ["ACCESS", "CUSTOMER", "CHECKOUT#tutorclaw", "LINK", "SOURCE"] {
        assert!(keys.contains(&kind), "{keys:?}");
    }
    // The whole table knows nothing else of her.
    assert_eq!(items.len(), about(&shop, &ada).len(), "{keys:?}");
    let source = items.iter().find(|item| item["pk"] == format!("SOURCE#{}", first.payment));
    assert_eq!(source.unwrap()["amount"], 999);
    assert_eq!(
        serde_json::from_str::<Value>(&shop.says(&["learner", "export", "nobody"])).unwrap()["items"],
        json!([])
    );
}

#[expect(clippy::too_many_lines, reason = "one story, from the first purchase to the next")]
#[test]
fn an_erased_learner_leaves_no_trace_and_never_returns() {
    let shop = Shop::open();
    let (ada, [first, second], open) = somebody(&shop, "ada@example.com");
    let bob = shop.sign_in("bob@example.com");
    shop.buy(&bob, "tutorclaw_paid");
    let of_bob = about(&shop, &bob);
    let hers = json!({"coursegate": shop.mark(), "learner_id": ada.id});
    let odd = json!({"id": "cs_test_odd", "metadata": hers});
    shop.sim("/_sim/events", &json!({"type": "checkout.session.completed", "object": odd}));
    // A bank debit is on its way, and she has paid for something of which Stripe hasn't told yet.
    let debited = shop.check_out(&ada, "voice_paid");
    let debit = json!({"payment_method": "sepa_debit"});
    let debit = shop.sim(&format!("/_sim/checkout/sessions/{debited}/pay"), &debit);
    let debit = debit["payment_intent"].as_str().unwrap();
    shop.wait_for_deliveries();
    shop.sim("/_sim/deliveries/hold", &json!({}));
    let untold = shop.check_out(&ada, "retrieval_paid");
    let untold = shop.pay(untold);

    let said = shop.run_with(&["learner", "forget", &ada.id], "yes\n");
    assert!(said.problem.contains("nothing was done") && said.code == Some(1), "{}", said.problem);
    assert!(shop.lets_in(&ada));
    let said = shop.run_with(&["learner", "forget", &ada.id], &format!("{}\n", ada.id));
    assert_eq!((said.code, said.problem.as_str()), (Some(0), ""));
    for part in [
        first.payment.as_str(),
        &second.payment,
        &format!("{open}\n  can still be paid: it will be expired first"),
        &format!("{}\n  was paid, or is being paid, but isn't recorded", untold.session),
        &format!("{debit} is processing at the bank and can't be stopped"),
        "Kept for accounting",
        "cus_",
        "in Cognito",
        "1 event in quarantine",
    ] {
        assert!(said.out.contains(part), "{part} is not in:\n{}", said.out);
    }
    let is_forgotten = || {
        let [access] = about(&shop, &ada).try_into().unwrap();
        let access: Value = serde_json::from_str(&access).unwrap();
        let names: Vec<&String> = access.as_object().unwrap().keys().collect();
        assert_eq!(names, ["erased_at", "pk", "sk"]);
        assert!(!shop.lets_in(&ada));
    };
    is_forgotten();
    assert_eq!(shop.stripe(&format!("/v1/checkout/sessions/{open}"), &[])["status"], "expired");
    // Now Stripe tells of what was paid, and the bank pays what was on its way.
    let settle = format!("/_sim/checkout/sessions/{debited}/settle");
    shop.sim(&settle, &json!({"outcome": "succeeded"}));
    shop.sim("/_sim/deliveries/release", &json!({}));
    shop.wait_for_deliveries();
    is_forgotten();
    for payment in [debit, &untold.payment] {
        let of_payment = format!("SOURCE#{payment}");
        let kept = shop.items().into_iter().find(|item| item.contains(&of_payment)).unwrap();
        assert!(kept.contains("forgotten") && kept.contains(r#""paid""#), "{kept}");
    }
    let of_payment = format!("SOURCE#{}", first.payment);
    let kept = shop.items().into_iter().find(|item| item.contains(&of_payment)).unwrap();
    for part in ["999", "usd", "tutorclaw_paid", "forgotten"] {
        assert!(kept.contains(part), "{kept}");
    }
    // What was written down about her by hand may name her too.
    assert!(!shop.items().iter().any(|item| item.contains("Lovelace")));

    // The purchase is told once more, as another event; its refund and a dispute come late; and
    // the customer is deleted, as the command asks.
    let session = shop.stripe(&format!("/v1/checkout/sessions/{}", first.session), &[]);
    shop.sim("/_sim/events", &json!({"type": "checkout.session.completed", "object": session}));
    shop.stripe("/v1/refunds", &[("payment_intent", &first.payment)]);
    shop.sim("/_sim/disputes", &json!({"payment_intent": second.payment}));
    let customer = json!({"id": "cus_1", "object": "customer", "metadata": hers});
    shop.sim("/_sim/events", &json!({"type": "customer.deleted", "object": customer}));
    shop.wait_for_deliveries();
    shop.says(&["replay", &shop.event("checkout.session.completed")]);
    for (payment, fact) in [(&first.payment, "refund#re_"), (&second.payment, "dispute#du_")] {
        let of_payment = format!("SOURCE#{payment}");
        let kept = shop.items().into_iter().find(|item| item.contains(&of_payment)).unwrap();
        assert!(kept.contains(fact), "{kept}");
    }
    is_forgotten();
    let said = shop.says(&["learner", "forget", &ada.id, "--yes"]);
    let nothing = format!("No data is stored about {} except their erasure on TIME UTC.\n", ada.id);
    assert_eq!(plain(&said, &[]), nothing);
    let why = shop.says(&["why", &ada.id]);
    assert!(why.starts_with("No payment or grant") && why.contains("They were erased on"), "{why}");
    let export = shop.says(&["learner", "export", &ada.id]);
    let export: Value = serde_json::from_str(&export).unwrap();
    let [item] = &export["items"].as_array().unwrap()[..] else { panic!("{export}") };
    assert!(item["erased_at"].is_number(), "{export}");

    // Whoever buys again is a new customer, and what was told before is told in vain.
    shop.sim("/_sim/advance", &json!({"seconds": 60}));
    let again = shop.buy(&ada, "tutorclaw_paid");
    shop.says(&["replay", &shop.event("checkout.session.completed")]);
    assert!(shop.lets_in(&ada));
    assert_eq!(shop.status(&ada, &untold.payment), None);
    assert_eq!(shop.status(&ada, &again.payment).as_deref(), Some("active"));
    assert_eq!(
        shop.says(&["learner", "forget", "nobody", "--yes"]),
        "No data is stored about nobody.\n"
    );

    assert_eq!(about(&shop, &bob), of_bob);
    assert!(shop.lets_in(&bob));
    let said = shop.refuses(&["learner", "forget", "forgotten", "--yes"]);
    assert!(said.contains("stands for erased learners"), "{said}");
}
