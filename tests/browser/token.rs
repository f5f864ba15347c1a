//! The token's way to a page of another site: encrypted to a key that only the requesting tab has,
//! and only once.

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::elsewhere::{PAGE, is_at_the_other_site, opens_the_other_site};
use crate::visitor::{Visitor, visit};

const KEPT_TOKEN: &str = "JSON.parse(sessionStorage.getItem('coursegate.session')).token";
const IS_SIGNED_IN: &str = "sessionStorage.getItem('coursegate.session') !== null";
const IS_NOT_SIGNED_IN: &str = "sessionStorage.getItem('coursegate.session') === null";

/// Calls `work` with the private keys that this origin has stored.
fn with_pending_keys(work: &str) -> String {
    format!(
        "new Promise((resolve) => {{
            indexedDB.open('coursegate').onsuccess = ({{ target: {{ result: database }} }}) => {{
                const store = database.transaction('pending-keys', 'readwrite')
                    .objectStore('pending-keys');
                const end = (result) => {{ database.close(); resolve(result); }};
                ({work})(store, end);
            }};
        }})"
    )
}

async fn has_pending_keys(reader: &Visitor, count: usize) {
    let counts = format!(
        "(store, end) => {{
            store.count().onsuccess = ({{ target }}) => end(target.result === {count});
        }}"
    );
    reader.finds_true(&with_pending_keys(&counts)).await;
}

/// Opens the other site's page, freshly loaded.
async fn reloads_the_other_site(reader: &Visitor) {
    reader.opens("about:blank").await;
    opens_the_other_site(reader).await;
}

/// All files in a folder, except session storage, where the token belongs.
fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let entries = entries.filter(|path| !path.ends_with("Session Storage"));
    // Chromium changes files meanwhile; a deleted one contains nothing.
    entries
        .flat_map(|path| match fs::read(&path) {
            Ok(bytes) => vec![(path, bytes)],
            Err(_) => files(&path),
        })
        .collect()
}

fn holds(bytes: &[u8], text: &str) -> bool {
    // Chromium writes some strings as UTF-16.
    let wide: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    [text.as_bytes(), &wide].iter().any(|text| bytes.windows(text.len()).any(|at| at == *text))
}

/// Every signed JWT in these bytes.
fn jwts(bytes: &[u8]) -> Vec<String> {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
    let starts = bytes.windows(3).enumerate().filter(|(_, three)| three == b"eyJ");
    let tokens = starts.map(|(start, _)| {
        let token = bytes[start..].iter().take_while(|byte| is_part(byte)).copied().collect();
        String::from_utf8(token).unwrap()
    });
    tokens.filter(|token| is_jwt(token)).collect()
}

fn is_jwt(token: &str) -> bool {
    let is_object = |part: &str| {
        let json = BASE64_URL_SAFE_NO_PAD.decode(part).ok();
        json.and_then(|json| serde_json::from_slice::<Value>(&json).ok())
            .is_some_and(|value| value.is_object())
    };
    let mut parts = token.split('.');
    [parts.next(), parts.next()].into_iter().all(|part| part.is_some_and(is_object))
}

