//! Staying signed in: renewing the session, sharing it between tabs, and ending it.

use serde_json::{Value, json};

use crate::chapters::pieces;
use crate::elsewhere::{PAGE, is_at_the_other_site, opens_the_other_site};
use crate::visitor::{Visitor, visit};

/// Every page takes it to be two hours later, when the access token has expired.
const TWO_HOURS_LATER: &str = "const now = Date.now; Date.now = () => now() + 7_200_000;";
/// How often this page has asked the issuer for tokens.
const RENEWALS: &str = "performance.getEntriesByType('resource')
    .filter(({ name }) => name.endsWith('/local/token')).length";

async fn signs_in(learner: &Visitor) {
    learner.goes_to("/sign-in?to=/").await;
    learner.follows_the_link("grace@example.com").await;
    learner.sees(&["Your courses", "grace@example.com"]).await;
}

async fn opens_a_tab(learner: &Visitor) -> String {
    let own = learner.browser.session.window().await.unwrap();
    learner.browser.session.open_tab().await.unwrap();
    own
}

async fn stored(learner: &Visitor, name: &str) -> Value {
    let stored = learner.asks("storedSession()", json!([])).await.unwrap();
    stored[name].clone()
}

#[tokio::test]
async fn a_new_tab_is_signed_in_without_a_code() {
    visit(async |learner| {
        signs_in(learner).await;
        opens_a_tab(learner).await;
        learner.goes_to("/course/tutorclaw/2").await;
        learner.sees(&["grace@example.com", &pieces("tutorclaw", 2)[0]]).await;
        assert_eq!(learner.asks(RENEWALS, json!([])).await, Some(json!(0)));
    })
    .await;
}

#[tokio::test]
async fn a_sign_in_in_one_tab_signs_in_the_others() {
    visit(async |learner| {
        learner.goes_to("/course/tutorclaw/2").await;
        learner.sees(&["This chapter is free."]).await;
        let own = opens_a_tab(learner).await;
        signs_in(learner).await;
        learner.browser.session.switch_to(&own).await.unwrap();
        learner.sees(&["grace@example.com", &pieces("tutorclaw", 2)[0]]).await;
    })
    .await;
}

#[tokio::test]
async fn a_laptop_that_wakes_up_renews_the_session() {
    visit(async |learner| {
        signs_in(learner).await;
        let token = stored(learner, "token").await;
        // Two hours later, nobody has pressed anything.
        let wake = format!(
            "(() => {{
                {TWO_HOURS_LATER}
                document.dispatchEvent(new Event('visibilitychange'));
            }})()"
        );
        learner.asks(&wake, json!([])).await;
        let renewed = async || (stored(learner, "token").await != token).then_some(());
        learner.until("for the session to be renewed", renewed).await;
        learner.sees(&["Your courses", "grace@example.com"]).await;
    })
    .await;
}

#[tokio::test]
async fn an_expired_token_is_renewed_by_one_tab_for_all() {
    visit(async |learner| {
        signs_in(learner).await;
        let (token, refresh) = (stored(learner, "token").await, stored(learner, "refresh").await);
        learner.runs_first(TWO_HOURS_LATER).await;
        learner.goes_to("/course/tutorclaw/2").await;
        learner.sees(&["grace@example.com", &pieces("tutorclaw", 2)[0]]).await;
        assert_ne!(stored(learner, "token").await, token);
        assert_ne!(stored(learner, "refresh").await, refresh, "it is rotated");
        assert_eq!(learner.asks(RENEWALS, json!([])).await, Some(json!(1)));

        opens_a_tab(learner).await;
        learner.runs_first(TWO_HOURS_LATER).await;
        learner.goes_to("/course/tutorclaw/3").await;
        learner.sees(&["grace@example.com", &pieces("tutorclaw", 3)[0]]).await;
        assert_eq!(learner.asks(RENEWALS, json!([])).await, Some(json!(0)));
    })
    .await;
}

#[tokio::test]
async fn a_tab_waits_while_another_one_renews_the_session() {
    /// Renews the session, but doesn't finish before it is told to.
    const BEGIN: &str = "(() => {
        navigator.locks.request('coursegate.session', () => new Promise((resolve) => {
            window.finish = async () => {
                const expires = Date.now() + 7_200_000 + 3_600_000;
                await changeStoredSession({ expires, renew: expires, token: arguments[0] });
                resolve();
            };
        }));
    })()";
    visit(async |learner| {
        signs_in(learner).await;
        let token = learner.shop.token("grace@example.com").await;
        learner.asks(BEGIN, json!([token])).await;
        let own = opens_a_tab(learner).await;
        learner.runs_first(TWO_HOURS_LATER).await;
        learner.goes_to("/course/tutorclaw/2").await;
        learner.sees(&["grace@example.com"]).await;
        learner
            .finds_true("navigator.locks.query().then(({ pending }) => pending.length === 1)")
            .await;
        let other = learner.browser.session.window().await.unwrap();
        learner.browser.session.switch_to(&own).await.unwrap();
        learner.asks("window.finish()", json!([])).await;
        learner.browser.session.switch_to(&other).await.unwrap();
        learner.sees(&[&pieces("tutorclaw", 2)[0]]).await;
        assert_eq!(learner.asks(RENEWALS, json!([])).await, Some(json!(0)));
        assert_eq!(learner.asks("accessToken()", json!([])).await, Some(json!(token)));
    })
    .await;
}

