//! The stack's own pages: the home page, and the layout of the others.

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;

use crate::addresses::{Addresses, Demo, Stripe};

const STYLE: &str = include_str!("pages/style.css");

/// The home page of a stack at these addresses that sells this.
pub(crate) fn router(addresses: Addresses, demo: Option<Demo>, stripe: Stripe) -> Router {
    Router::new()
        .route("/local", get(home))
        .route("/local/", get(home))
        .route("/local/style.css", get(style))
        .with_state(Shop { addresses, demo, stripe })
}

#[derive(Clone)]
struct Shop {
    addresses: Addresses,
    demo: Option<Demo>,
    stripe: Stripe,
}

/// A page. `body` is HTML; foreign text in it must be [`escape`]d.
pub(crate) fn page(status: StatusCode, title: &str, body: &str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (
            header::CONTENT_SECURITY_POLICY,
            // Without an empty icon, browsers request one and report that the policy forbids it.
            "default-src 'none'; style-src 'self'; img-src data:; form-action 'self'; \
             base-uri 'none'; frame-ancestors 'none'",
        ),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    let title = escape(title);
    let html = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>{title} · Coursegate</title>\
         <link rel=\"icon\" href=\"data:,\">\
         <link rel=\"stylesheet\" href=\"/local/style.css\"></head>\
         <body><header><a href=\"/local\">Coursegate</a> <span>on this machine</span></header>\
         <main><h1>{title}</h1>{body}</main></body></html>"
    );
    (status, headers, html).into_response()
}

/// Escapes text for HTML.
pub(crate) fn escape(text: &str) -> String {
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

async fn style() -> Response {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], STYLE).into_response()
}

async fn home(State(Shop { addresses, demo, stripe }): State<Shop>) -> Response {
    let (mut rows, mut lines) = (String::new(), String::new());
    for (name, address) in addresses.named() {
        let address = escape(&address);
        rows.push_str("<tr><th scope=\"row\">");
        rows.push_str(name);
        rows.push_str("</th><td><code>");
        rows.push_str(&address);
        rows.push_str("</code></td></tr>");
    }
    for step in addresses.try_this(demo.as_ref(), &stripe) {
        lines.push_str("<li><p>");
        lines.push_str(&escape(&step.says));
        lines.push_str("</p><pre>");
        lines.push_str(&escape(&step.command));
        lines.push_str("</pre></li>");
    }
    let emulated = match stripe {
        Stripe::Simulator => {
            "an emulator for everything emulated them. Nothing leaves this machine, and no card \
             is charged."
        }
        Stripe::Account { .. } => {
            "an emulator for the AWS services emulated them. Stripe is real, in test mode: no card \
             is charged."
        }
    };
    let body = format!(
        "<p>The functions that sell courses through Stripe run here as they do in AWS, with \
         {emulated}</p>\
         <p><a class=\"button\" href=\"/\">Open the site</a></p>\
         <h2>Addresses</h2><table>{rows}</table>\
         <h2>Try this in a shell</h2><ol>{lines}</ol>\
         <p>You can also get a token for the shell <a href=\"/local/sign-in\">by signing in here</a>. \
         Codes for new accounts are <a href=\"/local/mail\">among the e-mails</a>.</p>"
    );
    page(StatusCode::OK, "The local stack", &body)
}

#[cfg(test)]
mod tests {
    #[test]
    fn foreign_text_cannot_become_markup() {
        let escaped = super::escape("<script>alert('\"&')</script>");
        assert_eq!(escaped, "&lt;script&gt;alert(&#39;&quot;&amp;&#39;)&lt;/script&gt;");
    }
}
