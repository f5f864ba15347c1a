//! A stack under test, with [`crate::function`] as its functions.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use local::Keep;
use local::lambda::{Program, Programs};
use local::observer::{Observer, Served};
use local::stack::{Options, Ports, Stack, StartError};
use serde_json::Value;

/// A running stack, the requests it has served, and a client.
pub(crate) struct TestStack {
    pub(crate) stack: Stack,
    pub(crate) served: Arc<Mutex<Vec<Served>>>,
    pub(crate) client: reqwest::Client,
}

pub(crate) fn options(keep: Keep) -> Options {
    Options {
        template: template_file(),
        keep,
        ports: Ports::FREE,
        programs: Programs::One(this_program()),
        instances_max: 4,
        account_concurrency: None,
        parameters: BTreeMap::new(),
        observer: Observer::new(|_| {}),
        demo: None,
        account: None,
        deployment_mark: None,
        dynamodb_proxy: None,
        stripe_proxy: None,
    }
}

pub(crate) fn template_file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../template.yaml")
}

/// The variable that makes this executable a function.
pub(crate) fn this_program() -> Program {
    Program {
        file: std::env::current_exe().unwrap(),
        arguments: ["--exact", "function::process", "--nocapture"].map(str::to_owned).to_vec(),
    }
}

impl TestStack {
    pub(crate) async fn start() -> TestStack {
        TestStack::start_on(Keep::Memory).await.unwrap()
    }

    pub(crate) async fn start_on(keep: Keep) -> Result<TestStack, StartError> {
        let served = Arc::new(Mutex::new(Vec::new()));
        let record = Arc::clone(&served);
        let observer =
            Observer::new(move |request: &Served| record.lock().unwrap().push(request.clone()));
        let stack = Stack::start(Options { observer, ..options(keep) }).await?;
        stack.open();
        Ok(TestStack { stack, served, client: client() })
    }

    /// Starts on a folder again after a shutdown. A process that another test starts at this moment
    /// has inherited the folder's lock, until it becomes its own program.
    pub(crate) async fn restart_on(keep: impl Fn() -> Keep) -> TestStack {
        loop {
            match TestStack::start_on(keep()).await {
                Err(error) if error.to_string().contains("another local stack is running") => {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                started => return started.unwrap(),
            }
        }
    }

    pub(crate) fn stripe_api_key(&self) -> String {
        self.stack.secrets().current("coursegate/StripeApiKey").unwrap()
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.stack.addresses().gateway)
    }

    pub(crate) async fn get(&self, path: &str, token: Option<&str>) -> (u16, Value) {
        let request = self.client.get(self.url(path));
        answer(match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        })
        .await
    }

    pub(crate) async fn post(&self, path: &str, body: impl Into<reqwest::Body>) -> (u16, Value) {
        let request = self.client.post(self.url(path)).header("content-type", "application/json");
        answer(request.body(body)).await
    }

    /// The access token and the learner's id.
    pub(crate) async fn login(&self, email: &str) -> (String, String) {
        let (status, body) = self.post("/local/login", format!("{{\"email\":\"{email}\"}}")).await;
        assert_eq!(status, 200, "{body}");
        let text = |name: &str| body[name].as_str().unwrap().to_owned();
        (text("access_token"), text("learner"))
    }
}

pub(crate) fn client() -> reqwest::Client {
    let builder = reqwest::Client::builder().no_proxy();
    builder.redirect(reqwest::redirect::Policy::none()).build().unwrap()
}

pub(crate) async fn answer(request: reqwest::RequestBuilder) -> (u16, Value) {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

/// A temporary folder, removed at the end.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new() -> Folder {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("coursegate-test-{}-{count}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        Folder(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
