//! What can be sold and for how much: `catalog plan` and the Stripe simulator agree, and everything
//! formats amounts alike.

use std::path::Path;
use std::process::Command;

use coursegate::catalog::parse;
use currencies::Currency;
use serde_json::{Value, json};
use shared::domain::money::Money;
use stripe_simulator::{Options, Simulator};
use tests::world::root;
use tokio::net::TcpListener;

/// Where Stripe refuses something, with the error's code and parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stripe {
    Sells,
    RefusesProduct(Option<&'static str>),
    RefusesPrice(Option<&'static str>, &'static str),
    /// Its errors name no parameter, since a total has several.
    RefusesSession(Option<&'static str>),
}

use Stripe::{RefusesPrice, RefusesProduct, RefusesSession, Sells};

/// A catalog that sells one product.
fn catalog(name: &str, amount: i64, currency: &str) -> String {
    let name = json!(name);
    format!(
        "[[course]]\nid = \"c\"\ntitle = \"C\"\nsummary = \"\"\ncategory = \"alacarte\"\n\
         chapters = [\"One\"]\n[[product]]\nid = \"p\"\nname = {name}\ncourses = [\"c\"]\n\
         [[price]]\nlookup_key = \"k\"\nproduct = \"p\"\namount = {amount}\n\
         currency = \"{currency}\"\n"
    )
}

/// The error of `catalog plan`; nothing if it can be sold.
fn plan(name: &str, amount: i64, currency: &str) -> String {
    let parsed = parse(&catalog(name, amount, currency), Path::new("catalog.toml"));
    parsed.err().map(|error| error.to_string()).unwrap_or_default()
}

/// A Stripe account.
struct Account {
    simulator: Simulator,
    http: reqwest::Client,
}

impl Account {
    async fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let simulator = stripe_simulator::start(Options { listener, state: None }).await.unwrap();
        Self { simulator, http: reqwest::Client::new() }
    }

    async fn post(&self, path: &str, form: &[(&str, &str)]) -> Result<Value, Value> {
        let mut url = reqwest::Url::parse(&self.simulator.url()).unwrap();
        url.query_pairs_mut().extend_pairs(form);
        let body = url.query().unwrap_or_default().to_owned();
        let request = self.http.post(format!("{}{path}", self.simulator.url()));
        let request = request.bearer_auth("sk_test_any").body(body);
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let answer: Value = response.json().await.unwrap();
        match status {
            200 => Ok(answer),
            400 => Err(answer["error"].clone()),
            _ => panic!("{path}: {status} {answer}"),
        }
    }

    /// An open session that sells a product of this name at this price.
    async fn sell(&self, name: &str, amount: i64, currency: &str) -> Result<Value, (char, Value)> {
        let product = self.post("/v1/products", &[("name", name)]).await;
        let product = product.map_err(|error| ('p', error))?;
        let amount = amount.to_string();
        let price = [
            ("product", product["id"].as_str().unwrap()),
            ("unit_amount", &amount),
            ("currency", currency),
        ];
        let price = self.post("/v1/prices", &price).await.map_err(|error| ('P', error))?;
        let session = [
            ("mode", "payment"),
            ("success_url", "https://shop.example/thanks"),
            ("line_items[0][price]", price["id"].as_str().unwrap()),
            ("line_items[0][quantity]", "1"),
        ];
        self.post("/v1/checkout/sessions", &session).await.map_err(|error| ('s', error))
    }

    /// Asserts that Stripe refuses this at that point, or sells it.
    #[track_caller]
    fn check(sold: Result<Value, (char, Value)>, expected: Stripe, what: &str) {
        let (at, code, param) = match expected {
            Sells => return assert!(sold.is_ok(), "{what}: {sold:?}"),
            RefusesProduct(code) => ('p', code, Some("name")),
            RefusesPrice(code, param) => ('P', code, Some(param)),
            RefusesSession(code) => ('s', code, None),
        };
        let (refused_at, error) = sold.expect_err(what);
        assert_eq!(refused_at, at, "{what}: {error}");
        assert_eq!(error["type"], "invalid_request_error", "{what}: {error}");
        assert_eq!((error["code"].as_str(), error["param"].as_str()), (code, param), "{what}");
    }
}

