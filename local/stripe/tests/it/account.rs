//! The account itself, the customer portal, tax, and keys.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::shop::{Answer, Shop};

/// Every field of an object, in order.
fn fields(object: &Value) -> Vec<&str> {
    object.as_object().unwrap().keys().map(String::as_str).collect()
}

#[tokio::test]
async fn the_account_id_survives_a_reset() {
    let shop = Shop::open().await;
    let account = shop.get("/v1/account").await.ok();
    assert!(account["id"].as_str().unwrap().starts_with("acct_1"));
    for ready in ["charges_enabled", "payouts_enabled", "details_submitted"] {
        assert_eq!(account[ready], true, "{ready}");
    }
    assert_eq!(account["settings"]["dashboard"]["display_name"], "Test shop");
    assert_eq!(account["business_profile"]["name"], "Test shop");
    assert_eq!((&account["country"], &account["default_currency"]), (&json!("US"), &json!("usd")));
    shop.control(Method::DELETE, "/state", json!(null)).await.ok();
    assert_eq!(shop.get("/v1/account").await.ok(), account);
}

#[tokio::test]
async fn the_portal_has_no_default_until_its_settings_are_saved() {
    let shop = Shop::open().await;
    let path = "/v1/billing_portal/configurations";
    assert_eq!(shop.get(path).await.ok()["data"], json!([]));
    // Those that the API creates are active, and never the default.
    let form = [("features[invoice_history][enabled]", "true"), ("login_page[enabled]", "true")];
    let made = shop.post(path, &form).await.ok();
    assert_eq!((&made["active"], &made["is_default"]), (&json!(true), &json!(false)));
    assert_eq!(made["features"]["invoice_history"], json!({"enabled": true}));
    assert_eq!(made["features"]["subscription_cancel"]["enabled"], false);
    assert!(made["login_page"]["url"].is_string());
    let default = format!("{path}?is_default=true&active=true");
    assert_eq!(shop.get(&default).await.ok()["data"], json!([]));

    let saved = shop.control(Method::POST, "/billing_portal/default", json!(null)).await.ok();
    assert_eq!(saved["is_default"], true);
    let again = shop.control(Method::POST, "/billing_portal/default", json!(null)).await.ok();
    assert_eq!(again, saved);
    assert_eq!(shop.get(&default).await.ok()["data"], json!([saved]));
    let all = shop.get(path).await.ok();
    assert_eq!(all["data"].as_array().unwrap().len(), 2);
    assert_eq!(shop.get(&format!("{path}/{}", made["id"].as_str().unwrap())).await.ok(), made);
    assert_eq!(
        fields(&made),
        [
            "active",
            "application",
            "business_profile",
            "created",
            "default_return_url",
            "features",
            "id",
            "is_default",
            "livemode",
            "login_page",
            "metadata",
            "name",
            "object",
            "updated"
        ]
    );
    let (status, error) = shop.post(path, &[("name", "x")]).await.error();
    assert_eq!((status, &error["param"]), (400, &json!("features")));
    let unknown = [("features[invoice_histroy][enabled]", "true")];
    assert_eq!(shop.post(path, &unknown).await.error().1["code"], "parameter_unknown");
}

#[tokio::test]
async fn tax_is_pending_until_the_head_office_is_set() {
    let shop = Shop::open().await;
    let path = "/v1/tax/settings";
    let pending = shop.get(path).await.ok();
    assert_eq!(
        pending,
        json!({
            "object": "tax.settings",
            "defaults": {"provider": "stripe", "tax_behavior": null, "tax_code": null},
            "head_office": null,
            "livemode": false,
            "status": "pending",
            "status_details": {"pending": {"missing_fields": ["head_office"]}},
        })
    );
    let still = shop.post(path, &[("defaults[tax_code]", "txcd_10000000")]).await.ok();
    assert_eq!(still["status"], "pending");
    let form = [("head_office[address][country]", "DE"), ("defaults[tax_behavior]", "inclusive")];
    let active = shop.post(path, &form).await.ok();
    assert_eq!(
        (&active["status"], &active["status_details"]),
        (&json!("active"), &json!({"active": {}}))
    );
    assert_eq!(
        active["head_office"]["address"],
        json!({"city": null, "country": "DE", "line1": null, "line2": null, "postal_code": null, "state": null})
    );
    assert_eq!(
        active["defaults"],
        json!({"provider": "stripe", "tax_behavior": "inclusive", "tax_code": "txcd_10000000"})
    );
    assert_eq!(shop.post(path, &[("defaults[tax_code]", "")]).await.ok(), active);
    assert_eq!(shop.get(path).await.ok(), active);
    let (status, error) = shop.post(path, &[("head_office[address][city]", "Ulm")]).await.error();
    assert_eq!((status, &error["param"]), (400, &json!("head_office[address][country]")));
}

