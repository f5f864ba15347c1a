//! The simulator's only account.

use serde_json::{Value, json};

use crate::document::Document;
use crate::resources::lists;
use crate::state::Call;
use crate::store::Kind;

/// The shop's name, as buyers see it.
pub(crate) const BUSINESS_NAME: &str = "Test shop";

/// When the account was created: long before anything else here.
const CREATED: i64 = 1_700_000_000;

pub(crate) fn retrieve(call: &mut Call<'_>) -> Value {
    let id = call.account();
    let external_accounts =
        lists::page_of(&format!("/v1/accounts/{id}/external_accounts"), Vec::new(), false);
    json!({
        "id": id,
        "object": "account",
        "business_profile": {
            "annual_revenue": null,
            "estimated_worker_count": null,
            "mcc": null,
            "minority_owned_business_designation": null,
            "name": BUSINESS_NAME,
            "product_description": null,
            "support_address": null,
            "support_email": null,
            "support_phone": null,
            "support_url": null,
            "url": null,
        },
        "business_type": null,
        "capabilities": {
            "card_payments": "active",
            "sepa_debit_payments": "active",
            "transfers": "active",
        },
        "charges_enabled": true,
        "controller": { "type": "account" },
        "country": "US",
        "created": CREATED,
        "default_currency": "usd",
        "details_submitted": true,
        "email": "shop@example.com",
        "external_accounts": external_accounts,
        "future_requirements": nothing_required(),
        "metadata": {},
        "payouts_enabled": true,
        "requirements": nothing_required(),
        "settings": settings(),
        "tos_acceptance": { "date": CREATED, "ip": null, "user_agent": null },
        "type": "standard",
    })
}

const MANAGED_PAYMENTS: &str = "managed_payments";

/// Whether Link is the seller in a session that doesn't say. Stripe sets some new accounts up this
/// way, without a setting for it: <https://docs.stripe.com/payments/managed-payments>
pub(crate) fn has_managed_payments(call: &Call<'_>) -> bool {
    let setting = call.store.get(Kind::Setting, MANAGED_PAYMENTS);
    setting.is_some_and(|setting| setting.is_true("enabled"))
}

pub(crate) fn set_managed_payments(call: &mut Call<'_>, enabled: bool) {
    call.store.put(Kind::Setting, MANAGED_PAYMENTS, json!({ "enabled": enabled }));
}

/// Stripe requires no further documents.
fn nothing_required() -> Value {
    json!({
        "alternatives": [],
        "current_deadline": null,
        "currently_due": [],
        "disabled_reason": null,
        "errors": [],
        "eventually_due": [],
        "past_due": [],
        "pending_verification": [],
    })
}

fn settings() -> Value {
    json!({
        "bacs_debit_payments": { "display_name": null, "service_user_number": null },
        "branding": { "icon": null, "logo": null, "primary_color": null, "secondary_color": null },
        "card_issuing": { "tos_acceptance": { "date": null, "ip": null } },
        "card_payments": {
            "decline_on": { "avs_failure": false, "cvc_failure": false },
            "statement_descriptor_prefix": null,
            "statement_descriptor_prefix_kana": null,
            "statement_descriptor_prefix_kanji": null,
        },
        "dashboard": { "display_name": BUSINESS_NAME, "timezone": "Etc/UTC" },
        "invoices": { "default_account_tax_ids": null, "hosted_payment_method_save": null },
        "payments": {
            "statement_descriptor": "TEST SHOP",
            "statement_descriptor_kana": null,
            "statement_descriptor_kanji": null,
            "statement_descriptor_prefix_kana": null,
            "statement_descriptor_prefix_kanji": null,
        },
        "payouts": {
            "debit_negative_balances": true,
            "schedule": { "delay_days": 2, "interval": "daily" },
            "statement_descriptor": null,
        },
        "sepa_debit_payments": {},
    })
}
