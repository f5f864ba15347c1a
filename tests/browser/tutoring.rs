//! A tutor in a chat, without a model, through a learner's whole first purchase: it asks with its
//! tools, says what they say, and the learner pays in the browser.

use reqwest::Client;
use serde_json::{Value, json};

use crate::browser::PHONE;
use crate::shop::Shop;
use crate::visitor::visit_on;

/// A tutor, and the learner that it is talking to.
struct Tutor<'a> {
    shop: &'a Shop,
    http: Client,
    token: String,
    learner: &'static str,
}

impl<'a> Tutor<'a> {
    async fn of(shop: &'a Shop, learner: &'static str) -> Self {
        let http = Client::builder().no_proxy().build().unwrap();
        let token = http.post(shop.site("/local/service-token")).header("accept", "text/plain");
        let token = token.send().await.unwrap().text().await.unwrap().trim().to_owned();
        Self { shop, http, token, learner }
    }

    /// A tool's result.
    async fn call(&self, tool: &str, mut arguments: Value) -> Value {
        arguments["learner"] = self.learner.into();
        let call = json!({
            "jsonrpc": "2.0",
            "id": 1,
            "method": "tools/call",
            "params": { "name": tool, "arguments": arguments },
        });
        let request = self.http.post(self.shop.site("/api/mcp")).bearer_auth(&self.token);
        let request = request.header("accept", "application/json, text/event-stream");
        let answer = request.json(&call).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        answer.json::<Value>().await.unwrap()["result"].clone()
    }

    /// Whether it goes on to a chapter, and what it says about that.
    async fn goes_on_to(&self, chapter: u32) -> (bool, String) {
        let arguments = json!({ "course": "tutorclaw", "chapter": chapter });
        let result = self.call("check_access", arguments).await;
        let is_open = result["structuredContent"]["access"] == "granted";
        (is_open, result["content"][0]["text"].as_str().unwrap().to_owned())
    }

    /// Waits until it may go on to a chapter, as a learner who has just paid does.
    async fn is_let_on_to(&self, chapter: u32) {
        for _ in 0..200 {
            if self.goes_on_to(chapter).await.0 {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        panic!("chapter {chapter} stays closed");
    }
}

#[tokio::test]
async fn a_tutor_sells_the_next_chapter_in_a_chat() {
    visit_on(PHONE, async |learner| {
        let tutor = Tutor::of(&learner.shop, "x-chat-9").await;
        let (is_open, says) = tutor.goes_on_to(5).await;
        assert!(is_open, "{says}");
        // Stopped at chapter six, with the price.
        let (is_open, says) = tutor.goes_on_to(6).await;
        assert!(!is_open && says.contains("9.99 USD"), "{says}");
        let sixth = json!({ "course": "tutorclaw", "chapter": 6 });
        let refused = tutor.call("open_chapter", sixth.clone()).await;
        assert_eq!(refused["isError"], true, "{refused}");
        // The link goes into the chat, and the learner pays on their phone without signing in.
        let link = tutor.call("get_upgrade_url", json!({ "course": "tutorclaw" })).await;
        learner.opens(link["structuredContent"]["url"].as_str().unwrap()).await;
        learner.presses("Continue to payment").await;
        learner.pays_with("4242 4242 4242 4242").await;
        learner.sees(&["Thank you. Back to your chat."]).await;
        // "You're in."
        tutor.is_let_on_to(6).await;
        let again = tutor.call("get_upgrade_url", json!({ "course": "tutorclaw" })).await;
        let problem = &again["structuredContent"]["type"];
        assert_eq!(problem, "urn:coursegate:problem:already-entitled", "nothing is sold twice");
        let explained = tutor.call("explain_access", json!({ "product": "tutorclaw" })).await;
        let says = explained["content"][0]["text"].as_str().unwrap();
        assert!(says.ends_with("is open. What happened: Paid 9.99 USD."), "{says}");
        // Chapter six.
        let with_text = json!({ "course": "tutorclaw", "chapter": 6, "text": true });
        let opened = tutor.call("open_chapter", with_text).await;
        let text = opened["content"][2]["text"].as_str().unwrap();
        assert!(text.contains("“Well done!” teaches nothing"), "{text}");
        // The learner reads the same.
        let url = opened["structuredContent"]["url"].as_str().unwrap();
        assert_eq!(tutor.http.get(url).send().await.unwrap().text().await.unwrap(), text);
    })
    .await;
}
