//! What somebody types who helps learners.

use serde_json::json;

use crate::shop::{Shop, plain};

#[test]
fn why_explains_step_by_step_what_opened_and_closed() {
    let shop = Shop::open();
    let ada = shop.sign_in("ada@example.com");
    let paid = shop.buy(&ada, "tutorclaw_paid");
    let why = || shop.says(&["why", &ada.id, "tutorclaw"]);
    let by_payment = json!({"payment_intent": paid.payment, "status": "warning_needs_response"});
    let dispute = shop.sim("/_sim/disputes", &by_payment)["id"].as_str().unwrap().to_owned();
    shop.wait_for_deliveries();
    assert!(why().contains("OPEN since"), "{}", why());

    let is_now = |status: &str| {
        shop.sim(&format!("/_sim/disputes/{dispute}"), &json!({ "status": status }));
    };
    is_now("needs_response");
    shop.wait_until(&ada, &paid.payment, "suspended");
    assert!(
        plain(&why(), &[]).contains("CLOSED since TIME UTC. The payment is disputed at the bank.")
    );
    is_now("won");
    shop.wait_until(&ada, &paid.payment, "active");
    let warning = shop.sim("/_sim/early_fraud_warnings", &json!({"payment_intent": paid.payment}));
    let part = [("payment_intent", paid.payment.as_str()), ("amount", "400")];
    let part = shop.stripe("/v1/refunds", &part)["id"].as_str().unwrap().to_owned();
    shop.wait_for_deliveries();
    shop.sim("/_sim/advance", &json!({"seconds": 60}));
    let rest =
        shop.stripe("/v1/refunds", &part_of(&paid.payment))["id"].as_str().unwrap().to_owned();
    shop.wait_until(&ada, &paid.payment, "refunded");

    let names = [
        (ada.id.as_str(), "ADA"),
        (paid.payment.as_str(), "PAYMENT"),
        (paid.session.as_str(), "SESSION"),
        (dispute.as_str(), "DISPUTE"),
        (warning["id"].as_str().unwrap(), "WARNING"),
        (part.as_str(), "PART"),
        (rest.as_str(), "REST"),
    ];
    let why = plain(&why(), &names);
    let (head, steps) = why.split_once("SESSION\n").unwrap();
    assert_eq!(
        head,
        "ADA: tutorclaw
TutorClaw, all chapters: opens the course tutorclaw
CLOSED since TIME UTC. 9.99 USD was refunded.

  PAYMENT refunded
    sold as tutorclaw_paid in "
    );
    // Within one second, the order of what is told is left to chance.
    let mut steps: Vec<&str> = steps.split("    TIME  ").skip(1).collect();
    steps.sort_unstable();
    let under = "                                ";
    assert_eq!(
        steps,
        [
            format!("-         4.00 USD of 9.99 USD was refunded.\n{under}PART\n"),
            format!("-         The bank asked about the payment.\n{under}DISPUTE\n"),
            format!("-         The bank warns that the card may be stolen.\n{under}WARNING\n"),
            format!("closes    5.99 USD of 9.99 USD was refunded.\n{under}REST\n"),
            "opens     Paid 9.99 USD.\n".to_owned(),
            format!(
                "restores  The bank decided the dispute: the payment stands.\n{under}DISPUTE\n"
            ),
            format!("suspends  The payment is disputed at the bank.\n{under}DISPUTE\n"),
        ]
    );
}

fn part_of(payment: &str) -> [(&str, &str); 1] {
    [("payment_intent", payment)]
}

#[test]
fn why_dates_a_bank_debit_and_its_outcome() {
    let shop = Shop::open();
    for (outcome, word, state, last) in [
        (
            "failed",
            "failed",
            "CLOSED. The payment of 9.99 USD failed.",
            "-         The payment of 9.99 USD failed.",
        ),
        ("succeeded", "active", "OPEN since TIME UTC.", "opens     Paid 9.99 USD."),
    ] {
        let learner = shop.sign_in(&format!("{outcome}@example.com"));
        let session = shop.check_out(&learner, "tutorclaw_paid");
        let debit = json!({"payment_method": "sepa_debit"});
        let paid = shop.sim(&format!("/_sim/checkout/sessions/{session}/pay"), &debit);
        let payment = paid["payment_intent"].as_str().unwrap();
        shop.wait_until(&learner, payment, "processing");
        let says = || plain(&shop.says(&["why", &learner.id]), &[]);
        let processing = "The payment of 9.99 USD is processing; the bank hasn't confirmed it.";
        let made = format!("    TIME  -         {processing}\n");
        let before = says();
        assert!(before.contains(&format!("\nCLOSED. {processing}\n")), "{before}");
        assert!(before.ends_with(&made), "{before}");
        let settle = format!("/_sim/checkout/sessions/{session}/settle");
        shop.sim(&settle, &json!({ "outcome": outcome }));
        shop.wait_until(&learner, payment, word);
        let after = says();
        assert!(after.contains(&format!("\n{state}\n")), "{after}");
        assert!(after.ends_with(&format!("{made}    TIME  {last}\n")), "{after}");
    }
}

