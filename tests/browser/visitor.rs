//! A visitor to the site. Every step waits until it is possible.

use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures_util::FutureExt as _;
use serde_json::{Value, json};
use tests::world::root;

use crate::browser::{Browser, LAPTOP, Screen};
use crate::shop::Shop;
use crate::webdriver::Element;

const PAGE: &str = include_str!("page.js");
const PATIENCE: Duration = Duration::from_mins(1);
const TAB: &str = "\u{e004}";
const GLANCE: Duration = Duration::from_millis(40);

/// A shop and its visitor.
pub(crate) struct Visitor {
    pub(crate) shop: Shop,
    pub(crate) browser: Browser,
    /// The console messages that the test expects.
    expected: Mutex<Vec<&'static str>>,
}

/// Runs a scenario with a shop of its own. Afterwards the browser's console must contain only the
/// expected messages. After a failure, a screenshot is in `target/browser`.
pub(crate) async fn visit(scenario: impl AsyncFnOnce(&Visitor)) {
    visit_on(LAPTOP, scenario).await;
}

/// The same on another screen.
pub(crate) async fn visit_on(screen: Screen, scenario: impl AsyncFnOnce(&Visitor)) {
    let (shop, browser) = (Shop::open(), Browser::open(screen).await);
    let visitor = Visitor { shop, browser, expected: Mutex::default() };
    let ended = AssertUnwindSafe(async {
        scenario(&visitor).await;
        visitor.assert_console().await;
    });
    let ended = ended.catch_unwind().await;
    if ended.is_err() {
        visitor.save_screenshot().await;
    }
    visitor.browser.close().await;
    if let Err(panic) = ended {
        resume_unwind(panic);
    }
}

impl Visitor {
    /// Opens a path of the site.
    pub(crate) async fn goes_to(&self, path: &str) {
        self.opens(&self.shop.site(path)).await;
    }

    pub(crate) async fn opens(&self, url: &str) {
        self.browser.session.open_address(url).await.unwrap();
    }

    /// The current path and query, on the site.
    async fn path(&self) -> Option<String> {
        let url = self.browser.session.address().await.ok()?;
        let path = url.strip_prefix(&self.shop.site(""))?;
        Some(path.to_owned())
    }

    /// Waits for this path.
    pub(crate) async fn is_at(&self, path: &str) {
        let is_there = async || self.path().await.filter(|at| at == path);
        self.until(&format!("to be at {path}"), is_there).await;
    }

    /// Waits for a path with this prefix.
    pub(crate) async fn is_below(&self, path: &str) {
        let is_there = async || self.path().await.filter(|at| at.starts_with(path));
        self.until(&format!("to be below {path}"), is_there).await;
    }

    /// Waits until all of these texts are visible.
    pub(crate) async fn sees(&self, texts: &[&str]) {
        for text in texts {
            let shown = async || self.text().await.filter(|shown| shown.contains(text));
            self.until(&format!("to see “{text}”"), shown).await;
        }
    }

    /// Waits until this text is no longer visible.
    pub(crate) async fn sees_no_more(&self, text: &str) {
        let gone = async || self.text().await.filter(|shown| !shown.contains(text));
        self.until(&format!("not to see “{text}”"), gone).await;
    }

    /// All visible text.
    pub(crate) async fn text(&self) -> Option<String> {
        let text = self.asks("textOf(document.body)", json!([])).await?;
        text.as_str().map(str::to_owned)
    }

    /// Clicks the button or link whose name starts with this.
    pub(crate) async fn presses(&self, name: &str) {
        let session = &self.browser.session;
        let pressed = async || session.click(&self.control(name).await?).await.ok();
        self.until(&format!("to press “{name}”"), pressed).await;
    }

    /// Fills in a field.
    pub(crate) async fn fills_in(&self, label: &str, text: &str) {
        let session = &self.browser.session;
        let filled = async || session.fill_in(&self.control(label).await?, text).await.ok();
        self.until(&format!("to fill in “{label}”"), filled).await;
    }

    /// Waits for such a control.
    pub(crate) async fn finds(&self, name: &str) -> Element {
        self.until(&format!("to find “{name}”"), async || self.control(name).await).await
    }

    async fn control(&self, name: &str) -> Option<Element> {
        let script = format!("{PAGE}\nreturn control(arguments[0]);");
        self.browser.session.find(&script, json!([name])).await.ok()?
    }

    /// Presses Tab until this control has the focus, and returns how often.
    pub(crate) async fn tabs_to(&self, name: &str) {
        self.finds(name).await;
        for _ in 0..80 {
            let at = self.asks("focused()", json!([])).await.unwrap_or_default();
            if at.as_str().is_some_and(|at| at.starts_with(name)) {
                return;
            }
            self.types(TAB).await;
        }
        panic!("the keyboard doesn't come to “{name}”");
    }