/// A key with these permissions, and a request with it.
struct Restricted<'a> {
    shop: &'a Shop,
    key: &'a str,
}

impl<'a> Restricted<'a> {
    async fn new(shop: &'a Shop, key: &'a str, permissions: Value) -> Self {
        let body = json!({"key": key, "permissions": permissions});
        shop.control(Method::POST, "/keys", body).await.ok();
        Self { shop, key }
    }

    async fn send(&self, method: Method, path: &str, form: &str) -> Answer {
        let request = self.shop.request(method, path).bearer_auth(self.key);
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        Shop::send(request.body(form.to_owned())).await
    }

    /// The permission that a refused request lacks, according to the error.
    async fn lacks(&self, method: Method, path: &str, form: &str) -> String {
        let (status, error) = self.send(method, path, form).await.error();
        assert_eq!(status, 403, "{path}: {error}");
        assert_eq!(error["type"], "invalid_request_error");
        assert_eq!(error.get("code"), None);
        let message = error["message"].as_str().unwrap();
        let name = message.split('\'').find(|part| part.starts_with("rak_"));
        name.unwrap_or_else(|| panic!("{message}")).to_owned()
    }
}

#[tokio::test]
async fn a_restricted_key_error_names_the_missing_permission() {
    let shop = Shop::open().await;
    let permissions = json!({
        "checkout_sessions": "write",
        "customers": "none",
        "webhook_endpoints": "read",
    });
    let key = Restricted::new(&shop, "rk_test_partial_1234", permissions).await;
    let cases = [
        (Method::GET, "/v1/account", "rak_accounts_kyc_basic_read"),
        (Method::GET, "/v1/billing_portal/configurations", "rak_customer_portal_read"),
        (Method::GET, "/v1/charges", "rak_charge_read"),
        (Method::GET, "/v1/refunds", "rak_charge_read"),
        (Method::POST, "/v1/refunds/re_none/cancel", "rak_charge_write"),
        (Method::GET, "/v1/radar/early_fraud_warnings", "rak_charge_read"),
        (Method::GET, "/v1/disputes", "rak_dispute_read"),
        (Method::POST, "/v1/disputes/du_none/close", "rak_dispute_write"),
        (Method::GET, "/v1/customers", "rak_customer_read"),
        (Method::POST, "/v1/customers", "rak_customer_write"),
        (Method::DELETE, "/v1/customers/cus_none", "rak_customer_write"),
        (Method::GET, "/v1/events", "rak_event_read"),
        (Method::POST, "/v1/payment_intents/pi_none", "rak_payment_intent_write"),
        (Method::GET, "/v1/prices", "rak_plan_read"),
        (Method::POST, "/v1/products", "rak_product_write"),
        (Method::GET, "/v1/tax/settings", "rak_tax_settings_read"),
        (Method::POST, "/v1/webhook_endpoints", "rak_webhook_write"),
    ];
    for (method, path, permission) in cases {
        // Parameters don't matter: these are nonsense, and nothing reads them.
        assert_eq!(key.lacks(method, path, "nonsense=1").await, permission, "{path}");
    }
    let account = shop.get("/v1/account").await.ok();
    let (_, error) = key.send(Method::GET, "/v1/account", "").await.error();
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("rk_test_********1234"), "{message}");
    assert!(message.contains(account["id"].as_str().unwrap()), "{message}");
}

