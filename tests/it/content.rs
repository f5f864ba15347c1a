//! The content behind the paywall: who gets a link to a chapter, and that nothing else opens one.
//! The bucket is the local stack's, which checks what S3 checks.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use local::content::Bucket;
use local::observer::{Observer, Served};
use reqwest::Method;
use serde_json::{Value, json};
use shared::ports::Clock as _;
use simulation::clock::ManualClock;
use tests::requests::{Who, answer, api, learner};
use tests::sessions::event;
use tests::world::{SITE_ORIGIN, World, catalog, content_links, root, template};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::log_hygiene::{lines, listen};

const CHAPTER: &str = "GET /courses/{course}/chapters/{chapter}";

/// A shop with its bucket.
struct Library {
    world: World,
    bucket_url: String,
    client: reqwest::Client,
    told: Arc<Mutex<Vec<Served>>>,
    _servers: JoinSet<()>,
}

impl Library {
    async fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let bucket_url = format!("http://{}", listener.local_addr().unwrap());
        let told = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&told);
        let observer =
            Observer::new(move |served: &Served| heard.lock().unwrap().push(served.clone()));
        let bucket = Bucket::new(&root(), template().content_cors, observer).router();
        let mut servers = JoinSet::new();
        servers.spawn(async move { axum::serve(listener, bucket).await.unwrap() });
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { world: World::new().await, bucket_url, client, told, _servers: servers }
    }

    /// The function, which signs links to this bucket at this time.
    fn function_at(&self, clock: ManualClock) -> entitlements::App<impl Reader, ManualClock> {
        let content = content_links(Some(self.bucket_url.clone()));
        entitlements::App { content, clock, ..self.world.entitlements() }
    }

    async fn ask(&self, course: &str, chapter: &str, who: &Who) -> (u16, Value) {
        let target = format!("/courses/{course}/chapters/{chapter}");
        let request = api(CHAPTER, &target, who, None);
        let function = self.function_at(self.world.clock.clone());
        answer(&entitlements::handle(&function, &request).await)
    }

    async fn link_at(&self, clock: ManualClock) -> String {
        let request = api(CHAPTER, "/courses/tutorclaw/chapters/1", &learner("ada"), None);
        let (_, link) = answer(&entitlements::handle(&self.function_at(clock), &request).await);
        link["url"].as_str().unwrap().to_owned()
    }

    async fn link(&self) -> String {
        self.link_at(self.world.clock.clone()).await
    }

    /// Status and body of the bucket's response.
    async fn fetch(&self, url: &str) -> (u16, String) {
        self.send(Method::GET, url).await
    }

    async fn send(&self, method: Method, url: &str) -> (u16, String) {
        let response = self.client.request(method, url).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    /// Asserts the bucket's response, without anything of a chapter.
    #[track_caller]
    fn assert_refused(answered: (u16, String), expected: (u16, &str)) {
        let (status, body) = answered;
        assert_eq!(status, expected.0, "{body}");
        assert!(body.contains(&format!("<Code>{}</Code>", expected.1)), "{body}");
        assert!(!body.contains("<article>"), "{body}");
    }
}

use shared::ports::AccessReader as Reader;

fn text_of(course: &str, chapter: usize) -> String {
    std::fs::read_to_string(root().join(format!("content/{course}/{chapter}.html"))).unwrap()
}

/// An event about [`event`]'s payment of 29.00 USD.
fn money_back(kind: &str, object: &Value) -> Value {
    simulation::rendering::event(&format!("evt_{}", kind.replace('.', "_")), kind, 2000, object)
}

#[tokio::test]
async fn a_link_opens_its_chapter_for_five_minutes() {
    let library = Library::open().await;
    let (status, link) = library.ask("first-steps", "2", &learner("ada")).await;
    assert_eq!(status, 200, "{link}");
    assert_eq!((&link["course"], &link["chapter"]), (&json!("first-steps"), &json!(2)));
    let now = library.world.clock.now();
    assert_eq!(link["expires_at"], shared::http::rfc3339(now.plus_seconds(300)));
    let (status, text) = library.fetch(link["url"].as_str().unwrap()).await;
    assert_eq!((status, text), (200, text_of("first-steps", 2)));
}

