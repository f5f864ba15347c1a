//! The site's files, its other origin, and the API's CORS.

use std::path::Path;

use local::Keep;
use local::stack::{Options, Stack};
use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::support::{Folder, client, options, template_file};

/// A stack with its own site.
struct Visited {
    stack: Stack,
    client: reqwest::Client,
    folder: Folder,
}

impl Visited {
    async fn with(files: &[(&str, &str)]) -> Visited {
        Visited::of(std::fs::read_to_string(template_file()).unwrap(), files).await
    }

    async fn of(template: String, files: &[(&str, &str)]) -> Visited {
        let folder = Folder::new();
        std::fs::write(folder.0.join("template.yaml"), template).unwrap();
        for (path, text) in files {
            write(&folder.0, path, text);
        }
        let template = folder.0.join("template.yaml");
        let stack = Stack::start(Options { template, ..options(Keep::Memory) }).await.unwrap();
        stack.open();
        Visited { stack, client: client(), folder }
    }

    fn origin(&self) -> String {
        self.stack.addresses().gateway.clone()
    }

    /// The same machine by another name, which is another site to a browser.
    fn other_origin(&self) -> String {
        self.origin().replace("127.0.0.1", "localhost")
    }

    async fn get(&self, path: &str) -> (u16, Response) {
        let response = self.client.get(self.origin() + path).send().await.unwrap();
        (response.status().as_u16(), response)
    }

    async fn get_elsewhere(&self, path: &str) -> Response {
        let host = self.other_origin().replace("http://", "");
        self.client.get(self.origin() + path).header("host", host).send().await.unwrap()
    }

