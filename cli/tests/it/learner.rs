//! All that is held of a learner: written out, and erased.

use serde_json::{Value, json};

use crate::shop::{Learner, Paid, Shop};

/// Somebody with some of everything that the table can hold of a learner.
fn somebody(shop: &Shop, email: &str) -> (Learner, Paid, Paid) {
    let learner = shop.sign_in(email);
    shop.upgrade_link(&learner, "tutorclaw_paid");
    let first = shop.buy(&learner, "tutorclaw_paid");
    shop.sim("/_sim/advance", &json!({"seconds": 60}));
    let second = shop.buy_again(&learner);
    shop.check_out(&learner, "curriculum_paid");
    shop.says(&["grant", &learner.id, "curriculum", "--reason", "Ada Lovelace asked for it"]);
    (learner, first, second)
}

fn about(shop: &Shop, learner: &Learner) -> Vec<String> {
    shop.items().into_iter().filter(|item| item.contains(&learner.id)).collect()
}

#[test]
fn an_export_has_every_item_that_names_the_learner_and_no_other() {
    let shop = Shop::open();
    let (ada, first, _) = somebody(&shop, "ada@example.com");
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

#[test]
fn whoever_is_forgotten_is_nowhere_in_the_table_and_nothing_brings_them_back() {
    let shop = Shop::open();
    let (ada, first, second) = somebody(&shop, "ada@example.com");
    let bob = shop.sign_in("bob@example.com");
    shop.buy(&bob, "tutorclaw_paid");
    let of_bob = about(&shop, &bob);
    let hers = json!({"coursegate": shop.mark(), "learner_id": ada.id});
    let odd = json!({"id": "cs_test_odd", "metadata": hers});
    shop.sim("/_sim/events", &json!({"type": "checkout.session.completed", "object": odd}));
    shop.wait_for_deliveries();

    let said = shop.run_with(&["learner", "forget", &ada.id], "yes\n");
    assert!(said.problem.contains("nothing was done") && said.code == Some(1), "{}", said.problem);
    assert!(shop.lets_in(&ada));
    let said = shop.run_with(&["learner", "forget", &ada.id], &format!("{}\n", ada.id));
    assert_eq!((said.code, said.problem.as_str()), (Some(0), ""));
    for part in [
        &first.payment,
        &second.payment,
        "Kept for accounting",
        "cus_",
        "in Cognito",
        "1 event in quarantine",
    ] {
        assert!(said.out.contains(part), "{part} is not in:\n{}", said.out);
    }
    let is_forgotten = || {
        assert_eq!(about(&shop, &ada), Vec::<String>::new());
        assert!(!shop.lets_in(&ada));
    };
    is_forgotten();
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
    assert_eq!(said, format!("Nothing is held of {}.\n", ada.id));
    let why = shop.says(&["why", &ada.id]);
    assert!(why.starts_with("Nothing is known of"), "{why}");

    assert_eq!(about(&shop, &bob), of_bob);
    assert!(shop.lets_in(&bob));
    let said = shop.refuses(&["learner", "forget", "forgotten", "--yes"]);
    assert!(said.contains("what those are called who were forgotten"), "{said}");
}
