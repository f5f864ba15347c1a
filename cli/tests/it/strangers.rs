//! Every route at the running gateway, with every wrong kind of token.

use reqwest::{Client, Method};
use serde_json::{Value, json};

use crate::running::{Running, up};

/// The tokens that the stack's sign-in gives out.
struct Tokens {
    learner: String,
    id: String,
    service: String,
}

async fn tokens(running: &Running, client: &Client) -> Tokens {
    let login =
        client.post(running.url("/local/login")).json(&json!({ "email": "ada@example.com" }));
    let learner: Value = login.send().await.unwrap().json().await.unwrap();
    let service = client.post(running.url("/local/service-token"));
    let service: Value = service.send().await.unwrap().json().await.unwrap();
    let text = |value: &Value, name: &str| value[name].as_str().unwrap().to_owned();
    Tokens {
        learner: text(&learner, "access_token"),
        id: text(&learner, "id_token"),
        service: text(&service, "access_token"),
    }
}

#[tokio::test]
async fn no_route_takes_the_wrong_kind_of_token() {
    let running = up(&["--ephemeral"]);
    let client = Client::builder().no_proxy().build().unwrap();
    let tokens = tokens(&running, &client).await;
    let garbled = format!("{}x", tokens.learner);
    let mut tried = 0;
    for route in [entitlements::ROUTES, checkout::ROUTES, tutor::ROUTES].concat() {
        let (method, path) = route.split_once(' ').unwrap();
        if matches!(path, "/courses" | "/go/{proxy+}") {
            continue;
        }
        let target = path
            .replace("{learner}", "x-1")
            .replace("{course}", "tutorclaw")
            .replace("{product}", "tutorclaw")
            .replace("{session}", "cs_test_1");
        let url = running.url(&format!("/api{target}?sub=ada"));
        let for_services = path.starts_with("/learners/");
        let wrong = if for_services { &tokens.learner } else { &tokens.service };
        // Learners and services may both talk to the tutor.
        let wrong = (path != "/mcp").then_some((Some(wrong.as_str()), 403));
        for (token, expected) in [
            (None, 401),
            (Some("no token"), 401),
            (Some(garbled.as_str()), 401),
            (Some(tokens.id.as_str()), 401),
        ]
        .into_iter()
        .chain(wrong)
        {
            let mut request = client.request(Method::from_bytes(method.as_bytes()).unwrap(), &url);
            // Whatever a client says of itself is not listened to.
            request = request.header("x-learner", "ada");
            if let Some(token) = token {
                request = request.bearer_auth(token);
            }
            let status = request.send().await.unwrap().status().as_u16();
            assert_eq!(status, expected, "{route} {token:?}");
            tried += 1;
        }
    }
    assert_eq!(tried, 12 * 5 + 3 * 4);
}
