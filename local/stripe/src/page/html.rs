//! The page's HTML. All foreign text goes through [`escape`].

use std::fmt::Write;

use serde_json::Value;

use super::{Entered, Problem, money};
use crate::cards::{TEST_CARDS, TestCard};
use crate::document::Document;
use crate::resources::account::BUSINESS_NAME;

/// Escapes text for an element or a quoted attribute.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// URLs were checked to be http or https when the session was created.
fn link(url: &str, class: &str, label: &str) -> String {
    if url.is_empty() {
        return String::new();
    }
    format!(r#"<a class="{class}" href="{}">{label}</a>"#, escape(url))
}

fn document(title: &str, body: &str) -> String {
    format!(
        r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/c/style.css">
</head>
<body>
<p class="banner"><strong>Stripe simulator</strong> – test mode, no money moves</p>
{body}
</body>
</html>
"#,
        title = escape(title),
    )
}

/// The page of an open session.
pub(crate) fn checkout(
    session: &Value,
    items: &[Value],
    entered: &Entered,
    problem: Option<&Problem>,
) -> String {
    let currency = session.text("currency");
    let total = session.integer("amount_total");
    let body = format!(
        r#"<main class="checkout">
<section class="order" aria-labelledby="order-title">
{back}
<h1 id="order-title">Pay {merchant}</h1>{seller}
<p class="total">{total}</p>
<ul class="items">{items}</ul>
</section>
<section class="payment" aria-labelledby="payment-title">
<h2 id="payment-title">{payment_title}</h2>
{form}
</section>
</main>"#,
        back = link(
            session.text("cancel_url"),
            "back",
            "<span aria-hidden=\"true\">←</span> Back to the shop"
        ),
        merchant = BUSINESS_NAME,
        seller = if session.field("managed_payments").is_true("enabled") {
            "\n<p>Sold through Link</p>"
        } else {
            ""
        },
        total = escape(&money::format(total, currency)),
        items = items.iter().map(item).collect::<String>(),
        payment_title = if total == 0 { "Your details" } else { "Payment details" },
        form = form(session, entered, problem),
    );
    document("Checkout", &body)
}

fn item(item: &Value) -> String {
    let currency = item.text("currency");
    let quantity = item.integer("quantity");
    let each = if quantity > 1 {
        let price = money::format(item.field("price").integer("unit_amount"), currency);
        format!("<small>{quantity} × {}</small>", escape(&price))
    } else {
        String::new()
    };
    format!(
        "<li><span>{}{each}</span><span>{}</span></li>",
        escape(item.text("description")),
        escape(&money::format(item.integer("amount_total"), currency)),
    )
}

fn form(session: &Value, entered: &Entered, problem: Option<&Problem>) -> String {
    let total = session.integer("amount_total");
    let known_email = session.field("customer_details").text("email");
    let email = if known_email.is_empty() { &entered.email } else { known_email };
    let alert = problem.map_or_else(String::new, |problem| {
        format!(r#"<p class="alert" role="alert" id="problem">{}</p>"#, escape(&problem.message))
    });
    let button = if total == 0 {
        "Complete the order".to_owned()
    } else {
        format!("Pay {}", escape(&money::format(total, session.text("currency"))))
    };
    let email_field = Field {
        label: "Email",
        name: "email",
        value: email,
        extra: if known_email.is_empty() {
            r#"type="email" autocomplete="email" required"#
        } else {
            r#"type="email" readonly"#
        },
    };
    let methods = if total == 0 { String::new() } else { methods(session, entered, problem) };
    let name_field = Field {
        label: "Name",
        name: "name",
        value: &entered.name,
        extra: r#"type="text" autocomplete="name""#,
    };
    format!(
        r#"{alert}
<form method="post" action="/c/pay/{id}">
{email}
{methods}
{name}
<button type="submit">{button}</button>
</form>
{test_cards}"#,
        id = escape(session.text("id")),
        email = email_field.html(problem),
        name = name_field.html(problem),
        test_cards = if total == 0 { String::new() } else { test_cards() },
    )
}

struct Field<'a> {
    label: &'a str,
    name: &'a str,
    value: &'a str,
    /// Further attributes, from this module only.
    extra: &'a str,
}

impl Field<'_> {
    fn html(&self, problem: Option<&Problem>) -> String {
        let Self { label, name, extra, .. } = self;
        let invalid = problem.is_some_and(|problem| problem.field == *name);
        let invalid = if invalid {
            r#" aria-invalid="true" aria-describedby="problem" autofocus"#
        } else {
            ""
        };
        format!(
            r#"<div class="field {name}"><label for="{name}">{label}</label><input id="{name}" name="{name}" value="{value}" {extra}{invalid}></div>"#,
            value = escape(self.value),
        )
    }
}