    async fn ask(&self, method: Method, path: &str, headers: &[(&str, &str)]) -> Response {
        let mut request = self.client.request(method, self.origin() + path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.send().await.unwrap()
    }
}

fn write(folder: &Path, path: &str, text: &str) {
    let file = folder.join(path);
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(file, text).unwrap();
}

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

const FILES: &[(&str, &str)] = &[
    ("web/index.html", "the page"),
    ("web/app.js", "the script"),
    ("web/elements/sheet.css", "the style"),
    ("web/.hidden.js", "hidden"),
    ("web/demo/embed.html", "<script src=\"https://learn.example.com/elements.js\"></script>"),
    ("secret.txt", "not of the site"),
];

#[tokio::test]
async fn paths_without_a_dot_serve_the_page_others_a_file() {
    let visited = Visited::with(FILES).await;
    for path in [
        "/",
        "/course/tutorclaw/6",
        "/success?session_id=cs_1.2",
        "/apix",
        "/nothing/",
        "/app%2Ejs",
    ] {
        let (status, response) = visited.get(path).await;
        assert_eq!(header(&response, "content-type"), "text/html; charset=utf-8", "{path}");
        assert_eq!((status, response.text().await.unwrap().as_str()), (200, "the page"), "{path}");
    }
    for (path, kind, text) in [
        ("/app.js", "text/javascript; charset=utf-8", "the script"),
        ("/elements/sheet.css", "text/css; charset=utf-8", "the style"),
    ] {
        let (status, response) = visited.get(path).await;
        assert_eq!((status, header(&response, "content-type")), (200, kind));
        assert_eq!(response.text().await.unwrap(), text);
    }
    for path in [
        "/nothing.js",
        "/.hidden.js",
        "/%2e%2e/secret.txt",
        "/..%2fsecret.txt",
        "/elements/../../secret.txt",
        "/elements/%2e%2e/%2e%2e/secret.txt",
        "//etc/host.conf",
        "/elements%5c..%5capp.js",
        "/local/nothing",
        "/api/nothing",
    ] {
        assert_eq!(visited.get(path).await.0, 404, "{path}");
    }
    // A missing file still gets the site's headers.
    let (_, nothing) = visited.get("/nothing.js").await;
    assert!(header(&nothing, "content-security-policy").starts_with("default-src 'none'"));
    for method in [Method::POST, Method::PUT, Method::DELETE] {
        assert_eq!(visited.ask(method, "/course/tutorclaw", &[]).await.status(), 405);
    }
    visited.stack.shutdown().await;
}

#[tokio::test]
async fn an_edit_shows_at_once_because_files_are_revalidated() {
    let visited = Visited::with(FILES).await;
    assert_eq!(header(&visited.get("/app.js").await.1, "cache-control"), "no-cache");
    write(&visited.folder.0, "web/app.js", "edited");
    assert_eq!(visited.get("/app.js").await.1.text().await.unwrap(), "edited");
    visited.stack.shutdown().await;
}

#[tokio::test]
async fn the_csp_is_the_template_s() {
    let visited = Visited::with(FILES).await;
    let (_, page) = visited.get("/course/tutorclaw").await;
    let policy = header(&page, "content-security-policy");
    let bucket = &visited.stack.addresses().content;
    assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self'; "));
    assert!(policy.contains(&format!("connect-src 'self' {bucket} ")), "{policy}");
    assert!(policy.ends_with("; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"));
    for loose in ["unsafe", "*", " http: ", " https: ", "blob:"] {
        assert!(!policy.contains(loose), "{policy}");
    }
    assert_eq!(header(&page, "x-content-type-options"), "nosniff");
    assert_eq!(header(&page, "referrer-policy"), "no-referrer");
    assert_eq!(header(&page, "x-frame-options"), "DENY");
    visited.stack.shutdown().await;
}

#[tokio::test]
async fn the_site_s_config_has_every_address() {
    let visited = Visited::with(FILES).await;
    let (status, response) = visited.get("/config.json").await;
    assert_eq!((status, header(&response, "access-control-allow-origin")), (200, "*"));
    let origin = visited.origin();
    let expected = json!({
        "api": "/api",
        "sign_in": {
            "authorize": format!("{origin}/local/authorize"),
            "token": format!("{origin}/local/token"),
            "revoke": format!("{origin}/local/revoke"),
            "logout": format!("{origin}/local/logout"),
            "client_id": "coursegate-site",
            "scope": "openid email coursegate/learn",
            "redirect": format!("{origin}/"),
            "sign_up": format!("{origin}/local/cognito-idp"),
            "passkeys": null,
        },
        "embed_origins": [visited.other_origin()],
    });
    assert_eq!(response.json::<Value>().await.unwrap(), expected);
    visited.stack.shutdown().await;
}

#[tokio::test]
async fn the_other_origin_serves_the_demo_and_redirects_the_rest() {
    let visited = Visited::with(FILES).await;
    let demo = visited.get_elsewhere("/demo/embed.html").await;
    assert_eq!((demo.status().as_u16(), header(&demo, "content-security-policy")), (200, ""));
    let expected = format!("<script src=\"{}/elements.js\"></script>", visited.origin());
    assert_eq!(demo.text().await.unwrap(), expected);
    for path in ["/", "/course/tutorclaw?a=b", "/app.js", "/demo/../app.js"] {
        let led = visited.get_elsewhere(path).await;
        assert_eq!(led.status(), 302, "{path}");
        assert!(header(&led, "location").starts_with(&visited.origin()), "{path}");
    }
    assert_eq!(visited.get_elsewhere("/demo/nothing.html").await.status(), 404);
    assert_eq!(visited.get_elsewhere("/demo/..%2f..%2fsecret.txt").await.status(), 404);
    // The scripts may be loaded from everywhere.
    let (_, script) = visited.get("/app.js").await;
    assert_eq!(header(&script, "access-control-allow-origin"), "*");
    visited.stack.shutdown().await;
}

#[tokio::test]
async fn cors_allows_the_template_s_origins() {
    let visited = Visited::with(FILES).await;
    let ours = visited.other_origin();
    let allowed = |response: &Response| header(response, "access-control-allow-origin").to_owned();
    for (origin, expected) in [
        (ours.as_str(), ours.as_str()),
        ("https://eve.example.com", ""),
        ("null", ""),
        ("http://localhost", ""),
    ] {
        let asked = [("origin", origin), ("access-control-request-method", "POST")];
        let preflight = visited.ask(Method::OPTIONS, "/api/checkout", &asked).await;
        assert_eq!((preflight.status().as_u16(), allowed(&preflight).as_str()), (204, expected));
        if !expected.is_empty() {
            let headers = header(&preflight, "access-control-allow-headers");
            assert_eq!(headers, "authorization,content-type");
            assert_eq!(header(&preflight, "access-control-allow-methods"), "GET,POST");
            assert_eq!(header(&preflight, "access-control-max-age"), "600");
        }
        // Errors are readable too, and contain nothing more.
        for (path, status) in [("/api/courses", 200), ("/api/entitlements", 401)] {
            let answer = visited.ask(Method::GET, path, &[("origin", origin)]).await;
            assert_eq!((answer.status().as_u16(), allowed(&answer).as_str()), (status, expected));
            let exposed = header(&answer, "access-control-expose-headers");
            assert_eq!(exposed.is_empty(), expected.is_empty());
            assert_eq!(header(&answer, "access-control-allow-credentials"), "");
        }
    }
    let asked = [("origin", ours.as_str()), ("access-control-request-method", "DELETE")];
    let preflight = visited.ask(Method::OPTIONS, "/api/checkout", &asked).await;
    assert_eq!(allowed(&preflight), "");
    visited.stack.shutdown().await;
}

/// The answers of the function and of the gateway itself: a function's own, without a token, without
/// a route, and a preflight.
async fn cors_of_each_kind_of_answer(visited: &Visited) -> Vec<(u16, String)> {
    let ours = visited.other_origin();
    let origin = ("origin", ours.as_str());
    let asks = ("access-control-request-method", "POST");
    let mut found = Vec::new();
    for (method, path, headers) in [
        (Method::GET, "/api/courses", &[origin][..]),
        (Method::GET, "/api/courses", &[origin, ("x-do", "crash")]),
        (Method::GET, "/api/entitlements", &[origin]),
        (Method::GET, "/api/nothing", &[origin]),
        (Method::OPTIONS, "/api/checkout", &[origin, asks]),
    ] {
        let answer = visited.ask(method, path, headers).await;
        let allowed = answer.headers().get_all("access-control-allow-origin").iter();
        let allowed: Vec<&str> = allowed.map(|value| value.to_str().unwrap()).collect();
        let exposed = !header(&answer, "access-control-expose-headers").is_empty();
        assert_eq!(exposed, !allowed.is_empty(), "{path}");
        let varies = answer.headers().get_all("vary").iter().filter(|it| *it == "origin").count();
        assert_eq!(varies, allowed.len(), "{path}");
        found.push((answer.status().as_u16(), allowed.join(" ").replace(&ours, "ours")));
    }
    found
}

#[tokio::test]
async fn cloudfront_adds_cors_to_the_gateway_s_own_errors() {
    let template = std::fs::read_to_string(template_file()).unwrap();
    let policy = "  ApiHeaders:\n    Type: AWS::CloudFront::ResponseHeadersPolicy\n    Condition: ";
    // A condition that doesn't hold here.
    let without =
        template.replace(&format!("{policy}HostedSiteIsEmbedded"), &format!("{policy}OwnPool"));
    assert_ne!(without, template);
    for (template, added) in [(template, "ours"), (without, "")] {
        let visited = Visited::of(template, FILES).await;
        let expected = [(200, "ours"), (502, added), (401, added), (404, added), (204, "ours")];
        let expected = expected.map(|(status, allowed)| (status, allowed.to_owned()));
        assert_eq!(cors_of_each_kind_of_answer(&visited).await, expected);
        visited.stack.shutdown().await;
    }
}

#[tokio::test]
async fn without_a_site_the_page_lists_what_is_there() {
    let visited = Visited::with(&[]).await;
    let (status, page) = visited.get("/").await;
    let page = page.text().await.unwrap();
    assert_eq!(status, 404);
    assert!(page.contains("web/index.html") && page.contains("href=\"/local\""), "{page}");
    let (status, page) = visited.get("/local").await;
    let page = page.text().await.unwrap();
    let addresses = visited.stack.addresses();
    assert_eq!(status, 200);
    for address in [&addresses.gateway, &addresses.dynamodb, &addresses.content] {
        assert!(page.contains(address), "{address} is not in {page}");
    }
    visited.stack.shutdown().await;
}