#[tokio::test]
async fn a_refused_token_is_renewed_without_a_sign_in() {
    visit(async |learner| {
        signs_in(learner).await;
        let spoil = "storedSession().then(({ token }) =>
            changeStoredSession({ token: token.slice(0, -8) + 'AAAAAAAA' }))";
        learner.asks(spoil, json!([])).await;
        learner.expects_in_the_console("401 (Unauthorized)");
        learner.goes_to("/course/tutorclaw/2").await;
        learner.sees(&["grace@example.com", &pieces("tutorclaw", 2)[0]]).await;
    })
    .await;
}

#[tokio::test]
async fn an_unreachable_issuer_signs_nobody_out() {
    visit(async |learner| {
        signs_in(learner).await;
        learner.expects_in_the_console("ERR_BLOCKED_BY_CLIENT");
        learner.runs_first(TWO_HOURS_LATER).await;
        learner.blocks(&["*/local/token"]).await;
        learner.goes_to("/purchases").await;
        learner.sees(&["grace@example.com", "The shop can’t be reached right now."]).await;
        learner.blocks(&[]).await;
        learner.presses("Try again").await;
        learner.sees(&["grace@example.com", "You haven’t bought anything"]).await;
    })
    .await;
}

/// The issuer's answers to a refresh token, as JavaScript, and whether the learner stays signed in.
const ANSWERS: [(&str, bool); 7] = [
    ("Promise.reject(new TypeError('no network'))", true),
    ("new Response('', { status: 500 })", true),
    ("new Response('', { status: 503 })", true),
    ("Response.json({ message: 'slow down' }, { status: 429 })", true),
    ("Response.json({ error: 'invalid_client' }, { status: 400 })", true),
    ("Response.json({ error: 'invalid_request' }, { status: 400 })", true),
    ("Response.json({ error: 'invalid_grant' }, { status: 400 })", false),
];

#[tokio::test]
async fn only_invalid_grant_ends_a_session() {
    visit(async |learner| {
        signs_in(learner).await;
        for (answer, stays) in ANSWERS {
            let script = format!(
                "(async () => {{
                    const {{ session }} = await import('/session.js');
                    const ask = window.fetch;
                    window.fetch = async (target, ...how) =>
                        String(target).endsWith('/local/token') ? {answer} : ask(target, ...how);
                    await session.access(await accessToken()).catch(() => {{}});
                    window.fetch = ask;
                    return session.signedIn;
                }})()"
            );
            assert_eq!(learner.asks(&script, json!([])).await, Some(json!(stays)), "{answer}");
        }
        learner.sees(&["Your session has expired."]).await;
        learner.goes_to("/").await;
        learner.sees(&["All courses"]).await;
        learner.sees_no_more("grace@example.com").await;
    })
    .await;
}

#[tokio::test]
async fn signing_out_revokes_the_session_at_the_issuer() {
    visit(async |learner| {
        signs_in(learner).await;
        let refresh = stored(learner, "refresh").await;
        learner.presses("Sign out").await;
        learner.finds("Sign in").await;
        is_revoked(learner, refresh).await;
    })
    .await;
}

/// The issuer no longer accepts this refresh token, or the ones that it is replaced with.
async fn is_revoked(learner: &Visitor, refresh: Value) {
    let latest = std::sync::Mutex::new(refresh);
    let refused = async || {
        let token = latest.lock().unwrap().as_str().unwrap().to_owned();
        let answer = learner.shop.renews(&token).await;
        if answer["error"] == "invalid_grant" {
            return Some(());
        }
        *latest.lock().unwrap() = answer["refresh_token"].clone();
        None
    };
    learner.until("for the session to be revoked", refused).await;
}

#[tokio::test]
async fn a_renewal_in_flight_does_not_undo_a_sign_out() {
    /// Signs out while the issuer's answer is on its way; returns the new refresh token.
    const RACE: &str = "(async () => {
        const { session } = await import('/session.js');
        const ask = window.fetch;
        let deliver;
        const signedOut = new Promise((resolve) => { deliver = resolve; });
        let renewed;
        const asked = new Promise((resolve) => {
            window.fetch = async (target, ...how) => {
                const answer = await ask(target, ...how);
                if (!String(target).endsWith('/local/token')) return answer;
                renewed = await answer.clone().json();
                resolve();
                await signedOut;
                return answer;
            };
        });
        const renewal = session.access(await accessToken());
        await asked;
        await session.end();
        deliver();
        await renewal;
        return renewed.refresh_token;
    })()";
    visit(async |learner| {
        signs_in(learner).await;
        let refresh = learner.asks(RACE, json!([])).await.unwrap();
        learner.finds_true("storedSession().then((session) => session === null)").await;
        learner.sees(&["All courses"]).await;
        is_revoked(learner, refresh).await;
    })
    .await;
}