#[tokio::test]
async fn a_plan_refuses_amounts_that_stripe_would_refuse() {
    let small = RefusesSession(Some("amount_too_small"));
    let large = RefusesPrice(Some("amount_too_large"), "unit_amount");
    let fine = RefusesSession(None);
    // The amount, the plan's error, and where Stripe refuses it.
    let prices = [
        (50, "usd", "", Sells),
        (49, "usd", "0.49 USD is below Stripe's minimum of 0.50 USD", small),
        (10, "usd", "0.10 USD is below Stripe's minimum of 0.50 USD", small),
        (30, "gbp", "", Sells),
        (29, "gbp", "0.29 GBP is below Stripe's minimum of 0.30 GBP", small),
        (50, "jpy", "", Sells),
        (49, "jpy", "49 JPY is below Stripe's minimum of 50 JPY", small),
        (17_500, "huf", "", Sells),
        (17_499, "huf", "174.99 HUF is below Stripe's minimum of 175.00 HUF", small),
        // Stripe sells free products; here, such a course is simply free.
        (0, "usd", "must be more than zero: a course that costs nothing has the category", Sells),
        (
            -1,
            "usd",
            "must be more than zero",
            RefusesPrice(Some("parameter_invalid_integer"), "unit_amount"),
        ),
        (99_999_999, "usd", "", Sells),
        (100_000_000, "usd", "1000000.00 USD is above Stripe's maximum of 999999.99", large),
        (999_999_999, "inr", "", Sells),
        (1_000_000_000, "inr", "is above Stripe's maximum of", large),
        (9_999_999_999, "cop", "", Sells),
        (10_000_000_000, "cop", "is above Stripe's maximum of", large),
        (999_999_999_999, "idr", "", Sells),
        (1_000_000_000_000, "idr", "is above Stripe's maximum of", large),
        (2900, "kwd", "", Sells),
        (2905, "kwd", "2905 must be a multiple of 10, like 2900, which is 2.900 KWD", fine),
        (500_000, "isk", "", Sells),
        (500_050, "isk", "500050 must be a multiple of 100, like 500000, which is 5000 ISK", fine),
        (500_000, "ugx", "", Sells),
        (500_001, "ugx", "500001 must be a multiple of 100, like 500000, which is 5000 UGX", fine),
        (1045, "huf", "10.45 HUF is below Stripe's minimum of", small),
        (20_045, "huf", "", Sells),
        (999, "xxx", "Stripe doesn't charge in xxx: choose one of", RefusesPrice(None, "currency")),
        (999, "bgn", "Stripe doesn't charge in bgn", RefusesPrice(None, "currency")),
    ];
    let account = Account::open().await;
    for (amount, currency, said, stripe) in prices {
        let what = format!("{amount} {currency}");
        check_plan(&plan("TutorClaw", amount, currency), said, &what, |line| {
            line.starts_with("amount") || (line.starts_with("currency") && stripe != small)
        });
        Account::check(account.sell("TutorClaw", amount, currency).await, stripe, &what);
    }
    let blank = "product p has a blank name";
    let names = [
        ("é".repeat(5000), "", Sells),
        ("é".repeat(5001), "has 5001 characters, and Stripe allows 5000", RefusesProduct(None)),
        (String::new(), blank, RefusesProduct(Some("parameter_invalid_empty"))),
        (" \t".to_owned(), blank, RefusesProduct(Some("parameter_invalid_string_blank"))),
    ];
    for (name, said, stripe) in names {
        let what: String = name.chars().take(10).collect();
        check_plan(&plan(&name, 999, "usd"), said, &what, |line| line.starts_with("name"));
        Account::check(account.sell(&name, 999, "usd").await, stripe, &what);
    }
}

/// Asserts that this is the plan's only error, and that it names a line with this text.
#[track_caller]
fn check_plan(plan: &str, said: &str, what: &str, is_line: impl Fn(&str) -> bool) {
    assert_eq!(plan.is_empty(), said.is_empty(), "{what}: {plan}");
    if said.is_empty() {
        return;
    }
    assert!(plan.contains(said) && !plan.contains('\n'), "{what}: {plan}");
    let line = plan.strip_prefix("catalog.toml:").unwrap().split_once(':').unwrap().0;
    let text = catalog("name", 999, "usd");
    let line = text.lines().nth(line.parse::<usize>().unwrap() - 1).unwrap();
    assert!(is_line(line), "{what}: {plan} is about {line:?}");
}

