//! Lists: newest first, in pages, filtered.

use serde_json::{Value, json};

use crate::shop::Shop;

fn names(list: &Value) -> Vec<&str> {
    list["data"].as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap()).collect()
}

async fn shop_with_customers(count: usize) -> Shop {
    let shop = Shop::open().await;
    for number in 1..=count {
        let name = format!("c{number}");
        let email = format!("{name}@example.com");
        shop.post("/v1/customers", &[("name", &name), ("email", &email)]).await.ok();
    }
    shop
}

#[tokio::test]
async fn pages_go_forward_and_back() {
    let shop = shop_with_customers(5).await;
    let first = shop.get("/v1/customers?limit=2").await.ok();
    assert_eq!(
        (first["object"].as_str(), first["url"].as_str()),
        (Some("list"), Some("/v1/customers"))
    );
    assert_eq!((names(&first), &first["has_more"]), (vec!["c5", "c4"], &json!(true)));
    let last = first["data"][1]["id"].as_str().unwrap();
    let second = shop.get(&format!("/v1/customers?limit=3&starting_after={last}")).await.ok();
    assert_eq!((names(&second), &second["has_more"]), (vec!["c3", "c2", "c1"], &json!(false)));
    let end = second["data"][2]["id"].as_str().unwrap();
    let up = shop.get(&format!("/v1/customers?limit=2&ending_before={end}")).await.ok();
    assert_eq!((names(&up), &up["has_more"]), (vec!["c3", "c2"], &json!(true)));
    for wrong in ["limit=0", "limit=101", "limit=x", "starting_after=cus_none"] {
        assert_eq!(shop.get(&format!("/v1/customers?{wrong}")).await.error().0, 400, "{wrong}");
    }
}

#[tokio::test]
async fn the_default_page_size_is_ten() {
    let shop = shop_with_customers(11).await;
    let list = shop.get("/v1/customers").await.ok();
    assert_eq!((names(&list).len(), &list["has_more"]), (10, &json!(true)));
}

#[tokio::test]
async fn filters_narrow_a_list() {
    let shop = shop_with_customers(3).await;
    assert_eq!(names(&shop.get("/v1/customers?email=c2%40example.com").await.ok()), ["c2"]);
    assert_eq!(
        names(&shop.get("/v1/customers?created[gt]=4000000000").await.ok()),
        Vec::<&str>::new()
    );
    assert_eq!(
        names(&shop.get("/v1/customers?created[lt]=4000000000&created[gte]=1").await.ok()).len(),
        3
    );

    let paid = shop.session().await;
    shop.pay(&paid, "4242424242424242").await.ok();
    shop.session().await;
    let complete = shop.get("/v1/checkout/sessions?status=complete").await.ok();
    assert_eq!(complete["data"].as_array().unwrap().len(), 1);
    let intent = complete["data"][0]["payment_intent"].as_str().unwrap();
    let of_intent = shop.get(&format!("/v1/checkout/sessions?payment_intent={intent}")).await.ok();
    assert_eq!(of_intent["data"][0]["id"], json!(paid));
    let charges = shop.get(&format!("/v1/charges?payment_intent={intent}")).await.ok();
    assert_eq!(charges["data"].as_array().unwrap().len(), 1);

    let types = "types[]=charge.succeeded&types[]=checkout.session.completed";
    assert_eq!(
        shop.get(&format!("/v1/events?{types}")).await.ok()["data"].as_array().unwrap().len(),
        2
    );
    let intents = shop.get("/v1/events?type=payment_intent.*").await.ok();
    assert_eq!(intents["data"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_sessions_line_items_have_pages_too() {
    let shop = Shop::open().await;
    let price = shop.price(100).await;
    let more: Vec<(String, String)> = (1..12)
        .flat_map(|index| {
            [
                (format!("line_items[{index}][price]"), price.clone()),
                (format!("line_items[{index}][quantity]"), (index + 1).to_string()),
            ]
        })
        .collect();
    let more: Vec<(&str, &str)> =
        more.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let session = shop.session_with(&price, &more).await.ok();
    let path = format!("/v1/checkout/sessions/{}/line_items", session["id"].as_str().unwrap());
    let first = shop.get(&path).await.ok();
    let quantities = |list: &Value| -> Vec<i64> {
        list["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item["quantity"].as_i64().unwrap())
            .collect()
    };
    assert_eq!((quantities(&first), &first["has_more"]), ((1..=10).collect(), &json!(true)));
    let last = first["data"][9]["id"].as_str().unwrap();
    let second = shop.get(&format!("{path}?starting_after={last}")).await.ok();
    assert_eq!((quantities(&second), &second["has_more"]), (vec![11, 12], &json!(false)));
}
