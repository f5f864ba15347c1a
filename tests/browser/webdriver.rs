//! A minimal `WebDriver` client over plain HTTP, <https://www.w3.org/TR/webdriver2/>.
//!
//! Crates were tried: one brings older versions of eight crates that are here already, one makes
//! `serde_json` keep the order of fields in every crate under test, and one speaks Chromium's own
//! protocol, which changes with each version, in 14 crates.

use std::path::PathBuf;

use reqwest::{Client, Method};
use serde_json::{Value, json};

/// The key of an element reference in `WebDriver`'s JSON.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// Why a command failed.
#[derive(Debug)]
pub(crate) struct Refusal(#[expect(dead_code, reason = "to be printed")] pub(crate) String);

type Done<T> = Result<T, Refusal>;

/// An open browser.
pub(crate) struct Session {
    client: Client,
    url: String,
    /// The folder for everything that Chromium writes to disk: a chromedriver extension.
    pub(crate) profile: PathBuf,
}

/// An element of the current page.
#[derive(Debug)]
pub(crate) struct Element(String);

impl Session {
    /// Opens a browser with the driver at this address.
    pub(crate) async fn open(driver: &str, capabilities: Value) -> Done<Self> {
        let client = Client::builder().no_proxy().build().unwrap();
        let url = format!("{driver}/session");
        let mut session = Self { client, url, profile: PathBuf::new() };
        let wanted = json!({ "capabilities": { "alwaysMatch": capabilities } });
        let opened = session.command(Method::POST, "", Some(wanted)).await?;
        session.url = format!("{}/{}", session.url, opened["sessionId"].as_str().unwrap());
        session.profile = text(&opened["capabilities"]["chrome"]["userDataDir"]).into();
        Ok(session)
    }

    async fn command(&self, method: Method, path: &str, body: Option<Value>) -> Done<Value> {
        let request = self.client.request(method, format!("{}{path}", self.url));
        let request = body.into_iter().fold(request, |request, body| request.json(&body));
        let refused = |error: reqwest::Error| Refusal(format!("{path}: {error}"));
        let answer = request.send().await.map_err(refused)?;
        let is_done = answer.status().is_success();
        let mut said: Value = answer.json().await.map_err(refused)?;
        if is_done { Ok(said["value"].take()) } else { Err(Refusal(format!("{path}: {said}"))) }
    }

    async fn get(&self, path: &str) -> Done<Value> {
        self.command(Method::GET, path, None).await
    }

    async fn post(&self, path: &str, body: Value) -> Done<Value> {
        self.command(Method::POST, path, Some(body)).await
    }

    pub(crate) async fn close(&self) -> Done<()> {
        self.command(Method::DELETE, "", None).await.map(drop)
    }

    /// Opens an address, and returns once it is loaded.
    pub(crate) async fn open_address(&self, url: &str) -> Done<()> {
        self.post("/url", json!({ "url": url })).await.map(drop)
    }

    /// The current address.
    pub(crate) async fn address(&self) -> Done<String> {
        self.get("/url").await.map(|value| text(&value))
    }

    pub(crate) async fn go_back(&self) -> Done<()> {
        self.post("/back", json!({})).await.map(drop)
    }

    pub(crate) async fn go_forward(&self) -> Done<()> {
        self.post("/forward", json!({})).await.map(drop)
    }

    pub(crate) async fn reload(&self) -> Done<()> {
        self.post("/refresh", json!({})).await.map(drop)
    }

    /// Runs a script in the page, and awaits its promise.
    pub(crate) async fn run(&self, script: &str, arguments: Value) -> Done<Value> {
        self.post("/execute/sync", json!({ "script": script, "args": arguments })).await
    }

    /// The same for a script that finds an element.
    pub(crate) async fn find(&self, script: &str, arguments: Value) -> Done<Option<Element>> {
        let found = self.run(script, arguments).await?;
        Ok(found[ELEMENT].as_str().map(|id| Element(id.to_owned())))
    }

    /// Clicks the middle of the element, which fails if something covers it.
    pub(crate) async fn click(&self, Element(id): &Element) -> Done<()> {
        self.post(&format!("/element/{id}/click"), json!({})).await.map(drop)
    }

    /// Fills in a field, replacing its content.
    pub(crate) async fn fill_in(&self, Element(id): &Element, text: &str) -> Done<()> {
        self.post(&format!("/element/{id}/clear"), json!({})).await?;
        self.post(&format!("/element/{id}/value"), json!({ "text": text })).await.map(drop)
    }

    /// Types into the focused element.
    pub(crate) async fn type_keys(&self, keys: &str) -> Done<()> {
        let strokes: Vec<Value> = keys
            .chars()
            .flat_map(|key| ["keyDown", "keyUp"].map(|kind| json!({ "type": kind, "value": key })))
            .collect();
        let keyboard = json!({ "type": "key", "id": "keyboard", "actions": strokes });
        self.post("/actions", json!({ "actions": [keyboard] })).await.map(drop)
    }

    /// The current window.
    pub(crate) async fn window(&self) -> Done<String> {
        self.get("/window").await.map(|value| text(&value))
    }

    /// Opens a tab and switches to it.
    pub(crate) async fn open_tab(&self) -> Done<()> {
        let tab = self.post("/window/new", json!({ "type": "tab" })).await?;
        self.switch_to(&text(&tab["handle"])).await
    }

    pub(crate) async fn switch_to(&self, window: &str) -> Done<()> {
        self.post("/window", json!({ "handle": window })).await.map(drop)
    }

    /// A screenshot, as PNG in base64.
    pub(crate) async fn screenshot(&self) -> Done<String> {
        self.get("/screenshot").await.map(|value| text(&value))
    }

    /// The console messages since the last call: a chromedriver extension.
    pub(crate) async fn console(&self) -> Done<Vec<String>> {
        let said = self.post("/se/log", json!({ "type": "browser" })).await?;
        let line = |entry: &Value| format!("{}: {}", entry["level"], entry["message"]);
        Ok(said.as_array().unwrap().iter().map(line).collect())
    }

    /// A Chromium command that `WebDriver` doesn't have: a chromedriver extension.
    pub(crate) async fn tell_chromium(&self, command: &str, parameters: Value) -> Done<Value> {
        let body = json!({ "cmd": command, "params": parameters });
        self.post("/goog/cdp/execute", body).await
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