#[tokio::test]
async fn an_entitled_learner_gets_a_link_others_reason_and_offers() {
    let library = Library::open().await;
    let ada = learner("ada");
    let denied = async |reason: &str| {
        let (status, problem) = library.ask("tutorclaw", "6", &ada).await;
        assert_eq!(status, 403, "{problem}");
        assert_eq!(problem["type"], "urn:coursegate:problem:access-denied");
        assert_eq!((&problem["reason"], &problem["url"]), (&json!(reason), &Value::Null));
        problem["offers"].as_array().unwrap().clone()
    };
    let open = async || library.ask("tutorclaw", "6", &ada).await.0 == 200;

    assert_eq!(library.ask("tutorclaw", "5", &ada).await.0, 200, "the fifth is free");
    let offers = denied("payment_required").await;
    assert_eq!((&offers[0]["price"], offers.len()), (&json!("tutorclaw_paid"), 1));
    let world = &library.world;
    world.deliver(&event("evt_1 completed unpaid cs_a pi_a ada tutorclaw @1000")).await;
    assert!(denied("payment_processing").await.is_empty(), "nothing is sold twice");
    world.deliver(&event("evt_2 async_payment_succeeded paid cs_a pi_a ada tutorclaw @1100")).await;
    assert!(open().await);
    let dispute = |status: &str| json!({ "id": "du_1", "object": "dispute", "status": status, "payment_intent": "pi_a" });
    let opened = money_back("charge.dispute.created", &dispute("needs_response"));
    world.deliver(&opened).await;
    denied("payment_disputed").await;
    world.deliver(&money_back("charge.dispute.closed", &dispute("won"))).await;
    assert!(open().await);
    let refund = json!({
        "id": "re_1", "object": "refund", "status": "succeeded", "amount": 2900,
        "payment_intent": "pi_a",
    });
    world.deliver(&money_back("refund.created", &refund)).await;
    assert_eq!(denied("payment_required").await.len(), 1, "it can be bought again");
}

#[tokio::test]
async fn one_learner_s_purchase_stays_locked_for_another() {
    let library = Library::open().await;
    library.world.deliver(&event("evt_1 completed paid cs_a pi_a ada curriculum @1000")).await;
    for course in ["models", "tools", "memory", "evaluation"] {
        assert_eq!(library.ask(course, "2", &learner("ada")).await.0, 200, "{course}");
        assert_eq!(library.ask(course, "2", &learner("eve")).await.0, 403, "{course}");
    }
    assert_eq!(library.ask("retrieval", "2", &learner("ada")).await.0, 403);
}

#[tokio::test]
async fn only_a_learner_s_token_gets_a_link() {
    let library = Library::open().await;
    for (who, expected) in [
        (Who::Anyone, (401, "unauthorized")),
        (Who::Service, (403, "forbidden")),
        (Who::Claims(json!({ "sub": "ada", "scope": "openid email" })), (403, "forbidden")),
    ] {
        let (status, problem) = library.ask("first-steps", "1", &who).await;
        let kind = format!("urn:coursegate:problem:{}", expected.1);
        assert_eq!((status, &problem["type"]), (expected.0, &json!(kind)), "{who:?}");
    }
}

#[tokio::test]
async fn a_missing_chapter_or_course_is_404_for_everyone() {
    let library = Library::open().await;
    library.world.deliver(&event("evt_1 completed paid cs_a pi_a ada tutorclaw @1000")).await;
    for who in [learner("ada"), learner("eve")] {
        for (course, chapter, expected) in [
            ("tutorclaw", "0", "unknown-chapter"),
            ("tutorclaw", "11", "unknown-chapter"),
            ("tutorclaw", "-1", "unknown-chapter"),
            ("tutorclaw", "six", "unknown-chapter"),
            ("tutorclaw", "..", "unknown-chapter"),
            ("nothing", "1", "unknown-course"),
            ("..", "1", "unknown-course"),
        ] {
            let (status, problem) = library.ask(course, chapter, &who).await;
            let kind = json!(format!("urn:coursegate:problem:{expected}"));
            assert_eq!((status, &problem["type"]), (404, &kind), "{course} {chapter}");
        }
    }
}

