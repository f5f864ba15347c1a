//! HTTP through API Gateway and the Function URL.

use serde_json::{Value, json};

use crate::support::{TestStack, answer};

const ACCESS: &str = "/api/courses/a%2Fb/access?chapter=6";

fn message(text: &str) -> Value {
    json!({"message": text})
}

#[tokio::test]
async fn an_open_route_needs_no_token() {
    let stack = TestStack::start().await;
    let (status, said) = stack.get("/api/courses", None).await;
    assert_eq!(status, 200);
    assert_eq!(said["event"]["routeKey"], "GET /courses");
    assert_eq!(said["event"]["rawPath"], "/api/courses");
    assert_eq!(said["environment"]["AWS_LAMBDA_FUNCTION_NAME"], "entitlements");
    stack.stack.shutdown().await;
}

#[tokio::test]
async fn the_learner_comes_from_the_token() {
    let stack = TestStack::start().await;
    let (token, learner) = stack.login("ada@example.com").await;
    let (_, other) = stack.login("eve@example.com").await;
    let request = stack
        .client
        .get(stack.url(ACCESS))
        .bearer_auth(&token)
        .header("x-learner-id", &other)
        .header("x-amzn-oidc-identity", &other)
        .header("x-forwarded-for", "1.2.3.4");
    let (status, said) = answer(request).await;
    assert_eq!(status, 200, "{said}");
    let event = &said["event"];
    let jwt = &event["requestContext"]["authorizer"]["jwt"];
    assert_eq!(jwt["claims"]["sub"], learner);
    assert_eq!(jwt["claims"]["token_use"], "access");
    assert!(jwt["claims"]["exp"].is_string(), "claims are text: {jwt}");
    assert_eq!(jwt["scopes"], json!(["coursegate/learn"]));
    assert_eq!(event["pathParameters"], json!({"course": "a/b"}));
    assert_eq!(event["queryStringParameters"], json!({"chapter": "6"}));
    assert_eq!(event["headers"]["x-forwarded-for"], "127.0.0.1");
    assert!(event["headers"].get("x-amzn-oidc-identity").is_none());
    stack.stack.shutdown().await;
}

