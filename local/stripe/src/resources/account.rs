//! The one account that the simulator is.

use serde_json::{Value, json};

use crate::state::Call;

/// The shop's name, as buyers see it.
pub(crate) const BUSINESS_NAME: &str = "Test shop";

pub(crate) fn retrieve(call: &mut Call<'_>) -> Value {
    json!({
        "id": call.account(),
        "object": "account",
        "business_profile": {
            "mcc": null,
            "name": BUSINESS_NAME,
            "product_description": null,
            "support_address": null,
            "support_email": null,
            "support_phone": null,
            "support_url": null,
            "url": null,
        },
        "business_type": null,
        "capabilities": { "card_payments": "active", "transfers": "active" },
        "charges_enabled": true,
        "controller": { "type": "account" },
        "country": "US",
        "created": 1_700_000_000,
        "default_currency": "usd",
        "details_submitted": true,
        "email": "shop@example.com",
        "external_accounts": null,
        "metadata": {},
        "payouts_enabled": true,
        "settings": null,
        "tos_acceptance": null,
        "type": "standard",
    })
}