#[tokio::test]
async fn an_object_s_address_opens_nothing_without_a_signature() {
    let library = Library::open().await;
    let denied = (403, "AccessDenied");
    for path in [
        "/coursegate-content/content/tutorclaw/6.html",
        "/coursegate-content/content/first-steps/1.html",
        "/coursegate-content/content/tutorclaw/6.html?versionId=1",
        "/coursegate-content/content/tutorclaw/",
        "/coursegate-content/?list-type=2",
        "/coursegate-content",
        "/",
    ] {
        let url = format!("{}{path}", library.bucket_url);
        Library::assert_refused(library.fetch(&url).await, denied);
    }
    let told = library.told.lock().unwrap().clone();
    assert!(told.iter().all(|served| served.note.as_deref() == Some("AccessDenied")), "{told:?}");
}

#[tokio::test]
async fn a_modified_link_opens_nothing() {
    let library = Library::open().await;
    let link = library.link().await;
    assert_eq!(library.fetch(&link).await.0, 200);
    let mismatch = (403, "SignatureDoesNotMatch");
    let malformed = (400, "AuthorizationQueryParametersError");
    let (_, signature) = link.split_once("X-Amz-Signature=").unwrap();
    let signature = signature.split('&').next().unwrap();
    let (_, date) = link.split_once("X-Amz-Date=").unwrap();
    let date = date.split('&').next().unwrap();
    let flipped = |text: &str| -> String {
        text.chars().map(|digit| if digit == 'a' { 'b' } else { 'a' }).collect()
    };
    let shorter = date.replacen('T', "", 1);
    for (from, to, expected) in [
        ("tutorclaw/1.html", "tutorclaw/6.html", mismatch),
        ("tutorclaw/1.html", "tutorclaw/10.html", mismatch),
        ("content/", "content//", mismatch),
        ("X-Amz-Expires=300", "X-Amz-Expires=3000", mismatch),
        ("X-Amz-Expires=300", "X-Amz-Expires=9999999", malformed),
        ("X-Amz-SignedHeaders=host", "X-Amz-SignedHeaders=", malformed),
        ("X-Amz-SignedHeaders=host", "X-Amz-SignedHeaders=accept", malformed),
        ("X-Amz-Algorithm=AWS4-HMAC-SHA256", "X-Amz-Algorithm=none", malformed),
        ("X-Amz-Algorithm=AWS4-HMAC-SHA256&", "", malformed),
        ("Credential=local%2F", "Credential=other%2F", (403, "InvalidAccessKeyId")),
        ("us-east-1", "eu-west-1", malformed),
        ("Security-Token=local", "Security-Token=other", (400, "InvalidToken")),
        ("&X-Amz-Security-Token=local", "", (400, "InvalidToken")),
        (date, shorter.as_str(), malformed),
        (signature, flipped(signature).as_str(), mismatch),
        (signature, "", mismatch),
    ] {
        assert!(link.contains(from), "{from} is not in {link}");
        let changed = link.replacen(from, to, 1);
        let answered = library.fetch(&changed).await;
        assert_ne!(answered.0, 200, "{from} becomes {to}");
        Library::assert_refused(answered, expected);
    }
    Library::assert_refused(library.fetch(&format!("{link}&more=1")).await, mismatch);
    // It is valid for GET, and only for this host.
    assert_eq!(library.send(Method::HEAD, &link).await.0, 403);
    let not_allowed = (405, "MethodNotAllowed");
    Library::assert_refused(library.send(Method::PUT, &link).await, not_allowed);
    Library::assert_refused(library.send(Method::DELETE, &link).await, not_allowed);
    let elsewhere = library.client.get(&link).header("host", "other.example.com");
    let elsewhere = elsewhere.send().await.unwrap();
    Library::assert_refused(
        (elsewhere.status().as_u16(), elsewhere.text().await.unwrap()),
        mismatch,
    );
}

#[tokio::test]
async fn a_link_works_for_five_minutes_and_not_before_its_time() {
    let library = Library::open().await;
    let now = ManualClock::now().now().unix_seconds();
    let at = |seconds: i64| ManualClock::at(now + seconds);
    for seconds in [-290, 0, 600] {
        let link = library.link_at(at(seconds)).await;
        assert_eq!(library.fetch(&link).await.0, 200, "{seconds}");
    }
    for (seconds, message) in [
        (-302, "Request has expired"),
        (-86_400, "Request has expired"),
        (1_200, "Request is not yet valid"),
    ] {
        let answered = library.fetch(&library.link_at(at(seconds)).await).await;
        assert!(answered.1.contains(message), "{seconds}: {}", answered.1);
        Library::assert_refused(answered, (403, "AccessDenied"));
    }
}