#[tokio::test]
async fn a_renewal_stored_after_a_sign_out_signs_nobody_in() {
    /// Another tab signs out right after this one has stored what it renewed.
    const RACE: &str = "(async () => {
        const { session } = await import('/session.js');
        const set = Storage.prototype.setItem;
        Storage.prototype.setItem = function (name, value) {
            set.call(this, name, value);
            if (name !== 'coursegate.session') return;
            set.call(localStorage, 'coursegate.signed-out', String(Date.now() + 1));
        };
        await session.access(await accessToken());
        Storage.prototype.setItem = set;
        return session.signedIn;
    })()";
    visit(async |learner| {
        signs_in(learner).await;
        assert_eq!(learner.asks(RACE, json!([])).await, Some(json!(false)));
        learner.finds_true("storedSession().then((session) => session === null)").await;
        learner.sees(&["All courses"]).await;
    })
    .await;
}

#[tokio::test]
async fn a_clock_that_was_set_back_makes_a_sign_out_no_expiry() {
    visit(async |learner| {
        signs_in(learner).await;
        let other = opens_a_tab(learner).await;
        learner.goes_to("/").await;
        learner.sees(&["Your courses", "grace@example.com"]).await;
        let earlier = "const now = Date.now; Date.now = () => now() - 3_600_000;";
        learner.asks(&format!("(() => {{ {earlier} }})()"), json!([])).await;
        learner.presses("Sign out").await;
        learner.finds("Sign in").await;
        learner.browser.session.switch_to(&other).await.unwrap();
        learner.sees(&["All courses"]).await;
        let expired = "import('/session.js').then(({ session }) => session.expired)";
        assert_eq!(learner.asks(expired, json!([])).await, Some(json!(false)));
    })
    .await;
}

#[tokio::test]
async fn without_storage_the_page_stays_signed_in() {
    const REFUSE: &str = "IDBFactory.prototype.open = () => {
        throw new DOMException('', 'SecurityError');
    };";
    visit(async |learner| {
        learner.runs_first(REFUSE).await;
        signs_in(learner).await;
        learner.presses("Purchases").await;
        learner.sees(&["grace@example.com", "You haven’t bought anything"]).await;
        // Its token can be renewed, too.
        let renewed = "import('/session.js').then(async ({ session }) => {
            const before = await accessToken();
            const after = await session.access(before);
            return after.token !== before;
        })";
        learner.finds_true(renewed).await;
        learner.goes_to("/").await;
        learner.sees(&["All courses"]).await;
    })
    .await;
}

/// Changes the JSON of an answer.
pub(crate) fn answer_changed(path: &str, change: &str) -> String {
    format!(
        "(() => {{
            const ask = window.fetch;
            window.fetch = async (target, ...how) => {{
                const answer = await ask(target, ...how);
                if (!String(target).endsWith('{path}')) return answer;
                const json = await answer.json();
                {change};
                return Response.json(json);
            }};
        }})()"
    )
}

#[tokio::test]
async fn without_a_refresh_token_the_session_lasts_an_hour() {
    visit(async |learner| {
        learner.runs_first(&answer_changed("/local/token", "delete json.refresh_token")).await;
        signs_in(learner).await;
        opens_a_tab(learner).await;
        learner.goes_to("/").await;
        learner.sees(&["Your courses", "grace@example.com"]).await;
        learner.runs_first(TWO_HOURS_LATER).await;
        learner.goes_to("/").await;
        learner.sees(&["All courses", "Your session has expired."]).await;
    })
    .await;
}

#[tokio::test]
async fn an_embedding_site_gets_no_refresh_token() {
    /// Everything that the origin has stored as text, and its databases.
    const ALL: &str = "indexedDB.databases().then((databases) => JSON.stringify({
        databases: databases.map(({ name }) => name), ...sessionStorage, ...localStorage,
    }))";
    visit(async |reader| {
        opens_the_other_site(reader).await;
        reader.presses("Sign in").await;
        reader.follows_the_link("grace@example.com").await;
        is_at_the_other_site(reader, PAGE).await;
        let session = "JSON.parse(sessionStorage.getItem('coursegate.session'))";
        let session = reader.asks(session, json!([])).await.unwrap();
        let names: Vec<&String> = session.as_object().unwrap().keys().collect();
        assert_eq!(names, ["expires", "renew", "renewable", "since", "token"]);
        assert_eq!(session["renewable"], false);
        let all = reader.asks(ALL, json!([])).await.unwrap().as_str().unwrap().to_owned();
        assert!(!all.contains("coursegate-session"), "{all}");
        reader.goes_to("/").await;
        let refresh = stored(reader, "refresh").await.as_str().unwrap().to_owned();
        assert!(!all.contains(&refresh), "{all}");
    })
    .await;
}