#[tokio::test]
async fn no_url_history_or_browser_file_holds_the_token() {
    visit(async |reader| {
        opens_the_other_site(reader).await;
        reader.presses("Buy for $").await;
        reader.follows_the_link("ada@example.com").await;
        reader.pays_with("4242 4242 4242 4242").await;
        reader.sees(&["Thank you. It’s yours."]).await;
        is_at_the_other_site(reader, PAGE).await;
        reader.finds("Open: TutorClaw").await;

        let token = reader.asks(KEPT_TOKEN, json!([])).await.unwrap();
        let token = token.as_str().unwrap();
        assert_eq!(jwts(format!("#token={token}&expires=1").as_bytes()), [token]);
        // The history has every address that a page ever had, and is written every ten seconds.
        let profile = &reader.browser.session.profile;
        let history = profile.join("Default/History");
        let arrival = reader.shop.other_site("/coursegate#coursegate=");
        let is_written = async || holds(&fs::read(&history).ok()?, &arrival).then_some(());
        reader.until("for the history", is_written).await;
        reader.goes_to("/").await;
        let refresh = reader.asks("storedSession().then(({ refresh }) => refresh)", json!([]));
        let refresh = refresh.await.unwrap();
        for (path, bytes) in files(profile) {
            assert!(!holds(&bytes, token), "{} holds the token", path.display());
            let is_refresh = holds(&bytes, refresh.as_str().unwrap());
            assert!(!is_refresh, "{} holds the refresh token", path.display());
            let found = jwts(&bytes);
            assert!(found.is_empty(), "{} holds {found:?}", path.display());
        }
    })
    .await;
}

/// Defects of a request's key, as JavaScript; `point` makes a point on a curve.
const KEYS: [(&str, &str); 10] = [
    ("none", "null"),
    ("empty", "''"),
    ("not base64url", "'no key at all!'"),
    ("base64 of another alphabet", "encode(good).slice(0, -1) + '+'"),
    ("on another curve", "encode(await point('P-384'))"),
    ("compressed", "encode(Uint8Array.of(2 + (good[64] & 1), ...good.slice(1, 33)))"),
    ("cut short", "encode(good.slice(0, 64))"),
    ("too long", "encode(Uint8Array.of(...good, 0))"),
    ("not on the curve", "encode(good.with(64, good[64] ^ 1))"),
    ("the point at infinity", "encode(new Uint8Array(65))"),
];

/// The path of a request with this key.
async fn request(learner: &Visitor, key: &str) -> String {
    let script = format!(
        "(async () => {{
            const {{ encode }} = await import('/base64url.js');
            const point = async (namedCurve) => {{
                const curve = {{ name: 'ECDH', namedCurve }};
                const pair = await crypto.subtle.generateKey(curve, false, ['deriveBits']);
                return new Uint8Array(await crypto.subtle.exportKey('raw', pair.publicKey));
            }};
            const good = await point('P-256');
            const key = {key};
            const query = new URLSearchParams({{ origin: arguments[0], state: 'made-up' }});
            if (key !== null) query.set('key', key);
            return `/connect?${{query}}`;
        }})()"
    );
    let path = learner.asks(&script, json!([learner.shop.other_site("")])).await;
    path.unwrap_or_else(|| panic!("{key} is no script")).as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_request_without_a_usable_key_is_refused() {
    visit(async |learner| {
        learner.goes_to("/sign-in?to=/").await;
        learner.follows_the_link("ada@example.com").await;
        learner.sees(&["Your courses", "ada@example.com"]).await;
        let good = request(learner, "encode(good)").await;
        let no_state = good.replace("state=made-up", "state=");
        let mut refused = vec![("good, but without a state", no_state)];
        for (why, key) in KEYS {
            refused.push((why, request(learner, key).await));
        }
        for (why, path) in refused {
            eprintln!("a request, its key: {why}");
            learner.goes_to(&path).await;
            learner.sees(&["We couldn’t sign you in on localhost", "Reload that page"]).await;
            learner.is_at(&path).await;
        }
        // Nothing else was wrong with them.
        learner.goes_to(&good).await;
        is_at_the_other_site(learner, "/coursegate").await;
    })
    .await;
}

