//! The pages that an upgrade link shows: what it sells, or why it can't. They have no script and load
//! nothing. What others wrote goes through [`escape`].

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lambda_http::http::StatusCode;
use lambda_http::{Body, Response};
use sha2::{Digest, Sha256};
use shared::domain::catalog::Offer;
use shared::domain::time::Timestamp;
use shared::http::{Problem, day, html};

const STYLE: &str = include_str!("page.css");

/// How a page's button sends its form: to the page's own address, however that was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    /// Shows the link's page again.
    Get,
    /// Opens a session.
    Post,
}

/// What a link sells, and the button that leads to the payment. `opens` has the titles of the courses.
pub(crate) fn offer(offer: Offer<'_>, opens: &[String], expires_at: Timestamp) -> Response<Body> {
    let (name, price) = (escape(&offer.product.name), offer.price.money);
    let titles: Vec<String> =
        opens.iter().map(|title| format!("<li dir=\"auto\">{}</li>", escape(title))).collect();
    let titles = titles.concat();
    let description = escape(&format!("{price}. Opens {}.", opens.join(", ")));
    let head = format!(
        "<meta name=\"description\" content=\"{description}\">\
         <meta property=\"og:title\" content=\"{name}\">\
         <meta property=\"og:description\" content=\"{description}\">"
    );
    let body = format!(
        "<h1 dir=\"auto\">{name}</h1><p class=\"price\">{price}</p>\
         <h2>What you get</h2><ul>{titles}</ul>{button}\
         <p class=\"small\">You pay on Stripe’s page. What you buy opens in the account that this \
         link was made for.</p>\
         <p class=\"small\">This link works until {until}.</p>",
        button = button(Method::Post, "Continue to payment"),
        until = day(expires_at),
    );
    page(StatusCode::OK, &name, &head, &body, &[])
}

/// What went wrong, what to do about it, and a button where trying again helps.
pub(crate) fn problem(
    problem: &Problem,
    method: Method,
    request_id: Option<&str>,
) -> Response<Body> {
    let status = problem.kind().status_code();
    let title = escape(problem.kind().title());
    let mut body = format!("<h1>{title}</h1><p>{}</p>", escape(problem.detail()));
    let mut headers = Vec::new();
    if let Some(seconds) = problem.retry_after_seconds() {
        headers.push(("retry-after", seconds.to_string()));
        body.push_str(&button(method, "Try again"));
    }
    if let Some(id) = request_id.filter(|_| status.is_server_error()) {
        let reference = format!("<p class=\"small\">Reference: <code>{}</code></p>", escape(id));
        body.push_str(&reference);
    }
    page(status, &title, "", &body, &headers)
}

fn button(method: Method, label: &str) -> String {
    let method = match method {
        Method::Get => "get",
        Method::Post => "post",
    };
    format!("<form method=\"{method}\"><button>{label}</button></form>")
}

/// `title`, `head` and `body` are HTML.
fn page(
    status: StatusCode,
    title: &str,
    head: &str,
    body: &str,
    headers: &[(&'static str, String)],
) -> Response<Body> {
    let style = STANDARD.encode(Sha256::digest(STYLE));
    let policy = format!(
        // No form-action: Chromium applies it to the redirect after the form too, and Stripe's page
        // may be at a domain of the author's. https://github.com/w3c/webappsec-csp/issues/8
        "default-src 'none'; style-src 'sha256-{style}'; img-src data:; base-uri 'none'; \
         frame-ancestors 'none'"
    );
    let always = [
        ("content-security-policy", policy),
        ("referrer-policy", "no-referrer".to_owned()),
        ("x-robots-tag", "noindex".to_owned()),
    ];
    let page = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>{title}</title>{head}<link rel=\"icon\" href=\"data:,\">\
         <style>{STYLE}</style></head><body><main>{body}</main></body></html>"
    );
    html(status, &[&always, headers].concat(), page)
}

/// Text as HTML, for an element or a quoted attribute.
fn escape(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            other => html.push(other),
        }
    }
    html
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_become_markup() {
        let hostile = "</title><script>alert('x')</script>\" onload=\"&";
        let escaped = "&lt;/title&gt;&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&quot; \
                       onload=&quot;&amp;";
        assert_eq!(escape(hostile), escaped);
    }
}
