//! Small pages where the course frontend will be: what runs here, and where Stripe sends people.

use axum::Router;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use serde::Deserialize;

use crate::addresses::{Addresses, Demo, Stripe};

const STYLE: &str = include_str!("pages/style.css");

/// The pages, for a stack at these addresses that sells this.
pub(crate) fn router(addresses: Addresses, demo: Option<Demo>, stripe: Stripe) -> Router {
    Router::new()
        .route("/", get(home))
        .route("/success", get(success))
        .route("/cancel", get(cancel))
        .route("/course/{course}", get(course))
        .route("/local/style.css", get(style))
        .with_state(Shop { addresses, demo, stripe })
}

#[derive(Clone)]
struct Shop {
    addresses: Addresses,
    demo: Option<Demo>,
    stripe: Stripe,
}

/// A page. `body` is HTML; what it shows of others' making must be [`escape`]d.
pub(crate) fn page(status: StatusCode, title: &str, body: &str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (
            header::CONTENT_SECURITY_POLICY,
            // Without an empty icon, browsers ask for one and complain that this forbids it.
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
         <body><header><a href=\"/\">Coursegate</a> <span>on this machine</span></header>\
         <main><h1>{title}</h1>{body}</main></body></html>"
    );
    (status, headers, html).into_response()
}

/// Text as HTML.
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
    let around = match stripe {
        Stripe::Simulator => {
            "everything around them played by one process. Nothing leaves this machine, and no \
             card is charged."
        }
        Stripe::Account { .. } => {
            "what AWS has around them played by one process. Stripe is Stripe itself, in test \
             mode: no card is charged."
        }
    };
    let body = format!(
        "<p>The functions that sell courses through Stripe run here as they do in AWS, with \
         {around}</p>\
         <p><a class=\"button\" href=\"/local/sign-in\">Sign in</a></p>\
         <h2>Addresses</h2><table>{rows}</table>\
         <h2>Try this</h2><ol>{lines}</ol>"
    );
    page(StatusCode::OK, "The local stack", &body)
}

#[derive(Deserialize)]
struct Success {
    session_id: String,
}

async fn success(
    State(Shop { addresses, stripe, .. }): State<Shop>,
    query: Result<Query<Success>, QueryRejection>,
) -> Response {
    let Ok(Query(Success { session_id })) = query else {
        let body = "<p>Stripe adds <code>session_id</code> to this address; it is missing.</p>";
        return page(StatusCode::BAD_REQUEST, "Which session?", body);
    };
    if session_id.is_empty() || !session_id.chars().all(is_of_an_id) {
        let body = "<p>The <code>session_id</code> in this address is none of Stripe's.</p>";
        return page(StatusCode::BAD_REQUEST, "Which session?", body);
    }
    let gateway = escape(&addresses.gateway);
    let settled = match stripe {
        Stripe::Simulator => {
            let simulator = escape(&addresses.stripe);
            format!("on <a href=\"{simulator}/c/pay/{session_id}\">the session's page</a>")
        }
        Stripe::Account { .. } => "by the bank".to_owned(),
    };
    let body = format!(
        "<p>Stripe has sent you back. A card has paid; a bank debit is on its way until it is \
         settled {settled}.</p>\
         <p>The course site doesn't wait for the webhook and asks for itself:</p>\
         <pre>curl -X POST -H \"authorization: Bearer $token\" \\\n  \
         {gateway}/api/checkout/{session_id}/confirm</pre>\
         <p><a href=\"/\">What else there is to try</a></p>"
    );
    page(StatusCode::OK, "Back from Stripe", &body)
}

fn is_of_an_id(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '_' | '-')
}

#[derive(Deserialize)]
struct Cancel {
    #[serde(default)]
    price: String,
}

async fn cancel(query: Result<Query<Cancel>, QueryRejection>) -> Response {
    let price = query.map(|Query(cancel)| cancel.price).unwrap_or_default();
    let what = match price.as_str() {
        "" => String::new(),
        price => format!(" for <code>{}</code>", escape(price)),
    };
    let body = format!(
        "<p>You left Stripe's page{what} without paying. Nothing was charged. Asking for a checkout \
         again leads back to the same page while it is open, and to a new one after that.</p>\
         <p><a href=\"/\">What else there is to try</a></p>"
    );
    page(StatusCode::OK, "Not bought", &body)
}

async fn course(
    State(Shop { addresses, .. }): State<Shop>,
    Path(course): Path<String>,
) -> Response {
    if !course.chars().all(is_of_an_id) {
        let body = "<p>A course's id is letters, digits, - and _.</p>";
        return page(StatusCode::NOT_FOUND, "Which course?", body);
    }
    let body = format!(
        "<p>The course site would show <code>{course}</code> here. Whether somebody may open it is \
         the API's to say:</p>\
         <pre>curl -H \"authorization: Bearer $token\" \\\n  \
         '{}/api/courses/{course}/access'</pre>",
        escape(&addresses.gateway),
    );
    page(StatusCode::OK, "A course", &body)
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_others_wrote_stays_text() {
        let escaped = super::escape("<script>alert('\"&')</script>");
        assert_eq!(escaped, "&lt;script&gt;alert(&#39;&quot;&amp;&#39;)&lt;/script&gt;");
    }
}