#[test]
fn why_names_who_ended_access_and_omits_closed_disputes() {
    let shop = Shop::open();
    let disputed = |payment: &str| {
        let dispute = shop.sim("/_sim/disputes", &json!({ "payment_intent": payment }));
        dispute["id"].as_str().unwrap().to_owned()
    };
    // Disputed, and then revoked.
    let bob = shop.sign_in("bob@example.com");
    let paid = shop.buy(&bob, "tutorclaw_paid");
    disputed(&paid.payment);
    shop.wait_until(&bob, &paid.payment, "suspended");
    shop.says(&["revoke", &paid.payment, "--reason", "fraud"]);
    let why = plain(&shop.says(&["why", &bob.id]), &[(&paid.payment, "PAYMENT")]);
    let head = why.lines().nth(2).unwrap();
    assert!(head.starts_with("CLOSED") && head.contains(". Revoked by grace: fraud"), "{why}");
    assert!(why.contains("\n  PAYMENT revoked\n"), "{why}");
    assert!(why.contains("    TIME  closes    Revoked by grace: fraud\n"), "{why}");

    // Disputed, and then lost.
    let ada = shop.sign_in("ada@example.com");
    let paid = shop.buy(&ada, "tutorclaw_paid");
    let dispute = disputed(&paid.payment);
    shop.wait_until(&ada, &paid.payment, "suspended");
    shop.sim("/_sim/advance", &json!({"seconds": 120}));
    shop.sim(&format!("/_sim/disputes/{dispute}"), &json!({ "status": "lost" }));
    shop.wait_until(&ada, &paid.payment, "dispute_lost");
    let why = plain(&shop.says(&["why", &ada.id]), &[(&paid.payment, "PAYMENT")]);
    let head = "\nCLOSED since TIME UTC. The bank returned the money (TIME UTC).\n";
    assert!(why.contains(head) && why.contains("\n  PAYMENT dispute_lost\n"), "{why}");
    let lost = "TIME  closes    The bank decided the dispute and returned the money.\n";
    assert!(why.contains(lost), "{why}");
}

#[test]
fn an_unknown_product_is_distinguished_from_no_purchase() {
    let shop = Shop::open();
    let said = shop.says(&["why", "nobody"]);
    assert!(
        said.starts_with("No payment or grant is recorded for the learner nobody.\n"),
        "{said}"
    );
    let said = shop.says(&["why", "nobody", "tutorclaw"]);
    assert!(said.starts_with("No payment or grant for tutorclaw is recorded"), "{said}");
    let said = shop.says(&["why", "pi_1"]);
    assert!(said.contains("looks like the id of a payment") && !said.contains("doctor"), "{said}");
    let none = shop.refuses(&["why", "nobody", "tutorclawx"]);
    assert!(
        none.ends_with("take one of tutorclaw, curriculum, retrieval, voice, production\n"),
        "{none}"
    );
}