#[tokio::test]
async fn write_permission_on_a_restricted_key_implies_read() {
    let shop = Shop::open().await;
    let price = shop.price(2900).await;
    let permissions = json!({"checkout_sessions": "write", "webhook_endpoints": "read"});
    let key = Restricted::new(&shop, "rk_test_sells", permissions).await;
    let form = format!(
        "mode=payment&line_items[0][price]={price}&line_items[0][quantity]=1\
         &success_url=https://shop.example/"
    );
    let session = key.send(Method::POST, "/v1/checkout/sessions", &form).await.ok();
    let session = format!("/v1/checkout/sessions/{}", session["id"].as_str().unwrap());
    key.send(Method::GET, &session, "").await.ok();
    key.send(Method::GET, "/v1/webhook_endpoints", "").await.ok();
    // Reading sessions includes reading their payment intents and products, but not writing them.
    key.send(Method::GET, "/v1/payment_intents", "").await.ok();
    key.send(Method::GET, "/v1/products", "").await.ok();
    assert_eq!(key.lacks(Method::POST, "/v1/products", "name=x").await, "rak_product_write");
    // An unknown path is unknown to every key, and has no permission.
    assert_eq!(key.send(Method::GET, "/v1/subscriptions", "").await.error().0, 404);
}

#[tokio::test]
async fn a_key_cannot_expand_what_it_cannot_read() {
    let shop = Shop::open().await;
    let session = shop.session().await;
    shop.pay(&session, "4242424242424242").await.ok();
    let key = Restricted::new(&shop, "rk_test_reads", json!({"checkout_sessions": "read"})).await;
    let path = format!("/v1/checkout/sessions/{session}");
    let intent = format!("{path}?expand[]=payment_intent");
    assert!(key.send(Method::GET, &intent, "").await.ok()["payment_intent"].is_object());
    let charge = format!("{path}?expand[]=payment_intent.latest_charge");
    assert_eq!(key.lacks(Method::GET, &charge, "").await, "rak_charge_read");
    let both = json!({"checkout_sessions": "read", "charges": "read"});
    let key = Restricted::new(&shop, "rk_test_reads", both).await;
    key.send(Method::GET, &charge, "").await.ok();
}

#[tokio::test]
async fn charge_permission_covers_refunds_but_disputes_not_charges() {
    let shop = Shop::open().await;
    let intent = shop.purchase("4242424242424242").await;
    let key = Restricted::new(&shop, "rk_test_back", json!({"charges": "write"})).await;
    let form = format!("payment_intent={intent}&amount=100");
    let refund = key.send(Method::POST, "/v1/refunds", &form).await.ok();
    let path = format!("/v1/refunds/{}", refund["id"].as_str().unwrap());
    key.send(Method::GET, &format!("{path}?expand[]=charge"), "").await.ok();
    let intent_too = format!("{path}?expand[]=payment_intent");
    assert_eq!(key.lacks(Method::GET, &intent_too, "").await, "rak_payment_intent_read");

    shop.control(Method::POST, "/disputes", json!({"payment_intent": intent})).await.ok();
    let key = Restricted::new(&shop, "rk_test_back", json!({"disputes": "read"})).await;
    key.send(Method::GET, "/v1/disputes", "").await.ok();
    let charge = "/v1/disputes?expand[]=data.charge";
    assert_eq!(key.lacks(Method::GET, charge, "").await, "rak_charge_read");
}

#[tokio::test]
async fn a_permission_error_is_not_stored_for_its_idempotency_key() {
    let shop = Shop::open().await;
    for (level, status) in [("read", StatusCode::FORBIDDEN), ("write", StatusCode::OK)] {
        Restricted::new(&shop, "rk_test_a", json!({"customers": level})).await;
        let request = shop.request(Method::POST, "/v1/customers").bearer_auth("rk_test_a");
        let answer = Shop::send(request.header("idempotency-key", "k")).await;
        assert_eq!(answer.status, status);
    }
}

#[tokio::test]
async fn unrestricted_and_secret_keys_may_do_everything() {
    let shop = Shop::open().await;
    for wrong in [
        json!({"key": "sk_test_x", "permissions": {}}),
        json!({"key": "rk_test_", "permissions": {}}),
        json!({"key": "rk_test_x", "permissions": {"customer": "read"}}),
        json!({"key": "rk_test_x", "permissions": {"customers": "all"}}),
        json!({"key": "rk_test_x"}),
    ] {
        assert_eq!(
            shop.control(Method::POST, "/keys", wrong.clone()).await.error().0,
            400,
            "{wrong}"
        );
    }
    for key in ["rk_test_x", "sk_test_x"] {
        let request = shop.request(Method::POST, "/v1/customers").bearer_auth(key);
        Shop::send(request).await.ok();
    }
}