#[tokio::test]
async fn every_currency_is_sold_within_its_limits_and_nowhere_else() {
    let account = Account::open().await;
    for Currency { code, multiple, min, max, .. } in currencies::all().iter().copied() {
        for amount in [min - multiple, min, min + multiple / 2, max, max + multiple] {
            let is_sold = (min..=max).contains(&amount) && amount % multiple == 0;
            let planned = plan("TutorClaw", amount, code);
            assert_eq!(planned.is_empty(), is_sold, "{amount} {code}: {planned}");
            let sold = account.sell("TutorClaw", amount, code).await;
            // A price of zero is a free course here, though Stripe would sell it.
            assert_eq!(sold.is_ok(), is_sold || amount == 0, "{amount} {code}: {sold:?}");
        }
    }
}

/// The output of the site's `money` for an American.
fn site(amounts: &[(i64, &str)]) -> Vec<String> {
    const SCRIPT: &str = "
const navigator = { languages: [\"en-US\"] };
Object.defineProperty(globalThis, \"navigator\", { value: navigator, configurable: true });
const { money } = await import(\"./locale.js\");
const written = JSON.parse(process.argv[2]).map(([amount, currency]) => money(amount, currency));
console.log(JSON.stringify(written));
";
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("money");
    std::fs::create_dir_all(&folder).unwrap();
    for file in ["locale.js", "currencies.js"] {
        std::fs::copy(root().join("web").join(file), folder.join(file)).unwrap();
    }
    std::fs::write(folder.join("package.json"), r#"{"type": "module"}"#).unwrap();
    std::fs::write(folder.join("main.js"), SCRIPT).unwrap();
    let mut node = Command::new("node");
    let node = node.arg(folder.join("main.js")).arg(json!(amounts).to_string());
    let output = node.output().expect("node, which the tools need too");
    let problem = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{problem}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The output of the functions and the command.
fn functions((amount_minor, currency): (i64, &str)) -> String {
    Money { amount_minor, currency: currency.parse().unwrap() }.to_string()
}

/// The bare number: without the currency, which may contain a period, and without separators.
fn number(text: &str) -> String {
    let text = text.trim_start_matches(|c: char| !c.is_ascii_digit());
    text.chars().filter(|c| c.is_ascii_digit() || *c == '.').collect()
}

#[tokio::test]
async fn functions_site_and_simulator_write_every_amount_alike() {
    let mut amounts = Vec::new();
    for Currency { code, multiple, min, max, .. } in currencies::all().iter().copied() {
        let thousands = 1_234_567 / multiple * multiple;
        amounts.extend([min, thousands, max].map(|amount| (amount, code)));
    }
    let account = Account::open().await;
    for (amount, site) in amounts.iter().zip(site(&amounts)) {
        let session = account.sell("TutorClaw", amount.0, amount.1).await.unwrap();
        let page = account.http.get(session["url"].as_str().unwrap()).send().await.unwrap();
        let page = page.text().await.unwrap();
        let (_, total) = page.split_once("<p class=\"total\">").unwrap();
        let (total, _) = total.split_once('<').unwrap();
        let expected = number(&functions(*amount));
        assert_eq!(number(&site), expected, "{amount:?} on the site: {site}");
        assert_eq!(number(total), expected, "{amount:?} on Stripe's page: {total}");
    }
    // An amount that Stripe would not charge may be on record, and is not rounded.
    for (amount, expected) in [
        ((500, "ugx"), "5"),
        ((500_050, "isk"), "5000.50"),
        ((2905, "kwd"), "2.905"),
        ((2900, "xxx"), "29.00"),
        ((2900, "usd"), "29.00"),
    ] {
        assert_eq!(number(&functions(amount)), expected, "{amount:?}");
        assert_eq!(number(&site(&[amount])[0]), expected, "{amount:?} on the site");
    }
}