/// Responses, as JavaScript, and whether each signs the reader in. `sealed` encrypts the token as
/// the site does, to the request's key unless told otherwise; `flipped` changes a bit of it.
const RESPONSES: [(&str, &str, bool); 13] = [
    ("as the site sends it", "sealed({})", true),
    ("in plain text, as it once was", "({ token, expires })", false),
    ("missing", "({})", false),
    ("empty", "({ response: '' })", false),
    ("not base64url", "({ response: 'no response!' })", false),
    ("cut short", "({ response: (await sealed({})).response.slice(0, -4) })", false),
    ("changed in the sender's key", "flipped(1)", false),
    ("changed in the nonce", "flipped(65)", false),
    ("changed in the token", "flipped(80)", false),
    ("changed in the tag", "flipped(-1)", false),
    ("encrypted to another key", "sealed({ key: await anotherKey() })", false),
    ("encrypted for another origin", "sealed({ origin: site })", false),
    ("encrypted for another state", "sealed({ state: 'made-up' })", false),
];

/// Requests the token as a button press does, and builds the address of this response.
async fn response(reader: &Visitor, response: &str) -> String {
    let script = format!(
        "(async (site, token) => {{
            const expires = Date.now() + 3_600_000;
            const {{ context, wayBack }} = await import(`${{site}}/connect.js`);
            const crypt = await import(`${{site}}/encryption.js`);
            const {{ decode, encode }} = await import(`${{site}}/base64url.js`);
            const asked = Object.fromEntries(new URL(await wayBack(), site).searchParams);
            const sealed = async (told) => {{
                const {{ key, origin, state }} = {{ ...asked, ...told }};
                const text = JSON.stringify({{ token, expires }});
                return {{ response: await crypt.encrypt(key, context(origin, state), text) }};
            }};
            const flipped = async (at) => {{
                const bytes = decode((await sealed({{}})).response);
                const index = at < 0 ? bytes.length + at : at;
                return {{ response: encode(bytes.with(index, bytes[index] ^ 1)) }};
            }};
            const anotherKey = async () =>
                crypt.publicKeyText((await crypt.makeKeyPair()).publicKey);
            const told = {{ coursegate: asked.state, ...await {response} }};
            return `/coursegate#${{new URLSearchParams(told)}}`;
        }})(...arguments)"
    );
    let token = reader.shop.token("ada@example.com").await;
    let path = reader.asks(&script, json!([reader.shop.site(""), token])).await;
    let path = path.unwrap_or_else(|| panic!("{response} is no script"));
    reader.shop.other_site(path.as_str().unwrap())
}

