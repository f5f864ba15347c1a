//! The one account that the simulator is.

use serde_json::{Value, json};

use crate::state::Call;

pub(crate) fn retrieve(call: &mut Call<'_>) -> Value {
    json!({
        "id": call.account(),
        "object": "account",
        "business_profile": null,
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
