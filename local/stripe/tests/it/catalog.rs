//! Products and prices, and what Stripe refuses about them.

use serde_json::{Value, json};

use crate::shop::Shop;

fn ids(list: &Value) -> Vec<&str> {
    list["data"].as_array().unwrap().iter().map(|it| it["id"].as_str().unwrap()).collect()
}

async fn product(shop: &Shop, id: &str) {
    shop.post("/v1/products", &[("id", id), ("name", id), ("metadata[product]", id)]).await.ok();
}

async fn price(shop: &Shop, product: &str, lookup_key: &str) -> String {
    let form = [
        ("product", product),
        ("currency", "usd"),
        ("unit_amount", "2900"),
        ("lookup_key", lookup_key),
    ];
    shop.post("/v1/prices", &form).await.ok()["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn products_are_listed_by_their_ids_or_page_by_page() {
    let shop = Shop::open().await;
    for id in ["a", "b", "c"] {
        product(&shop, id).await;
    }
    shop.post("/v1/products/b", &[("active", "false")]).await.ok();
    let list = async |query: &str| shop.get(&format!("/v1/products?{query}")).await.ok();
    assert_eq!(ids(&list("ids[]=a&ids[]=b&ids[]=none").await), ["b", "a"]);
    assert_eq!(ids(&list("active=true").await), ["c", "a"]);
    assert_eq!(ids(&list("active=false").await), ["b"]);
    let first = list("limit=2").await;
    assert_eq!((ids(&first), &first["has_more"]), (vec!["c", "b"], &json!(true)));
    assert_eq!(ids(&list("limit=2&starting_after=b").await), ["a"]);
    let both = shop.get("/v1/products?ids[]=a&starting_after=b").await.error();
    assert_eq!((both.0, &both.1["param"]), (400, &json!("starting_after")));
}

#[tokio::test]
async fn prices_are_listed_by_product_and_by_lookup_key() {
    let shop = Shop::open().await;
    product(&shop, "a").await;
    product(&shop, "b").await;
    let (first, second) = (price(&shop, "a", "k1").await, price(&shop, "b", "k2").await);
    let list = async |query: &str| shop.get(&format!("/v1/prices?{query}")).await.ok();
    assert_eq!(ids(&list("product=a").await), [first.as_str()]);
    assert_eq!(ids(&list("lookup_keys[]=k2&lookup_keys[]=k3").await), [second.as_str()]);
    assert_eq!(ids(&list("product=a&lookup_keys[]=k2").await), Vec::<&str>::new());
    shop.post(&format!("/v1/prices/{first}"), &[("active", "false")]).await.ok();
    assert_eq!(ids(&list("active=true").await), [second.as_str()]);
    // An archived price keeps its lookup key until another one takes it.
    assert_eq!(ids(&list("lookup_keys[]=k1&active=false").await), [first.as_str()]);
}

#[tokio::test]
async fn a_price_s_nickname_metadata_and_active_flag_can_change() {
    let shop = Shop::open().await;
    product(&shop, "a").await;
    let path = format!("/v1/prices/{}", price(&shop, "a", "k").await);
    let form = [("nickname", "Autumn"), ("metadata[grants]", "a"), ("active", "false")];
    let changed = shop.post(&path, &form).await.ok();
    assert_eq!(
        (&changed["nickname"], &changed["metadata"], &changed["active"]),
        (&json!("Autumn"), &json!({"grants": "a"}), &json!(false))
    );
    let (status, error) = shop.post(&path, &[("unit_amount", "1")]).await.error();
    assert_eq!((status, &error["code"]), (400, &json!("parameter_unknown")));
}

#[tokio::test]
async fn a_default_price_is_archived_only_once_replaced() {
    let shop = Shop::open().await;
    product(&shop, "a").await;
    product(&shop, "b").await;
    let (old, new) = (price(&shop, "a", "old").await, price(&shop, "a", "new").await);
    let made = shop.post("/v1/products/a", &[("default_price", &old)]).await.ok();
    assert_eq!(made["default_price"], json!(old));
    assert_eq!(shop.post("/v1/products/b", &[("default_price", &old)]).await.error().0, 400);
    let archive = async || shop.post(&format!("/v1/prices/{old}"), &[("active", "false")]).await;
    let (status, error) = archive().await.error();
    assert_eq!((status, &error["type"]), (400, &json!("invalid_request_error")));
    assert!(error["message"].as_str().unwrap().contains("default price"), "{error}");
    shop.post("/v1/products/a", &[("default_price", &new)]).await.ok();
    assert_eq!(archive().await.ok()["active"], false);
    let expanded = shop.get("/v1/products/a?expand[]=default_price").await.ok();
    assert_eq!(expanded["default_price"]["id"], json!(new));
}

#[tokio::test]
async fn archived_prices_and_products_cannot_be_sold() {
    let shop = Shop::open().await;
    product(&shop, "a").await;
    let price = price(&shop, "a", "k").await;
    shop.session_with(&price, &[]).await.ok();
    for path in [format!("/v1/prices/{price}"), "/v1/products/a".to_owned()] {
        shop.post(&path, &[("active", "false")]).await.ok();
        let (status, error) = shop.session_with(&price, &[]).await.error();
        assert_eq!((status, &error["param"]), (400, &json!("line_items[0][price]")), "{path}");
        shop.post(&path, &[("active", "true")]).await.ok();
    }
    shop.session_with(&price, &[]).await.ok();
}
