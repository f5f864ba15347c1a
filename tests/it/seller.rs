//! The seller is always the shop, never Link.

use serde_json::json;
use tests::requests::learner;
use tests::world::World;

#[tokio::test]
async fn every_session_declines_managed_payments() {
    let world = World::new().await;
    for (by_default, name) in [(false, "ada"), (true, "bob")] {
        let account = json!({ "managed_payments": by_default });
        assert_eq!(world.stripe_post("/_sim/account", &account).await.0, 200);
        let ours = world.buy(&learner(name)).await;
        let ours = world.stripe_get(&format!("/v1/checkout/sessions/{ours}")).await;
        assert_eq!(ours["managed_payments"], json!({ "enabled": false }), "{by_default}");

        // Without the parameter, the account's setting applies.
        let price = world.stripe_get("/v1/prices?limit=1").await["data"][0]["id"].clone();
        let form = [
            ("mode", "payment"),
            ("line_items[0][price]", price.as_str().unwrap()),
            ("line_items[0][quantity]", "1"),
            ("success_url", "https://elsewhere.example.com"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let (_, other) = world.stripe_form("/v1/checkout/sessions", &form).await;
        assert_eq!(other["managed_payments"], json!({ "enabled": by_default }));
    }
}
