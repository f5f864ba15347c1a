//! The whole template on `MiniStack`: CloudFormation makes the stack, and the functions' own
//! executables sell a course behind its API Gateway, to a learner who signs in at its Cognito.

use std::collections::HashMap;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{Response, header};
use coursegate::catalog::{Closing, push};
use coursegate::deployment::Deployment;
use coursegate::doctor::Finding;
use coursegate::site::{Wanted, deploy};
use coursegate::{key, webhook as endpoint};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tests::executables::functions;
use tests::ministack::MiniStack;
use tests::sessions::permutations;
use tests::world::{catalog, root};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::contract::{
    keeps_the_contract, keeps_the_contract_of_checkout, keeps_the_contract_of_the_catalog,
};
use crate::convergence::ends_where_memory_does;
use crate::stack::{expire, findings, listen, recover};
use crate::template::expand;

/// The stack's name.
const NAME: &str = "shop";
const EMAIL: &str = "ada@example.com";
/// The code that `MiniStack` sends to everybody.
const CODE: &str = "123456";
/// A verifier and its challenge: <https://www.rfc-editor.org/rfc/rfc7636#appendix-B>
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

/// A deployed shop.
struct Shop {
    aws: MiniStack,
    stripe: stripe_simulator::Simulator,
    /// The site's address, and the API's under `/api`.
    origin: String,
    outputs: HashMap<String, String>,
    _front: JoinSet<()>,
}

impl Shop {
    async fn deploy() -> Option<Self> {
        let aws = MiniStack::start()?;
        let (listener, origin) = listen().await;
        let (stripes_listener, stripe_url) = listen().await;
        let options = stripe_simulator::Options { listener: stripes_listener, state: None };
        let stripe = stripe_simulator::start(options).await.unwrap();
        let parameters = json!({
            "SiteOrigin": origin,
            "AlarmEmail": "operator@example.com",
            "RefundThresholdPercent": "100",
            "StripeApiUrl": stripe_url,
            "DynamoDbEndpoint": aws.url(),
            "SecretsManagerEndpoint": aws.url(),
            "ContentEndpoint": aws.url(),
        });
        let mut template = expand(&parameters)?;
        let outputs = template["Outputs"].as_object_mut().unwrap();
        outputs.insert("FunctionUrl".to_owned(), outputs["WebhookUrl"].clone());
        outputs.insert("ApiId".to_owned(), json!({ "Value": { "Ref": "Api" } }));
        for (output, path) in [("ApiUrl", "/api"), ("WebhookUrl", "/webhook"), ("SiteUrl", "")] {
            outputs[output]["Value"] = format!("{origin}{path}").into();
        }
        aws.upload_functions(&functions(env!("CARGO_BIN_EXE_storm"))).await;
        let outputs = aws.create_stack(NAME, template, &parameters).await;
        let mut front = JoinSet::new();
        front.spawn(serve(listener, aws.url().to_owned(), &outputs));
        Some(Self { aws, stripe, origin, outputs, _front: front })
    }

    /// The operator's setup after the first deployment. Returns the deployment.
    async fn set_up(&self) -> Deployment {
        let key = Some("sk_test_of_the_operator".into());
        let deployment = coursegate::aws::stack(&self.aws.config(), NAME, key).await.unwrap();
        let account = deployment.account().await.unwrap();
        // MiniStack leaves out these two properties of the table.
        recover(&deployment, true).await;
        expire(&deployment, true).await;
        key::store(&deployment, &"rk_test_of_the_functions".into()).await.unwrap();
        let read_key = "rk_test_of_the_webhook";
        let permissions =
            json!({"payment_intents": "read", "disputes": "read", "invoice_payments": "read"});
        let restricted = json!({ "key": read_key, "permissions": permissions });
        self.simulate("keys", &restricted).await;
        key::reading::store(&deployment, &read_key.into()).await.unwrap();
        push(&catalog(), Closing::Refused, &account, &deployment, |_| {}).await.unwrap();
        endpoint::register(&account, &deployment, &mut |_| {}).await.unwrap();
        let (site, content) = (root().join("web"), root().join("content"));
        let wanted = Wanted { site, content, client_id: None, force: false, delete: false };
        let cloud = deployment.cloud.as_ref().unwrap();
        deploy(&deployment, cloud, &wanted, &mut |_| {}).await.unwrap();
        deployment
    }

