//! Restricted keys: what a key may read and write. A restricted key without configured permissions
//! may do everything, like a secret key.

use serde_json::Value;

use crate::document::Document;
use crate::error::ApiError;
use crate::resources::ApiRequest;
use crate::state::Call;
use crate::store::Kind;

/// A kind of resource with its own permission.
struct Resource {
    /// Its paths under `/v1/` or `/v2/`; the first is its name.
    paths: &'static [&'static str],
    /// Stripe's name for its permission, between `rak_` and `_read` or `_write`. Some names are
    /// older than the resource.
    permission: &'static str,
    /// The kinds of objects that expanding it returns.
    kinds: &'static [Kind],
    /// Resources that this one's read permission includes.
    implies: &'static [&'static str],
}

/// <https://docs.stripe.com/stripe-apps/reference/permissions>. Refunds use the permission of
/// charges; for early fraud warnings Stripe names none.
const RESOURCES: &[Resource] = &[
    resource(&["account"], "accounts_kyc_basic", &[], &[]),
    resource(&["billing_portal/configurations"], "customer_portal", &[], &[]),
    resource(
        &["charges", "refunds", "radar/early_fraud_warnings"],
        "charge",
        &[Kind::Charge, Kind::Refund, Kind::EarlyFraudWarning],
        &[],
    ),
    resource(&["checkout/sessions"], "checkout_session", &[], &["payment_intents", "products"]),
    resource(&["customers"], "customer", &[Kind::Customer], &[]),
    resource(&["disputes"], "dispute", &[Kind::Dispute], &[]),
    resource(&["core/event_destinations"], "event_destination", &[], &[]),
    resource(&["events"], "event", &[], &[]),
    resource(&["invoice_payments"], "invoice", &[], &[]),
    resource(&["payment_intents"], "payment_intent", &[Kind::PaymentIntent], &["products"]),
    resource(&["payment_methods"], "payment_method", &[Kind::PaymentMethod], &[]),
    resource(&["prices"], "plan", &[Kind::Price], &["products"]),
    resource(&["products"], "product", &[Kind::Product], &[]),
    resource(&["tax/settings"], "tax_settings", &[], &[]),
    resource(&["webhook_endpoints"], "webhook", &[], &[]),
];

const fn resource(
    paths: &'static [&'static str],
    permission: &'static str,
    kinds: &'static [Kind],
    implies: &'static [&'static str],
) -> Resource {
    Resource { paths, permission, kinds, implies }
}

impl Resource {
    /// Its name in the control API.
    fn name(&self) -> String {
        self.paths.first().copied().unwrap_or_default().replace('/', "_")
    }

    /// Whether a request's path belongs to it.
    fn is_at(&self, path: &str) -> bool {
        let path = path.strip_prefix("/v1/").or_else(|| path.strip_prefix("/v2/"));
        let Some(path) = path else { return false };
        self.paths
            .iter()
            .filter_map(|own| path.strip_prefix(own))
            .any(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

/// The level of access to a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Level {
    /// No access.
    None,
    Read,
    /// Includes reading.
    Write,
}

impl Level {
    const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Read => "read",
            Self::Write => "write",
        }
    }
}

/// Sets a restricted key's permissions; it has no others.
pub(crate) fn restrict(
    call: &mut Call<'_>,
    key: &str,
    levels: &[(String, Level)],
) -> Result<Value, ApiError> {
    if key.strip_prefix("rk_test_").is_none_or(str::is_empty) {
        return Err(ApiError::invalid_request(
            "Invalid key: only a key that starts with rk_test_ can be restricted.",
        ));
    }
    let names: Vec<String> = RESOURCES.iter().map(Resource::name).collect();
    if let Some((unknown, _)) = levels.iter().find(|(name, _)| !names.contains(name)) {
        return Err(ApiError::invalid_request(format!(
            "Unknown resource: {unknown}. Known resources: {}.",
            names.join(", ")
        )));
    }
    let levels: Value =
        levels.iter().map(|(name, level)| (name.clone(), Value::from(level.name()))).collect();
    call.store.put(Kind::RestrictedKey, key, levels.clone());
    Ok(levels)
}

/// A key's permissions.
pub(crate) struct Permissions(Option<Restricted>);

struct Restricted {
    levels: Value,
    /// The key as Stripe shows it.
    key: String,
    account: String,
}

/// The permissions of a request's key.
pub(crate) fn of(call: &mut Call<'_>, key: &str) -> Permissions {
    let Some(levels) = call.store.get(Kind::RestrictedKey, key).cloned() else {
        return Permissions(None);
    };
    Permissions(Some(Restricted { levels, key: masked(key), account: call.account() }))
}

fn masked(key: &str) -> String {
    let shown = key.len().saturating_sub(4).max("rk_test_".len());
    let (hidden, end) = key.split_at_checked(shown).unwrap_or((key, ""));
    let stars = hidden.chars().skip("rk_test_".len()).map(|_| '*');
    format!("rk_test_{}{end}", stars.collect::<String>())
}

impl Permissions {
    /// Refuses a request that the key may not make, whatever its parameters.
    pub(crate) fn check(&self, request: &ApiRequest) -> Result<(), ApiError> {
        let wanted = if request.method == "GET" { Level::Read } else { Level::Write };
        match RESOURCES.iter().find(|resource| resource.is_at(&request.path)) {
            Some(resource) => self.require(resource, wanted),
            None => Ok(()),
        }
    }

    /// Refuses to expand what the key may not read.
    pub(crate) fn check_expanded(&self, kind: Kind) -> Result<(), ApiError> {
        match RESOURCES.iter().find(|resource| resource.kinds.contains(&kind)) {
            Some(resource) => self.require(resource, Level::Read),
            None => Ok(()),
        }
    }

    fn require(&self, resource: &Resource, wanted: Level) -> Result<(), ApiError> {
        let Some(restricted) = &self.0 else { return Ok(()) };
        if restricted.allows(resource, wanted) {
            return Ok(());
        }
        let Restricted { key, account, .. } = restricted;
        let permission = format!("rak_{}_{}", resource.permission, wanted.name());
        // Operators' tools parse the permission from this message, so it has Stripe's wording.
        let message = format!(
            "The provided key '{key}' does not have the required permissions for this endpoint on account '{account}'. Having the '{permission}' permission would allow this request to continue."
        );
        Err(ApiError::new(403, "invalid_request_error", message).unexecuted())
    }
}

impl Restricted {
    fn allows(&self, resource: &Resource, wanted: Level) -> bool {
        match (self.levels.text(&resource.name()), wanted) {
            ("write", _) | ("read", Level::Read) => true,
            (_, Level::Write) => false,
            (_, _) => RESOURCES.iter().any(|other| {
                other.implies.contains(&resource.name().as_str())
                    && matches!(self.levels.text(&other.name()), "read" | "write")
            }),
        }
    }
}
