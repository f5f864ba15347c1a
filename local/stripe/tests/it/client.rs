//! The library that Coursegate itself uses, against the simulator.

use std::collections::HashMap;

use stripe::{Client, ClientBuilder, IdempotencyKey, RequestStrategy, StripeError, StripeRequest};
use stripe_checkout::checkout_session::{
    CreateCheckoutSession, CreateCheckoutSessionLineItems, CreateCheckoutSessionPaymentIntentData,
    ExpireCheckoutSession, RetrieveCheckoutSession,
};
use stripe_checkout::{CheckoutSessionMode, CheckoutSessionPaymentStatus};
use stripe_core::customer::{CreateCustomer, RetrieveCustomer, RetrieveCustomerReturned};
use stripe_product::price::{CreatePrice, ListPrice};
use stripe_product::product::CreateProduct;
use stripe_types::Currency;

use crate::shop::{KEY, Shop};

fn client(shop: &Shop) -> Client {
    ClientBuilder::new(KEY).url(shop.simulator.url()).build().unwrap()
}

#[tokio::test]
async fn a_course_is_sold_through_async_stripe() {
    let shop = Shop::open().await;
    let client = client(&shop);
    let product = CreateProduct::new("TutorClaw").send(&client).await.unwrap();
    CreatePrice::new(Currency::USD)
        .product(product.id.as_str())
        .unit_amount(2900)
        .lookup_key("tutorclaw_paid")
        .send(&client)
        .await
        .unwrap();
    let prices =
        ListPrice::new().lookup_keys(["tutorclaw_paid".to_owned()]).send(&client).await.unwrap();
    let price = prices.data.first().unwrap();

    let metadata = HashMap::from([
        ("learner_id".to_owned(), "ada".to_owned()),
        ("product".to_owned(), "t".to_owned()),
    ]);
    let customer = CreateCustomer::new().metadata(metadata.clone()).send(&client).await.unwrap();
    let found = RetrieveCustomer::new(customer.id.clone()).send(&client).await.unwrap();
    assert!(matches!(found, RetrieveCustomerReturned::Customer(found) if found.id == customer.id));

    let item = CreateCheckoutSessionLineItems {
        price: Some(price.id.to_string()),
        quantity: Some(1),
        ..Default::default()
    };
    let mut data = CreateCheckoutSessionPaymentIntentData::new();
    data.metadata = Some(metadata.clone());
    let create = CreateCheckoutSession::new()
        .mode(CheckoutSessionMode::Payment)
        .line_items([item])
        .customer(customer.id.as_str())
        .client_reference_id("ada")
        .metadata(metadata.clone())
        .payment_intent_data(data)
        .success_url("https://shop.example/thanks?session={CHECKOUT_SESSION_ID}")
        .cancel_url("https://shop.example/");
    // Maps are sent in another order each time; the key still finds the same session.
    let once = || RequestStrategy::Idempotent(IdempotencyKey::new("ada-tutorclaw").unwrap());
    let session = create.customize().request_strategy(once()).send(&client).await.unwrap();
    for _ in 0..10 {
        let again = create.customize().request_strategy(once()).send(&client).await.unwrap();
        assert_eq!(again.id, session.id);
    }

    shop.pay(session.id.as_str(), "4242424242424242").await.ok();
    let paid = RetrieveCheckoutSession::new(session.id.clone())
        .expand(["payment_intent".to_owned(), "line_items".to_owned()])
        .send(&client)
        .await
        .unwrap();
    assert_eq!(paid.payment_status, CheckoutSessionPaymentStatus::Paid);
    assert_eq!(paid.payment_intent.unwrap().into_object().unwrap().metadata, metadata);
    assert_eq!(paid.line_items.unwrap().data.len(), 1);

    let error = ExpireCheckoutSession::new(session.id).send(&client).await.unwrap_err();
    assert!(matches!(error, StripeError::Stripe(_, 400)), "{error:?}");
}
