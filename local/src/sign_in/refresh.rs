//! Refresh tokens with rotation, by the rules of the template's site client:
//! <https://docs.aws.amazon.com/cognito/latest/developerguide/amazon-cognito-user-pools-using-the-refresh-token.html>.
//!
//! A session begins with a sign-in. Each refresh replaces its token. The replaced one still works
//! for a grace period, so that a client can retry if it lost the answer. Refreshing doesn't
//! lengthen a session.

use std::sync::PoisonError;

use aws_lc_rs::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use super::SignIn;
use crate::random;
use crate::state::StateError;

const KIND: &str = "session";
/// How long a session lasts: the template's `RefreshTokenValidity`.
const LIFETIME_SECONDS: u64 = 30 * 24 * 60 * 60;
/// How long a replaced token still works: the template's `RetryGracePeriodSeconds`.
const GRACE_SECONDS: u64 = 10;

#[derive(Serialize, Deserialize)]
struct Session {
    email: String,
    scope: String,
    expires_at: u64,
    tokens: Vec<Issued>,
}

/// A refresh token that may still work.
#[derive(Serialize, Deserialize)]
struct Issued {
    /// Its SHA-256, in hexadecimal.
    digest: String,
    /// When another one replaced it.
    replaced_at: Option<u64>,
}

/// What a refresh grants.
pub(super) struct Refreshed {
    pub(super) email: String,
    pub(super) scope: String,
    pub(super) token: String,
}

impl Issued {
    fn new(token: &str) -> Issued {
        Issued { digest: hash(token), replaced_at: None }
    }

    fn works(&self, now: u64) -> bool {
        self.replaced_at.is_none_or(|replaced| now < replaced.saturating_add(GRACE_SECONDS))
    }
}

impl SignIn {
    /// Begins a session, and returns its refresh token.
    pub(super) fn begin_session(
        &self,
        email: String,
        scope: String,
        now: u64,
    ) -> Result<String, StateError> {
        let id = random::token::<16>();
        let token = new_token(&id);
        let expires_at = now.saturating_add(LIFETIME_SECONDS);
        let session = Session { email, scope, expires_at, tokens: vec![Issued::new(&token)] };
        self.inner.entries.put(KIND, &id, &session)?;
        Ok(token)
    }

    /// Replaces a refresh token; none if it is unknown, revoked, replaced or expired.
    pub(super) fn refresh(&self, token: &str, now: u64) -> Result<Option<Refreshed>, StateError> {
        let _writing = self.inner.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(mut session) = self.session_of(token)? else { return Ok(None) };
        session.tokens.retain(|issued| issued.works(now));
        let digest = hash(token);
        let used = session.tokens.iter_mut().find(|issued| issued.digest == digest);
        let Some(used) = used.filter(|_| now < session.expires_at) else { return Ok(None) };
        used.replaced_at.get_or_insert(now);
        let id = session_id(token);
        let next = new_token(id);
        session.tokens.push(Issued::new(&next));
        self.inner.entries.put(KIND, id, &session)?;
        let Session { email, scope, .. } = session;
        Ok(Some(Refreshed { email, scope, token: next }))
    }

    /// Ends the session of a refresh token, if it has one.
    pub(super) fn end_session(&self, token: &str) -> Result<(), StateError> {
        let _writing = self.inner.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let digest = hash(token);
        let session = self.session_of(token)?;
        if session.is_some_and(|it| it.tokens.iter().any(|issued| issued.digest == digest)) {
            self.inner.entries.remove(KIND, session_id(token))?;
        }
        Ok(())
    }

    fn session_of(&self, token: &str) -> Result<Option<Session>, StateError> {
        self.inner.entries.get(KIND, session_id(token))
    }
}

fn new_token(session_id: &str) -> String {
    format!("{session_id}.{}", random::token::<32>())
}

fn session_id(token: &str) -> &str {
    token.split_once('.').map_or("", |(id, _)| id)
}

fn hash(token: &str) -> String {
    hex::encode(digest(&SHA256, token.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observer::Observer;
    use crate::state::Entries;

    const BEGIN: u64 = 1_000_000;

    /// A session's issuer, and its first refresh token.
    fn session() -> (SignIn, String) {
        let entries = Entries::open(None).unwrap();
        let sign_in = SignIn::open("http://site", "http://issuer", entries, Observer::new(|_| ()));
        let sign_in = sign_in.unwrap();
        let (email, scope) = ("ada@example.com".to_owned(), "openid".to_owned());
        let token = sign_in.begin_session(email, scope, BEGIN).unwrap();
        (sign_in, token)
    }

    #[test]
    fn a_replaced_refresh_token_works_for_ten_more_seconds() {
        for (seconds_later, works) in [(0, true), (9, true), (10, false), (3600, false)] {
            let (sign_in, token) = session();
            let refresh = |token: &str, at| sign_in.refresh(token, at).unwrap();
            let next = refresh(&token, BEGIN).unwrap().token;
            let retried = refresh(&token, BEGIN + seconds_later);
            assert_eq!(retried.is_some(), works, "{seconds_later} s later");
            // Whichever answer arrived, its token is good.
            for token in retried.map(|it| it.token).into_iter().chain([next]) {
                assert!(refresh(&token, BEGIN + 7200).is_some());
            }
        }
    }

    #[test]
    fn refreshing_does_not_lengthen_a_session() {
        let (sign_in, mut token) = session();
        for day in 1..30 {
            token = sign_in.refresh(&token, BEGIN + day * 86_400).unwrap().unwrap().token;
        }
        let end = BEGIN + 30 * 86_400;
        token = sign_in.refresh(&token, end - 1).unwrap().unwrap().token;
        assert!(sign_in.refresh(&token, end).unwrap().is_none());
    }
}
