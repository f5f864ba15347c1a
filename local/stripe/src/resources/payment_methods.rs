//! Payment methods, without the secret details.

use serde_json::{Value, json};

use crate::cards::TestCard;
use crate::id;
use crate::state::Call;
use crate::store::Kind;

/// The buyer's payment method.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Method {
    Card(&'static TestCard),
    /// A bank debit, which takes days to settle.
    SepaDebit,
}

pub(crate) fn add(call: &mut Call<'_>, method: Method, email: &str, name: &str) -> Value {
    let id = id::payment_method();
    let (kind, details) = match method {
        Method::Card(card) => ("card", card_details(card)),
        Method::SepaDebit => (
            "sepa_debit",
            json!({
                "bank_code": "37040044",
                "branch_code": "",
                "country": "DE",
                "fingerprint": id::random("", 16),
                "generated_from": { "charge": null, "setup_attempt": null },
                "last4": "3000",
            }),
        ),
    };
    let text_or_null = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let method = json!({
        "id": id,
        "object": "payment_method",
        "allow_redisplay": "limited",
        "billing_details": {
            "address": {
                "city": null,
                "country": null,
                "line1": null,
                "line2": null,
                "postal_code": null,
                "state": null,
            },
            "email": text_or_null(email),
            "name": text_or_null(name),
            "phone": null,
            "tax_id": null,
        },
        kind: details,
        "created": call.now,
        "customer": null,
        "customer_account": null,
        "livemode": false,
        "metadata": {},
        "type": kind,
    });
    call.store.put(Kind::PaymentMethod, &id, method.clone());
    method
}

fn card_details(card: &TestCard) -> Value {
    json!({
        "brand": card.brand,
        "checks": { "address_line1_check": null, "address_postal_code_check": null, "cvc_check": "pass" },
        "country": "US",
        "display_brand": card.brand,
        "exp_month": 12,
        "exp_year": 2034,
        "fingerprint": card.fingerprint(),
        "funding": "credit",
        "generated_from": null,
        "last4": card.last4(),
        "networks": { "available": [card.brand], "preferred": null },
        "regulated_status": "unregulated",
        "three_d_secure_usage": { "supported": true },
        "wallet": null,
    })
}