#[tokio::test]
async fn a_missing_file_is_denied_and_named_to_the_developer() {
    let library = Library::open().await;
    let longer = tests::world::edited_catalog(|text| {
        text.replace("  \"Tools\",\n", "  \"Tools\",\n  \"Not written yet\",\n")
    });
    library.world.publish(&longer).await.unwrap();
    let (status, link) = library.ask("first-steps", "4", &learner("ada")).await;
    assert_eq!(status, 200, "{link}");
    // The signing role may not list the bucket, and then S3 doesn't reveal what is missing.
    let answered = library.fetch(link["url"].as_str().unwrap()).await;
    Library::assert_refused(answered, (403, "AccessDenied"));
    let told = library.told.lock().unwrap().clone();
    assert_eq!(told[0].path, "/coursegate-content/content/first-steps/4.html");
}

#[tokio::test]
async fn only_the_site_s_pages_may_read_the_bucket() {
    let library = Library::open().await;
    let link = library.link().await;
    let allowed = |response: &reqwest::Response| {
        let origin = response.headers().get("access-control-allow-origin");
        origin.map(|origin| origin.to_str().unwrap().to_owned())
    };
    for (origin, expected) in
        [(SITE_ORIGIN, Some(SITE_ORIGIN.to_owned())), ("https://eve.example.com", None)]
    {
        let response = library.client.get(&link).header("origin", origin).send().await.unwrap();
        assert_eq!((response.status().as_u16(), allowed(&response)), (200, expected.clone()));
        let preflight = library.client.request(Method::OPTIONS, &link);
        let preflight = preflight.header("origin", origin);
        let preflight = preflight.header("access-control-request-method", "GET").send().await;
        let preflight = preflight.unwrap();
        let status = if expected.is_some() { 200 } else { 403 };
        assert_eq!((preflight.status().as_u16(), allowed(&preflight)), (status, expected));
        let put = library.client.request(Method::OPTIONS, &link).header("origin", origin);
        let put = put.header("access-control-request-method", "PUT").send().await.unwrap();
        assert_eq!((put.status().as_u16(), allowed(&put)), (403, None));
    }
}

#[tokio::test]
async fn a_link_costs_one_read_and_is_not_logged() {
    listen();
    let mut world = World::new().await;
    let meter = world.meter().await;
    let function = world.entitlements();
    function.catalog.get(world.clock.now()).await.unwrap();
    let _ = meter.take();
    let request = api(CHAPTER, "/courses/tutorclaw/chapters/5", &learner("ada"), None);
    let (status, link) = answer(&entitlements::handle(&function, &request).await);
    assert_eq!(status, 200, "{link}");
    let reading = meter.take();
    assert_eq!(reading.calls, BTreeMap::from([("GetItem".to_owned(), 1)]));
    let lines = lines();
    let checked = lines.iter().find(|line| line["message"] == "access checked").unwrap();
    assert_eq!(
        (&checked["outcome"], &checked["course.id"]),
        (&json!("granted"), &json!("tutorclaw"))
    );
    let logged = lines.iter().map(Value::to_string).collect::<String>();
    assert!(!logged.contains("X-Amz") && !logged.contains(".html"), "{logged}");
}

#[test]
fn demo_chapters_and_their_text_files_match() {
    let catalog = catalog();
    let mut files = BTreeSet::new();
    for course in catalog.courses() {
        for chapter in 1..=course.chapters.len() {
            let text = text_of(course.id.as_str(), chapter);
            assert!(text.starts_with("<article>\n") && text.ends_with("</article>\n"), "{text}");
            assert!(text.len() > 600, "{} {chapter} is short", course.id);
            // Its title is the page's; nothing in it can run, load anything, or imitate the page.
            for tag in text.split('<').skip(1).filter_map(|part| part.split_once('>')) {
                let (name, attributes) = tag.0.split_once(' ').unwrap_or((tag.0, ""));
                let name = name.trim_start_matches('/');
                assert!(!["h1", "script", "style", "img"].contains(&name), "{}", tag.0);
                assert!(["", "scope=\"col\""].contains(&attributes), "{}", tag.0);
            }
            files.insert(PathBuf::from(format!("content/{}/{chapter}.html", course.id)));
        }
    }
    let there: BTreeSet<PathBuf> = crate::tidy::files("content", "").into_iter().collect();
    assert_eq!(there, files);
}
