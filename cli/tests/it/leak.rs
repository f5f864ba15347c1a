//! A signing secret that has leaked: what forged events do with it, and what ends that.

use std::process::{Command, Stdio};

use serde_json::{Value, json};
use shared::ports::{Clock as _, SystemClock};

use crate::shop::{Shop, finish, plain};

impl Shop {
    /// The current signing secret.
    fn signing_secret(&self) -> String {
        let secret = json!({"SecretId": "coursegate/StripeSigningSecret"});
        let stored = self.aws("secrets_manager", "secretsmanager.GetSecretValue", &secret);
        stored["SecretString"].as_str().unwrap().to_owned()
    }

    /// Somebody who has this secret tells of a purchase that never was; the webhook's status.
    fn forge(&self, secret: &str, event: &str, session: &Value) -> String {
        let now = SystemClock.now().unix_seconds();
        let event = json!({
            "id": event, "object": "event", "type": "checkout.session.completed", "created": now,
            "livemode": false, "data": {"object": session},
        });
        let event = event.to_string();
        let signature = samples::signature(&event, secret, now);
        let url = self.running.addresses["webhook"].as_str().unwrap();
        let header = format!("stripe-signature: {signature}");
        let mut curl = Command::new("curl");
        curl.args(["-s", "-o", "/dev/null", "-w", "%{http_code}", url, "-H", &header]);
        curl.args(["-H", "content-type: application/json", "--data-binary", &event]);
        finish(curl.stdout(Stdio::piped()).stderr(Stdio::piped()), "").out
    }

    /// The processes of the webhook function.
    fn webhook_processes(&self) -> Vec<u64> {
        let health = self.ask("gateway", "/local/health", &[], None);
        let processes = health["functions"]["webhook"]["processes"].as_array().unwrap();
        processes.iter().map(|process| process.as_u64().unwrap()).collect()
    }
}

/// A session that never was, with this payment.
fn session(shop: &Shop, payment: &Value, learner: &str) -> Value {
    json!({
        "id": "cs_test_forged", "object": "checkout.session", "mode": "payment",
        "status": "complete", "payment_status": "paid", "payment_intent": payment,
        "metadata": {
            "coursegate": shop.mark(), "learner_id": learner, "product": "tutorclaw",
            "price": "tutorclaw_paid",
        },
        "amount_total": 999, "currency": "usd", "created": SystemClock.now().unix_seconds(),
    })
}

#[test]
fn every_running_function_refuses_a_leaked_secret() {
    for shop in [Shop::open(), Shop::open_throttled()] {
        let leaked = shop.signing_secret();
        let nothing = json!({"id": "cs_test_1", "object": "checkout.session"});
        assert_eq!(shop.forge(&leaked, "evt_1", &nothing), "200", "so that the function is warm");
        let before = shop.webhook_processes();
        let said = shop.says(&["webhook", "rotate", "--now"]);
        let refused = "the webhook refused 10 events signed with the old secret";
        assert!(said.contains(refused), "{said}");
        for _ in 0..5 {
            assert_eq!(shop.forge(&leaked, "evt_2", &nothing), "400");
        }
        let after = shop.webhook_processes();
        assert!(after.iter().all(|process| !before.contains(process)), "{before:?} {after:?}");
        shop.buy(&shop.sign_in("ada@example.com"), "tutorclaw_paid");
    }
}

#[test]
fn access_from_forged_events_is_listed_until_revoked() {
    let shop = Shop::open();
    let none = "Looked up 0 sources at Stripe: everything that gives access was paid for.\n";
    assert_eq!(shop.says(&["unknown-sources"]), none);
    let ada = shop.sign_in("ada@example.com");
    shop.buy(&ada, "tutorclaw_paid");
    let one = "Looked up 1 source at Stripe: everything that gives access was paid for.\n";
    assert_eq!(shop.says(&["unknown-sources"]), one);

    // Eve has the secret: a payment that never was, Ada's, and a session that she has not paid.
    let eve = shop.sign_in("eve@example.com");
    let secret = shop.signing_secret();
    let unpaid = shop.check_out(&eve, "tutorclaw_paid");
    let mut hers = session(&shop, &Value::Null, &eve.id);
    hers["id"] = unpaid.as_str().into();
    hers["payment_status"] = "no_payment_required".into();
    for (event, session) in
        [("evt_1", session(&shop, &json!("pi_forged"), &eve.id)), ("evt_2", hers)]
    {
        assert_eq!(shop.forge(&secret, event, &session), "200");
    }
    assert!(shop.lets_in(&eve));

    let said = shop.says(&["unknown-sources"]);
    let names = [(eve.id.as_str(), "EVE"), (unpaid.as_str(), "CS_UNPAID")];
    let said = plain(&said, &names);
    for says in [
        "pi_forged opens tutorclaw for EVE since TIME UTC.\n  Stripe doesn't have it.\n",
        "CS_UNPAID opens tutorclaw for EVE since TIME UTC.\n  Stripe says that it isn't paid: it is \
         open.\n",
        "\nLooked up 3 sources at Stripe: 2 to revoke, each with `coursegate revoke SOURCE \
         --reason TEXT --gateway-port ",
    ] {
        assert!(said.contains(says), "{said}");
    }

    let doctor = shop.run(&["doctor"]);
    assert!(doctor.out.contains("doesn't report as paid: 2"), "{}", doctor.out);
    assert!(doctor.out.contains("`coursegate unknown-sources --gateway-port"), "{}", doctor.out);
    for source in ["pi_forged", &unpaid] {
        shop.says(&["revoke", source, "--reason", "forged"]);
    }
    assert!(!shop.lets_in(&eve) && shop.lets_in(&ada));
    assert_eq!(shop.says(&["unknown-sources"]), one);
    assert!(shop.says(&["doctor"]).contains("Stripe confirms every payment that gives access: 1"));
}

#[test]
fn no_source_is_called_unknown_while_stripe_is_down() {
    let shop = Shop::open();
    let eve = shop.sign_in("eve@example.com");
    let forged = session(&shop, &json!("pi_forged"), &eve.id);
    assert_eq!(shop.forge(&shop.signing_secret(), "evt_1", &forged), "200");
    let fault = json!({"method": "GET", "path": "/v1/payment_intents", "status": 500, "times": 99});
    shop.sim("/_sim/faults", &fault);
    let said = shop.run(&["unknown-sources"]);
    assert_eq!((said.out.as_str(), said.code), ("", Some(1)));
    assert!(said.problem.contains("there is no result"), "{}", said.problem);
    let doctor = shop.run(&["doctor"]);
    assert!(doctor.out.contains("can't check whether Stripe knows the payments"), "{}", doctor.out);
    assert!(!doctor.out.contains("pi_forged"), "{}", doctor.out);
}