#[tokio::test]
async fn a_response_signs_in_only_the_page_that_asked() {
    visit(async |reader| {
        reader.expects_in_the_console("the site’s response can’t be read");
        for (what, script, signs_in) in RESPONSES {
            eprintln!("a response {what}");
            opens_the_other_site(reader).await;
            let address = response(reader, script).await;
            reader.opens(&address).await;
            if signs_in {
                is_at_the_other_site(reader, PAGE).await;
                reader.finds_true(IS_SIGNED_IN).await;
                reader.asks("sessionStorage.clear()", json!([])).await;
            } else {
                reader.sees(&["You’re not signed in.", "press the button again"]).await;
                is_at_the_other_site(reader, "/coursegate").await;
                reader.finds_true(IS_NOT_SIGNED_IN).await;
                reader.presses("Back to the page you were on").await;
                is_at_the_other_site(reader, PAGE).await;
            }
            has_pending_keys(reader, 0).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_replayed_response_signs_nobody_in() {
    visit(async |reader| {
        opens_the_other_site(reader).await;
        let address = response(reader, "sealed({})").await;
        let own = reader.browser.session.window().await.unwrap();
        reader.browser.session.open_tab().await.unwrap();
        reader.opens(&address).await;
        reader.sees(&["You’re not signed in.", "only in the tab you started from"]).await;
        reader.presses("Go to the start page").await;
        reader.browser.session.switch_to(&own).await.unwrap();
        reader.opens(&address).await;
        is_at_the_other_site(reader, PAGE).await;
        reader.finds_true(IS_SIGNED_IN).await;

        // As when reopening a page from the history.
        reader.opens(&address).await;
        reader.sees(&["You’re already signed in."]).await;
        is_at_the_other_site(reader, "/coursegate").await;
        reader.browser.session.go_back().await.unwrap();
        is_at_the_other_site(reader, PAGE).await;
        reader.finds_true(IS_SIGNED_IN).await;
        reader.asks("sessionStorage.clear()", json!([])).await;
        reader.opens(&address).await;
        reader.sees(&["You’re not signed in."]).await;
        reader.finds_true(IS_NOT_SIGNED_IN).await;
    })
    .await;
}

#[tokio::test]
async fn two_tabs_sign_in_at_the_same_time() {
    visit(async |reader| {
        opens_the_other_site(reader).await;
        reader.presses("Sign in").await;
        reader.is_at_the_issuer().await;
        let own = reader.browser.session.window().await.unwrap();
        reader.browser.session.open_tab().await.unwrap();
        opens_the_other_site(reader).await;
        has_pending_keys(reader, 1).await;
        reader.presses("Sign in").await;
        reader.follows_the_link("ada@example.com").await;
        is_at_the_other_site(reader, PAGE).await;
        reader.finds_true(IS_SIGNED_IN).await;
        has_pending_keys(reader, 1).await;
        reader.browser.session.switch_to(&own).await.unwrap();
        reader.follows_the_link("ada@example.com").await;
        is_at_the_other_site(reader, PAGE).await;
        reader.finds_true(IS_SIGNED_IN).await;
        has_pending_keys(reader, 0).await;
    })
    .await;
}

#[tokio::test]
async fn the_key_of_a_learner_who_never_came_back_is_deleted() {
    /// A day and a half later.
    const AGE: &str = "(store, end) => {
        store.openCursor().onsuccess = ({ target: { result: cursor } }) => {
            if (!cursor) return end(true);
            cursor.update({ ...cursor.value, until: cursor.value.until - 36 * 3_600_000 });
            cursor.continue();
        };
    }";
    visit(async |reader| {
        reader.expects_in_the_console("the site’s response can’t be read");
        opens_the_other_site(reader).await;
        let address = response(reader, "sealed({})").await;
        has_pending_keys(reader, 1).await;
        reader.finds_true(&with_pending_keys(AGE)).await;
        has_pending_keys(reader, 1).await;
        reloads_the_other_site(reader).await;
        has_pending_keys(reader, 0).await;
        reader.opens(&address).await;
        reader.sees(&["You’re not signed in."]).await;
    })
    .await;
}

const NO_HTTPS: &str = "You can’t sign in from this page because it doesn’t use https.";
const NO_STORAGE: &str = "Your browser doesn’t let this page store what it needs to sign you in.";
/// What a browser may refuse, and the message for the reader.
const REFUSED: [(&str, &str, &str); 4] = [
    ("crypto.subtle", "undefined", NO_HTTPS),
    ("IDBFactory.prototype.open", "refuse('SecurityError')", NO_STORAGE),
    ("IDBObjectStore.prototype.put", "refuse('DataCloneError')", NO_STORAGE),
    ("Storage.prototype.setItem", "refuse('QuotaExceededError')", NO_STORAGE),
];

#[tokio::test]
async fn a_browser_without_key_storage_is_told_before_leaving() {
    visit(async |reader| {
        reader.expects_in_the_console("has to use https");
        reader.expects_in_the_console("this browser can’t keep a private key");
        for (what, instead, says) in REFUSED {
            let (owner, name) = what.rsplit_once('.').unwrap();
            let script = format!(
                "(() => {{
                    const refuse = (name) => () => {{ throw new DOMException('', name); }};
                    Object.defineProperty({owner}, '{name}', {{ value: {instead} }});
                }})()"
            );
            for button in ["Buy for $9.99: TutorClaw", "Sign in"] {
                reloads_the_other_site(reader).await;
                reader.asks(&script, json!([])).await;
                reader.presses(button).await;
                reader.sees(&[says]).await;
                is_at_the_other_site(reader, PAGE).await;
            }
        }
    })
    .await;
}