    /// Calls the API. Returns the status and the body.
    async fn api(
        &self,
        method: Method,
        path: &str,
        token: &str,
        body: Option<&Value>,
    ) -> (u16, Value) {
        let mut request =
            reqwest::Client::new().request(method, format!("{}/api{path}", self.origin));
        if !token.is_empty() {
            request = request.bearer_auth(token);
        }
        let answer = request.body(body.map(Value::to_string).unwrap_or_default()).send().await;
        let answer = answer.unwrap();
        let (status, text) = (answer.status().as_u16(), answer.text().await.unwrap());
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    /// Uses the simulator's control API.
    async fn simulate(&self, path: &str, body: &Value) -> Value {
        let url = format!("{}/_sim/{path}", self.stripe.url());
        let answer = reqwest::Client::new().post(url).json(body).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        answer.json().await.unwrap()
    }

    /// Refunds a payment, as in Stripe's Dashboard.
    async fn refund(&self, payment: &str) {
        let request = reqwest::Client::new().post(format!("{}/v1/refunds", self.stripe.url()));
        let form = [("payment_intent", payment)];
        let answer = send(request.bearer_auth("sk_test_any"), &form).await;
        assert_eq!(answer.status(), 200);
    }

    /// The access token of a service, which signs in with its client's secret.
    async fn service_token(&self) -> String {
        let pool = self.outputs["JwtIssuer"].rsplit('/').next().unwrap();
        let client = &self.outputs["ServiceClientId"];
        let described = self
            .aws
            .call(
                "AWSCognitoIdentityProviderService.DescribeUserPoolClient",
                &json!({ "UserPoolId": pool, "ClientId": client }),
            )
            .await;
        let secret = described["UserPoolClient"]["ClientSecret"].as_str().unwrap();
        let request = self.aws.request(Method::POST, "/oauth2/token");
        let request = request.basic_auth(client, Some(secret));
        token(request, &[("grant_type", "client_credentials"), ("scope", "coursegate/learners")])
            .await
    }

    /// The access token of a new learner, who signs in on the pool's pages with a code by e-mail.
    async fn sign_in(&self) -> String {
        let client = self.outputs["SiteClientId"].as_str();
        let sign_up = json!({
            "ClientId": client,
            "Username": EMAIL,
            "Password": "Correct-Horse-1",
            "UserAttributes": [{ "Name": "email", "Value": EMAIL }],
        });
        self.aws.call("AWSCognitoIdentityProviderService.SignUp", &sign_up).await;
        let confirm = json!({ "ClientId": client, "Username": EMAIL, "ConfirmationCode": CODE });
        self.aws.call("AWSCognitoIdentityProviderService.ConfirmSignUp", &confirm).await;

        let site = format!("{}/", self.origin);
        let asked = [
            ("client_id", client),
            ("redirect_uri", &site),
            ("response_type", "code"),
            ("scope", "openid email coursegate/learn"),
            ("state", "of-the-site"),
            ("code_challenge", CHALLENGE),
            ("code_challenge_method", "S256"),
        ];
        let page = format!("/oauth2/authorize?{}", encode(&asked));
        let page = self.aws.request(Method::GET, &page);
        assert_eq!(page.send().await.unwrap().status(), 200);
        let login = async |form: &[(&str, &str)]| {
            send(self.aws.request(Method::POST, "/login"), form).await
        };
        let named = [&asked[..], &[("auth_flow", "USER_AUTH"), ("username", EMAIL)]].concat();
        let choice = login(&named).await.text().await.unwrap();
        let session = choice.split("name=\"ua_token\" value=\"").nth(1).unwrap();
        let session = ("ua_token", session.split('"').next().unwrap());
        login(&[session, ("challenge", "EMAIL_OTP")]).await;
        let redirect = login(&[session, ("code", CODE)]).await;
        let location = redirect.headers()[header::LOCATION].to_str().unwrap();
        let query = location.strip_prefix(&format!("{site}?")).unwrap();
        let of_query = |name| query.split('&').find_map(|pair| pair.strip_prefix(name)).unwrap();
        assert_eq!(of_query("state="), "of-the-site");
        let form = [
            ("grant_type", "authorization_code"),
            ("client_id", client),
            ("redirect_uri", &site),
            ("code", of_query("code=")),
            ("code_verifier", VERIFIER),
        ];
        token(self.aws.request(Method::POST, "/oauth2/token"), &form).await
    }
}

/// `application/x-www-form-urlencoded`
fn encode(form: &[(&str, &str)]) -> String {
    let url = reqwest::Url::parse_with_params("http://localhost", form).unwrap();
    url.query().unwrap().to_owned()
}

async fn send(request: RequestBuilder, form: &[(&str, &str)]) -> reqwest::Response {
    let request = request.header("content-type", "application/x-www-form-urlencoded");
    request.body(encode(form)).send().await.unwrap()
}

async fn token(request: RequestBuilder, form: &[(&str, &str)]) -> String {
    let answer = send(request, form).await;
    let (status, text) = (answer.status(), answer.text().await.unwrap());
    assert_eq!(status, 200, "{text}");
    let tokens: Value = serde_json::from_str(&text).unwrap();
    tokens["access_token"].as_str().unwrap().to_owned()
}

/// Serves the site's and the webhook's addresses, which lead to AWS by DNS and `CloudFront`.
fn serve(
    listener: TcpListener,
    aws: String,
    outputs: &HashMap<String, String>,
) -> impl Future<Output = ()> + use<> {
    let api = format!("{}.execute-api.localhost", outputs["ApiId"]);
    let function = outputs["FunctionUrl"].trim_start_matches("https://").trim_end_matches('/');
    let function = function.to_owned();
    let lead = async move |request: Request| {
        let path = request.uri().path_and_query().unwrap().as_str().to_owned();
        let (host, path) = match path.strip_prefix("/webhook") {
            Some(rest) => (&function, format!("/{rest}")),
            None => (&api, path),
        };
        let (mut parts, body) = request.into_parts();
        parts.headers.insert(header::HOST, host.parse().unwrap());
        let body = to_bytes(body, usize::MAX).await.unwrap();
        let request = reqwest::Client::new().request(parts.method, format!("{aws}{path}"));
        let request = request.headers(parts.headers).body(body);
        let answer = request.send().await.unwrap();
        let mut response = Response::new(Body::empty());
        *response.status_mut() = answer.status();
        *response.headers_mut() = answer.headers().clone();
        *response.body_mut() = answer.bytes().await.unwrap().into();
        response
    };
    let router = axum::Router::new().fallback(lead);
    async move { axum::serve(listener, router).await.unwrap() }
}

/// Asks again until the status is this one. Returns the body.
async fn until(status: u16, ask: impl AsyncFn() -> (u16, Value)) -> Value {
    let mut last = Value::Null;
    for _ in 0..400 {
        let (found, body) = ask().await;
        if found == status {
            return body;
        }
        assert!(matches!(found, 200 | 403), "{found}: {body}");
        last = body;
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("it is never {status}: {last}");
}

#[tokio::test]
async fn the_table_meets_the_contracts_on_ministack() {
    let Some(aws) = MiniStack::start() else { return };
    let table = aws.table("contract").await;
    keeps_the_contract(&table).await;
    keeps_the_contract_of_checkout(&table).await;
    keeps_the_contract_of_the_catalog(&table).await;
    let orders = permutations(&[0, 1, 2, 3, 4]);
    ends_where_memory_does(&aws.table("orders").await, &orders).await;
}

#[tokio::test]
async fn the_whole_template_sells_a_course_on_ministack() {
    let Some(shop) = Shop::deploy().await else { return };
    let deployment = shop.set_up().await;
    for (name, finding) in findings(&deployment).await {
        assert!(!matches!(finding, Finding::Bad { .. }), "{name}: {finding:?}");
    }
    let nobody = shop.api(Method::GET, "/entitlements", "", None).await;
    assert_eq!(nobody, (401, json!({ "message": "Unauthorized" })));
    let service = shop.service_token().await;
    let (status, _) = shop.api(Method::GET, "/entitlements", &service, None).await;
    assert_eq!(status, 403, "a service is no learner");
    let (status, owned) =
        shop.api(Method::GET, "/learners/x-chat-7/entitlements", &service, None).await;
    assert_eq!((status, &owned["entitlements"]), (200, &json!([])), "{owned}");

    let ada = shop.sign_in().await;
    let chapter = "/courses/tutorclaw/chapters/6";
    let access = async || shop.api(Method::GET, chapter, &ada, None).await;
    let (status, denied) = access().await;
    assert_eq!((status, &denied["reason"]), (403, &json!("payment_required")), "{denied}");
    let wanted = json!({ "price": "tutorclaw_paid" });
    let (status, session) = shop.api(Method::POST, "/checkout", &ada, Some(&wanted)).await;
    assert_eq!(status, 201, "{session}");
    let id = session["session_id"].as_str().unwrap();
    let card = json!({ "card": "4242424242424242" });
    let paid = shop.simulate(&format!("checkout/sessions/{id}/pay"), &card).await;
    // The signed event arrives at the function's own address.
    let opened = until(200, &access).await;
    let link = opened["url"].as_str().unwrap();
    let page = reqwest::get(link).await.unwrap();
    assert_eq!(page.status(), 200, "{link}");
    let file = std::fs::read_to_string(root().join("content/tutorclaw/6.html")).unwrap();
    assert_eq!(page.text().await.unwrap(), file);
    let (status, again) = shop.api(Method::POST, "/checkout", &ada, Some(&wanted)).await;
    assert_eq!((status, &again["status"]), (409, &json!(409)), "{again}");
    shop.refund(paid["payment_intent"].as_str().unwrap()).await;
    let closed = until(403, &access).await;
    assert_eq!(closed["reason"], "payment_required", "{closed}");
}
