//! What a payment pays for, as Stripe's API says. Payment intents of invoices carry no metadata of
//! ours: <https://docs.stripe.com/api/invoice-payment/object>.

use serde_json::{Value, json};
use shared::domain::decide::PaymentFor;
use shared::domain::shop::Owner;
use shared::stripe::wire::subscription_of_payment_from_api;

fn invoice(id: &str, parent: &Value) -> Value {
    json!({"object": "invoice_payment", "invoice": {"id": id, "object": "invoice", "parent": parent}})
}

fn of_subscription(subscription: &Value, metadata: &Value) -> Value {
    json!({
        "type": "subscription_details",
        "quote_details": null,
        "subscription_details": {"subscription": subscription, "metadata": metadata},
    })
}

fn read(payments: &[Value]) -> Result<Option<PaymentFor>, String> {
    let list = json!({"object": "list", "has_more": false, "data": payments});
    subscription_of_payment_from_api(&list.to_string())
}

#[test]
fn the_invoices_of_a_payment_name_its_subscription_and_owner() {
    let (marked, theirs) = (json!({"coursegate": "ours"}), json!({"plan": "gold"}));
    let of = |subscription: &str, invoice: &str, owner| {
        let (subscription, invoice) = (subscription.parse().unwrap(), invoice.parse().unwrap());
        Some(PaymentFor::Subscription(subscription, invoice, owner))
    };
    let ours = Owner::Marked("ours".parse().unwrap());
    let (by_id, expanded) = (json!("sub_1"), json!({"id": "sub_1", "object": "subscription"}));
    for (payments, expected) in [
        (vec![], None),
        (
            vec![invoice("in_1", &of_subscription(&by_id, &marked))],
            of("sub_1", "in_1", ours.clone()),
        ),
        (
            vec![invoice("in_1", &of_subscription(&expanded, &marked))],
            of("sub_1", "in_1", ours.clone()),
        ),
        (
            vec![invoice("in_1", &of_subscription(&by_id, &theirs))],
            of("sub_1", "in_1", Owner::Unmarked),
        ),
        (
            vec![invoice("in_1", &of_subscription(&by_id, &Value::Null))],
            of("sub_1", "in_1", Owner::Unmarked),
        ),
        // An invoice that somebody created by hand or from a quote.
        (vec![invoice("in_1", &Value::Null)], None),
        (
            vec![invoice("in_1", &json!({"type": "quote_details", "subscription_details": null}))],
            None,
        ),
        // One payment of several invoices, one of them ours.
        (
            vec![
                invoice("in_1", &of_subscription(&json!("sub_2"), &theirs)),
                invoice("in_2", &of_subscription(&by_id, &marked)),
            ],
            of("sub_1", "in_2", ours),
        ),
    ] {
        assert_eq!(read(&payments), Ok(expected), "{payments:#?}");
    }
}

#[test]
fn an_unreadable_invoice_is_never_taken_for_somebody_else_s() {
    let not_expanded = json!({"object": "invoice_payment", "invoice": "in_1"});
    let nameless = invoice("in_1", &of_subscription(&Value::Null, &json!({})));
    let no_metadata = json!({"subscription_details": {"subscription": "sub_1"}});
    let odd_mark = of_subscription(&json!("sub_1"), &json!({"coursegate": 7}));
    for (payment, reason) in [
        (not_expanded, "invoice payments: invoice is not an object"),
        (nameless, "invoice: subscription is not text"),
        (invoice("in_1", &no_metadata), "invoice: metadata is missing"),
        (invoice("in_1", &odd_mark), "invoice: metadata.coursegate is not text"),
        (
            invoice("pi_1", &of_subscription(&json!("sub_1"), &json!({}))),
            "invoice: id: a Stripe invoice id is like in_…",
        ),
    ] {
        assert_eq!(read(&[payment]), Err(reason.to_owned()));
    }
    let page = json!({"object": "list", "has_more": true, "data": []}).to_string();
    let reason = "invoice payments: there is more than one page".to_owned();
    assert_eq!(subscription_of_payment_from_api(&page), Err(reason));
}