fn methods(session: &Value, entered: &Entered, problem: Option<&Problem>) -> String {
    let takes = |kind: &str| {
        session.elements("payment_method_types").iter().any(|accepted| accepted == kind)
    };
    let debit_chosen = takes("sepa_debit") && (entered.method == "sepa_debit" || !takes("card"));
    let field = |label, name, value, extra| Field { label, name, value, extra }.html(problem);
    let card = [
        // Card details are not sent back.
        field(
            "Card number",
            "card_number",
            "",
            r#"inputmode="numeric" autocomplete="cc-number" placeholder="4242 4242 4242 4242" maxlength="23""#,
        ),
        field("Expiry", "card_expiry", "", r#"inputmode="numeric" autocomplete="cc-exp" placeholder="MM / YY" maxlength="9""#),
        field("CVC", "card_cvc", "", r#"inputmode="numeric" autocomplete="cc-csc" placeholder="123" maxlength="4""#),
    ]
    .concat();
    let debit = field(
        "IBAN",
        "iban",
        "DE89 3704 0044 0532 0130 00",
        r#"autocomplete="off" maxlength="42""#,
    );
    let choice = |kind: &str, label: &str, chosen: bool, fields: &str| {
        if !takes(kind) {
            return String::new();
        }
        let checked = if chosen { " checked" } else { "" };
        format!(
            r#"<div class="method"><label><input type="radio" name="method" value="{kind}"{checked}> {label}</label><div class="fields">{fields}</div></div>"#
        )
    };
    format!(
        "<fieldset><legend>Payment method</legend>{}{}</fieldset>",
        choice("card", "Card", !debit_chosen, &card),
        choice(
            "sepa_debit",
            "Bank debit <small>settles later</small>",
            debit_chosen,
            &format!(
                "{debit}<p class=\"hint\">The payment stays processing until you open this page again and settle it.</p>"
            )
        ),
    )
}

fn test_cards() -> String {
    let mut groups = String::new();
    for cards in TEST_CARDS.chunk_by(|one, next| one.group() == next.group()) {
        let title = cards.first().map_or("", TestCard::group);
        // Writing to a string does not fail.
        let _written = write!(groups, "<h3>{title}</h3><dl>");
        for card in cards {
            let (number, meaning) = (card.grouped(), escape(card.meaning));
            let _written = write!(groups, "<div><dt>{number}</dt><dd>{meaning}</dd></div>");
        }
        groups.push_str("</dl>");
    }
    format!(
        r#"<details class="test-cards" open><summary>Test cards</summary>{groups}<p class="hint">Any future expiry date and any CVC.</p></details>"#
    )
}

fn notice(title: &str, body: &str) -> String {
    document(title, &format!(r#"<main class="notice"><h1>{}</h1>{body}</main>"#, escape(title)))
}

/// The page of a completed session. `intent` is its payment intent, or null.
pub(crate) fn completed(session: &Value, intent: &Value, success_url: &str) -> String {
    let on = |class| link(success_url, class, "Continue to the shop");
    if session.text("payment_status") != "unpaid" {
        let body = format!("<p>There is nothing left to pay.</p>{}", on("button"));
        return notice("This order is complete", &body);
    }
    if intent.text("status") != "processing" {
        let back = link(session.text("cancel_url"), "button", "Back to the shop");
        let body = format!("<p>Start a new checkout in the shop.</p>{back}");
        return notice("The bank debit failed", &body);
    }
    let settle = format!("/c/pay/{}/settle", escape(session.text("id")));
    notice(
        "The bank debit is processing",
        &format!(
            r#"<p>A bank takes days to pay or to refuse. Here you decide how it ends.</p>
<form class="settle" method="post" action="{settle}">
<button name="outcome" value="succeeded">Let it succeed</button>
<button class="quiet" name="outcome" value="failed">Let it fail</button>
</form>{}"#,
            on("button quiet")
        ),
    )
}

/// The bank's 3D Secure page.
pub(crate) fn who_pays(session: &Value) -> String {
    let amount = money::format(session.integer("amount_total"), session.text("currency"));
    notice(
        "Your bank asks: did you make this payment?",
        &format!(
            r#"<p>{merchant} wants to charge {amount}. This is 3D Secure: a bank would ask for a code or a fingerprint.</p>
<form class="settle" method="post" action="/c/pay/{id}/authenticate">
<button name="outcome" value="completed">Complete</button>
<button class="quiet" name="outcome" value="failed">Fail</button>
</form>"#,
            merchant = BUSINESS_NAME,
            amount = escape(&amount),
            id = escape(session.text("id")),
        ),
    )
}

/// The page of a session that can no longer be paid.
pub(crate) fn expired(session: &Value) -> String {
    let back = link(session.text("cancel_url"), "button", "Back to the shop");
    notice("This checkout has expired", &format!("<p>Start a new checkout in the shop.</p>{back}"))
}

/// The page of an unknown session.
pub(crate) fn unknown() -> String {
    notice(
        "Checkout not found",
        "<p>The link may be incomplete, or the simulator's state was reset.</p>",
    )
}

#[cfg(test)]
mod tests {
    use super::escape;

    #[test]
    fn foreign_text_cannot_become_html() {
        assert_eq!(
            escape(r#"<a href="x" id='y'>&"#),
            "&lt;a href=&quot;x&quot; id=&#39;y&#39;&gt;&amp;"
        );
    }
}