    /// Types into the focused element.
    pub(crate) async fn types(&self, keys: &str) {
        self.browser.session.type_keys(keys).await.unwrap();
    }

    /// Evaluates an expression in the page, with the functions of `page.js`.
    pub(crate) async fn asks(&self, expression: &str, arguments: Value) -> Option<Value> {
        let script = format!("{PAGE}\nreturn {expression};");
        self.browser.session.run(&script, arguments).await.ok()
    }

    /// Waits until an expression is true.
    pub(crate) async fn finds_true(&self, expression: &str) {
        let is_true = async || self.asks(expression, json!([])).await?.as_bool()?.then_some(());
        self.until(expression, is_true).await;
    }

    /// Waits until this returns something.
    pub(crate) async fn until<T: Debug>(&self, what: &str, look: impl AsyncFn() -> Option<T>) -> T {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(GLANCE).await;
        }
        let url = self.browser.session.address().await.unwrap_or_default();
        let seen = self.text().await.unwrap_or_default();
        panic!("it takes too long {what}. At {url} there is: {seen}");
    }

    /// Reloads a page until it shows this, since Stripe's events take a moment.
    pub(crate) async fn reloads_until_they_see(&self, path: &str, text: &str) {
        let shown = async || {
            self.goes_to(path).await;
            self.finds_true("document.querySelector('.waiting') === null").await;
            self.text().await.filter(|shown| shown.contains(text))
        };
        self.until(&format!("to see “{text}”"), shown).await;
    }

    /// Goes offline or online.
    pub(crate) async fn is_offline(&self, offline: bool) {
        let conditions = json!({
            "offline": offline,
            "latency": 0,
            "downloadThroughput": -1,
            "uploadThroughput": -1,
        });
        self.browser.tell("Network.enable", json!({})).await;
        self.browser.tell("Network.emulateNetworkConditions", conditions).await;
    }

    /// Blocks requests to these addresses.
    pub(crate) async fn blocks(&self, addresses: &[&str]) {
        self.browser.tell("Network.enable", json!({})).await;
        self.browser.tell("Network.setBlockedURLs", json!({ "urls": addresses })).await;
    }

    /// Runs a script in each page of this tab before the page's own ones.
    pub(crate) async fn runs_first(&self, source: &str) {
        let script = json!({ "source": source });
        self.browser.tell("Page.addScriptToEvaluateOnNewDocument", script).await;
    }

    /// Says that they have an account if the site asks, and waits for the issuer's page.
    pub(crate) async fn is_at_the_issuer(&self) {
        let is_there = async || {
            if let Some(answer) = self.control("I have an account").await {
                let _ = self.browser.session.click(&answer).await;
            }
            self.path().await.filter(|at| at.starts_with("/local/authorize?"))
        };
        self.until("to be at the issuer", is_there).await;
    }

    /// Signs in with the link of the sign-in page's email.
    pub(crate) async fn follows_the_link(&self, email: &str) {
        self.is_at_the_issuer().await;
        self.fills_in("Email address", email).await;
        self.presses("Send me a link").await;
        self.sees(&["Your sign-in link"]).await;
        self.presses("Sign in").await;
    }

    /// The learner's id, once they are signed in.
    pub(crate) async fn id(&self) -> String {
        let id = self.asks("storedSession().then(({ learner }) => learner)", json!([]));
        id.await.unwrap().as_str().expect("a learner").to_owned()
    }

    /// Pays on Stripe's page with this card.
    pub(crate) async fn pays_with(&self, card: &str) {
        // A returning customer's email is prefilled.
        self.finds("Email").await;
        if self.asks("control('Email').readOnly", json!([])).await != Some(json!(true)) {
            self.fills_in("Email", "buyer@example.com").await;
        }
        self.fills_in("Card number", card).await;
        self.fills_in("Expiry", "12 / 34").await;
        self.fills_in("CVC", "123").await;
        self.presses("Pay $").await;
    }

    /// Allows this console message.
    pub(crate) fn expects_in_the_console(&self, what: &'static str) {
        self.expected.lock().unwrap().push(what);
    }

    async fn assert_console(&self) {
        let expected = self.expected.lock().unwrap().clone();
        let mut unexpected = self.browser.session.console().await.unwrap();
        unexpected.retain(|said| !expected.iter().any(|expected| said.contains(expected)));
        assert!(unexpected.is_empty(), "the console says {unexpected:#?}");
    }

    /// A screenshot, as PNG.
    pub(crate) async fn picture(&self) -> Vec<u8> {
        BASE64_STANDARD.decode(self.browser.session.screenshot().await.unwrap()).unwrap()
    }

    async fn save_screenshot(&self) {
        let test = std::thread::current().name().unwrap_or("test").replace("::", "-");
        let folder = root().join("target/browser");
        let file = folder.join(format!("{test}.png"));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(&file, self.picture().await).unwrap();
        eprintln!("what was to be seen: {}", file.display());
    }
}