#[test]
fn a_grant_opens_and_is_explained_until_revoked() {
    let shop = Shop::open();
    let ada = shop.sign_in("ada@example.com");
    for (arguments, expected) in [
        (&["tutorclawx", "--reason", "a prize"][..], "take one of tutorclaw, curriculum"),
        (&["tutorclaw", "--reason", "a prize", "--until", "2020-01-31"], "give a later --until"),
    ] {
        let problem = shop.refuses(&[&["grant", &ada.id], arguments].concat());
        assert!(problem.contains(expected), "{problem}");
    }
    for arguments in [
        &["grant", &ada.id, "tutorclaw"][..],
        &["grant", &ada.id, "tutorclaw", "--reason", " "],
        &["grant", "a b", "tutorclaw", "--reason", "a prize"],
        &["grant", &ada.id, "tutorclaw", "--reason", "a prize", "--until", "next year"],
        &["revoke", "ch_1", "--reason", "a slip"],
    ] {
        assert_eq!(shop.run(arguments).code, Some(2), "{arguments:?}");
    }
    assert!(!shop.lets_in(&ada));

    let until = ["--reason", "first prize", "--until", "2099-01-31"];
    let said = shop.says(&[&["grant", &ada.id, "tutorclaw"], &until[..]].concat());
    let source = said.split(' ').next().unwrap().to_owned();
    let begins = format!("{source} gives tutorclaw to {} until 2099-01-31 23:59 UTC.\n", ada.id);
    assert!(source.starts_with("grant_") && said.starts_with(&begins), "{said}");
    assert!(shop.lets_in(&ada));
    let why = plain(&shop.says(&["why", &ada.id]), &[(&source, "GRANT")]);
    let given = "
  GRANT active
    given until TIME UTC
    TIME  opens     Granted by grace: first prize
";
    assert!(why.ends_with(given), "{why}");

    let said = shop.says(&["revoke", &source, "--reason", "wrong person"]);
    let closed = format!(
        "no longer opens anything, and never will again.\ntutorclaw is closed for {}",
        ada.id
    );
    assert!(said.contains(&closed) && !said.contains("money"), "{said}");
    assert!(!shop.lets_in(&ada));
    let said = shop.says(&["revoke", &source, "--reason", "once more"]);
    assert!(
        said.contains("was revoked already") && said.contains("by grace: wrong person"),
        "{said}"
    );
    let why = shop.says(&["why", &ada.id]);
    let revoked = "CLOSED since TIME UTC. Revoked by grace: wrong person\n";
    let why = plain(&why, &[]);
    assert!(why.contains(revoked), "{why}");
    assert!(why.contains("    TIME  closes    Revoked by grace: wrong person\n"), "{why}");
    let unknown = shop.refuses(&["revoke", "pi_unknown", "--reason", "a slip"]);
    assert!(unknown.contains("has no source pi_unknown"), "{unknown}");
}

#[test]
fn revoking_a_payment_moves_no_money_and_spares_other_sources() {
    let shop = Shop::open();
    let ada = shop.sign_in("ada@example.com");
    let paid = shop.buy(&ada, "tutorclaw_paid");
    let given = shop.says(&["grant", &ada.id, "tutorclaw", "--reason", "a prize"]);
    let grant = given.split(' ').next().unwrap().to_owned();
    shop.stripe("/v1/refunds", &[("payment_intent", &paid.payment), ("amount", "300")]);
    shop.wait_for_deliveries();
    let said = shop.says(&["revoke", &paid.payment, "--reason", "asked for by mail"]);
    for part in [
        &format!("tutorclaw stays open for {}: {grant} opens it too.", ada.id),
        "This moves no money: 6.99 USD of the payment is not refunded.",
    ] {
        assert!(said.contains(part), "{said}");
    }
    assert_eq!(shop.status(&ada, &paid.payment).as_deref(), Some("revoked"));
    assert!(shop.lets_in(&ada));
    shop.says(&["revoke", &grant, "--reason", "it is enough"]);
    assert!(!shop.lets_in(&ada));
}

#[test]
fn a_duplicate_payment_is_listed_until_refunded() {
    let shop = Shop::open();
    assert_eq!(shop.says(&["double-payments"]), "Nobody has paid twice for the same product.\n");
    let ada = shop.sign_in("ada@example.com");
    let first = shop.buy(&ada, "tutorclaw_paid");
    // Stripe's clock counts in seconds.
    shop.sim("/_sim/advance", &json!({"seconds": 60}));
    let second = shop.buy_again(&ada);
    let names = [(first.payment.as_str(), "FIRST"), (second.payment.as_str(), "SECOND")];
    let said = plain(&shop.says(&["double-payments"]), &names);
    let expected = format!(
        "{}: tutorclaw
  FIRST      9.99 USD  TIME UTC  the first one: it stays
  SECOND      9.99 USD  TIME UTC  the later one: refund it
",
        ada.id
    );
    assert!(said.starts_with(&expected), "{said}");
    let why = shop.says(&["why", &ada.id]);
    let (of_first, of_second) = why.split_once(&second.payment).unwrap();
    assert!(!of_first.contains("PAID TWICE") && of_second.contains("PAID TWICE"), "{why}");
    let doctor = shop.says(&["doctor"]);
    let note = "double payments  learners who paid twice for one product: 1";
    assert!(doctor.contains(note), "{doctor}");

    shop.stripe("/v1/refunds", &[("payment_intent", &second.payment)]);
    shop.wait_until(&ada, &second.payment, "refunded");
    let said = shop.says(&["double-payments"]);
    assert_eq!(said, "Nobody has paid twice for the same product.\n");
    assert!(shop.lets_in(&ada));
}