#[tokio::test]
async fn without_a_token_for_this_route_nothing_is_invoked() {
    let stack = TestStack::start().await;
    let (_, tokens) = stack.post("/local/login", r#"{"email":"ada@example.com"}"#).await;
    let (_, service) = stack.post("/local/service-token", "").await;
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let (learner, id) = (text(&tokens["access_token"]), text(&tokens["id_token"]));
    let service = text(&service["access_token"]);
    let tampered = format!("{}x", &learner[..learner.len() - 1]);
    let unauthorized = (401, message("Unauthorized"));
    let forbidden = (403, message("Forbidden"));

    assert_eq!(stack.get(ACCESS, None).await, unauthorized);
    for wrong in ["", "x", "x.y.z", &id, &tampered] {
        assert_eq!(stack.get(ACCESS, Some(wrong)).await, unauthorized, "{wrong}");
    }
    assert_eq!(stack.get(ACCESS, Some(&service)).await, forbidden);
    let twin = "/api/learners/somebody/entitlements";
    assert_eq!(stack.get(twin, Some(&learner)).await, forbidden);
    assert_eq!(stack.get(twin, Some(&service)).await.0, 200);
    let served = stack.served.lock().unwrap().clone();
    let invoked = served.iter().filter(|served| served.function.is_some()).count();
    assert_eq!(invoked, 1, "only the service on its own route: {served:?}");
    stack.stack.shutdown().await;
}

#[tokio::test]
async fn an_unknown_route_is_not_found() {
    let stack = TestStack::start().await;
    for path in ["/api", "/api/", "/api/courses/", "/api/Courses", "/local/nothing"] {
        assert_eq!(stack.get(path, None).await, (404, message("Not Found")), "{path}");
    }
    for method in ["HEAD", "OPTIONS", "POST", "DELETE"] {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let (status, _) = answer(stack.client.request(method, stack.url("/api/courses"))).await;
        assert_eq!(status, 404);
    }
    stack.stack.shutdown().await;
}

#[tokio::test]
async fn a_direct_invocation_is_reported_like_a_request() {
    let stack = TestStack::start().await;
    let lambda = &stack.stack.addresses().lambda;
    let problem = r#"{"statusCode":409,"body":"{\"type\":\"urn:coursegate:problem:already\"}"}"#;
    for (name, event) in [
        ("CheckoutFunction", json!({"do": format!("say {problem}")})),
        ("checkout", json!({"do": "crash"})),
        ("NoFunction", json!({})),
    ] {
        let url = format!("{lambda}/2015-03-31/functions/{name}/invocations");
        stack.client.post(url).body(event.to_string()).send().await.unwrap();
    }
    let served = stack.served.lock().unwrap().clone();
    let [answered, failed] = served.as_slice() else { panic!("{served:?}") };
    assert_eq!(answered.path, "/2015-03-31/functions/CheckoutFunction/invocations");
    assert_eq!(answered.function.as_deref(), Some("checkout"));
    assert_eq!(answered.note.as_deref(), Some("already"));
    assert!(failed.note.as_deref().unwrap().contains("Runtime.ExitError"), "{failed:?}");
    stack.stack.shutdown().await;
}

#[tokio::test]
async fn a_crash_is_a_502_and_the_next_request_is_served() {
    let stack = TestStack::start().await;
    let request = stack.client.get(stack.url("/api/courses"));
    let crash = answer(request.header("x-do", "crash")).await;
    assert_eq!(crash, (502, message("Internal Server Error")));
    assert_eq!(stack.get("/api/courses", None).await.0, 200);
    let (status, health) = stack.get("/local/health", None).await;
    assert_eq!((status, &health["functions"]["entitlements"]["cold_starts"]), (200, &json!(2)));
    stack.stack.shutdown().await;
}

#[tokio::test]
async fn the_client_gets_the_function_s_response() {
    let stack = TestStack::start().await;
    let said = json!({
        "statusCode": 303,
        "headers": {"location": "https://example.com/", "x-custom": "yes"},
        "cookies": ["a=1", "b=2"],
        "body": "aGVsbG8=",
        "isBase64Encoded": true,
    });
    let request = stack.client.get(stack.url("/api/courses"));
    let response = request.header("x-do", format!("say {said}")).send().await.unwrap();
    assert_eq!(response.status(), 303);
    assert_eq!(response.headers()["location"], "https://example.com/");
    assert_eq!(response.headers()["x-custom"], "yes");
    assert_eq!(response.headers().get_all("set-cookie").iter().count(), 2);
    assert!(response.headers().contains_key("apigw-requestid"));
    assert_eq!(response.text().await.unwrap(), "hello");

    let request = stack.client.get(stack.url("/api/courses"));
    let nonsense = answer(request.header("x-do", r#"say {"statusCode":"many"}"#)).await;
    assert_eq!(nonsense, (502, message("Internal Server Error")));
    stack.stack.shutdown().await;
}

#[tokio::test]
async fn a_delivery_reaches_the_webhook_unchanged() {
    let stack = TestStack::start().await;
    let body = "{\n  \"type\": \"charge.refunded\", \"id\": \"evt_1\"\n}";
    let request = stack
        .client
        .post(stack.url("/webhook"))
        .header("content-type", "application/json; charset=utf-8")
        .header("stripe-signature", "t=1,v1=abc");
    let (status, said) = answer(request.body(body)).await;
    assert_eq!(status, 200, "{said}");
    let event = &said["event"];
    assert_eq!(event["body"], body);
    assert_eq!(event["isBase64Encoded"], false);
    assert_eq!(event["headers"]["stripe-signature"], "t=1,v1=abc");
    assert_eq!(event["routeKey"], "$default");
    assert_eq!(event["rawPath"], "/");
    assert!(event["requestContext"].get("authorizer").is_none());
    let served = stack.served.lock().unwrap()[0].clone();
    assert_eq!(served.note.as_deref(), Some("charge.refunded evt_1"));

    let bytes = stack.client.post(stack.url("/webhook")).body(vec![0xff, 0x00]);
    let (_, said) = answer(bytes).await;
    assert_eq!(
        (&said["event"]["body"], &said["event"]["isBase64Encoded"]),
        (&json!("/wA="), &json!(true))
    );
    stack.stack.shutdown().await;
}

#[tokio::test]
async fn a_body_over_the_limit_is_too_long() {
    let stack = TestStack::start().await;
    let (token, _) = stack.login("ada@example.com").await;
    let too_long = (413, message("Request Too Long"));
    let request = stack.client.post(stack.url("/api/checkout")).bearer_auth(token);
    assert_eq!(answer(request.body(vec![b'a'; 10 * 1024 * 1024 + 1])).await, too_long);
    let request = stack.client.post(stack.url("/webhook"));
    assert_eq!(answer(request.body(vec![b'a'; 6 * 1024 * 1024 + 1])).await, too_long);
    stack.stack.shutdown().await;
}
