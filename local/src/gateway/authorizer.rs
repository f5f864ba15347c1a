//! The JWT authorizer of an HTTP API: whose token is this, and what may it do?
//!
//! The rules are API Gateway's: the key named by `kid` and RS256; `iss`; `aud`, or `client_id` if
//! there is no `aud`; `exp`, `nbf` and `iat`; and at least one of the route's scopes in `scope` or
//! `scp`. A token with neither claim (an ID token) is not an access token: 401.
//! <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-jwt-authorizer.html>

use std::collections::BTreeMap;
use std::slice;

use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde_json::{Map, Value};

use crate::template;

/// Checks tokens.
#[derive(Debug, Clone)]
pub struct Authorizer {
    issuer: String,
    audiences: Vec<String>,
    keys: JwkSet,
}

/// An accepted token, as the function gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Jwt {
    /// The claims, all as text, as API Gateway passes them on.
    pub claims: BTreeMap<String, String>,
    /// The route's scopes; none if it requires none.
    pub scopes: Option<Vec<String>>,
}

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// 401: there is no `Authorization` header.
    #[error("no token")]
    NoToken,
    /// 401: the token is for another API, unsigned, expired, or no access token.
    #[error("{0}")]
    InvalidToken(&'static str),
    /// 403: a valid token without the route's scopes.
    #[error("the token has none of the route's scopes")]
    InsufficientScope,
}

impl Authorizer {
    /// The template's authorizer, trusting these keys.
    #[must_use]
    pub fn new(declared: &template::Authorizer, keys: JwkSet) -> Authorizer {
        let (issuer, audiences) = (declared.issuer.clone(), declared.audiences.clone());
        Authorizer { issuer, audiences, keys }
    }

    /// Checks the `Authorization` header for a route with these scopes.
    pub fn check(&self, header: Option<&str>, scopes: &[String], now: u64) -> Result<Jwt, Refusal> {
        let header = header.map(str::trim).filter(|header| !header.is_empty());
        let unverified_token = match header.ok_or(Refusal::NoToken)?.split_once(' ') {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
            Some(_) => return Err(Refusal::InvalidToken("the token is not a bearer token")),
            None => header.unwrap_or_default(),
        };
        let claims = self.verify(unverified_token)?;
        self.check_claims(&claims, now)?;
        if !scopes.is_empty() {
            let granted =
                granted(&claims).ok_or(Refusal::InvalidToken("the token has no scope"))?;
            if !scopes.iter().any(|scope| granted.contains(&scope.as_str())) {
                return Err(Refusal::InsufficientScope);
            }
        }
        let claims = claims.iter().map(|(name, value)| (name.clone(), claim_text(value))).collect();
        Ok(Jwt { claims, scopes: (!scopes.is_empty()).then(|| scopes.to_vec()) })
    }

    /// The claims of a token that our issuer has signed.
    fn verify(&self, unverified_token: &str) -> Result<Map<String, Value>, Refusal> {
        // A client learns only that the token is invalid.
        let invalid = Refusal::InvalidToken;
        let unverified_header = decode_header(unverified_token)
            .map_err(|_why| invalid("the token is not a JSON Web Token"))?;
        if unverified_header.alg != Algorithm::RS256 {
            return Err(invalid("the token is not signed with RS256"));
        }
        let key = unverified_header.kid.and_then(|kid| self.keys.find(&kid));
        let key = key.ok_or(invalid("the token's key is unknown"))?;
        let key =
            DecodingKey::from_jwk(key).map_err(|_why| invalid("the token's key is unusable"))?;
        // Only the signature is checked here; the claims are checked below, by API Gateway's rules.
        let mut validation = Validation::new(Algorithm::RS256);
        validation.set_required_spec_claims::<&str>(&[]);
        validation.validate_exp = false;
        validation.validate_aud = false;
        let token = decode::<Map<String, Value>>(unverified_token, &key, &validation);
        token.map(|token| token.claims).map_err(|_why| invalid("the token's signature is wrong"))
    }

    fn check_claims(&self, claims: &Map<String, Value>, now: u64) -> Result<(), Refusal> {
        let time = |name: &str| claims.get(name).map(|value| value.as_u64().unwrap_or(u64::MAX));
        let audience = match (claims.get("aud"), claims.get("client_id")) {
            (Some(Value::Array(several)), _) => several.iter().collect(),
            (Some(one), _) | (None, Some(one)) => vec![one],
            (None, None) => Vec::new(),
        };
        let is_ours = |one: &&Value| {
            one.as_str().is_some_and(|one| self.audiences.iter().any(|ours| ours == one))
        };
        let problem = if claims.get("iss").and_then(Value::as_str) != Some(self.issuer.as_str()) {
            "the token does not have a valid issuer"
        } else if !audience.iter().any(is_ours) {
            "the token does not have a valid audience"
        } else if claims.get("exp").and_then(Value::as_u64).is_none_or(|expiry| expiry <= now) {
            "the token has expired"
        } else if time("nbf").is_some_and(|not_before| not_before > now) {
            "the token is not valid yet"
        } else if time("iat").is_some_and(|issued_at| issued_at > now) {
            "the token was issued in the future"
        } else {
            return Ok(());
        };
        Err(Refusal::InvalidToken(problem))
    }
}

/// The scopes of a token, which are a list or text with spaces; none if it has no claim for them.
fn granted(claims: &Map<String, Value>) -> Option<Vec<&str>> {
    let claimed: Vec<&Value> =
        ["scope", "scp"].iter().filter_map(|name| claims.get(*name)).collect();
    let values = claimed
        .iter()
        .flat_map(|value| value.as_array().map_or(slice::from_ref(*value), Vec::as_slice));
    let scopes = values.filter_map(Value::as_str).flat_map(|text| text.split(' '));
    (!claimed.is_empty()).then(|| scopes.collect())
}

/// A list becomes `[a b]`, everything else its JSON.
fn claim_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            format!("[{}]", items.iter().map(claim_text).collect::<Vec<_>>().join(" "))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sign_in::{self, Key};
    use serde_json::json;

    const NOW: u64 = 1_000_000;

    fn key() -> Key {
        Key::read(&sign_in::generate().unwrap()).unwrap()
    }

    fn authorizer(key: &Key) -> Authorizer {
        let issuer = "https://issuer".to_owned();
        let audiences = vec!["site".to_owned(), "service".to_owned()];
        Authorizer::new(&template::Authorizer { issuer, audiences }, key.public())
    }

    /// Checks a valid token for the scope `learn`, after this change to its claims.
    #[track_caller]
    fn check(change: impl Fn(&mut Map<String, Value>), expected: Result<(), Refusal>) {
        let key = key();
        let good = json!({
            "iss": "https://issuer", "client_id": "site", "sub": "ada", "scope": "openid learn",
            "exp": NOW + 60, "iat": NOW, "groups": ["a", "b"], "version": 2,
        });
        let Value::Object(mut claims) = good else { panic!("claims are an object") };
        change(&mut claims);
        let token = key.sign(&Value::Object(claims)).unwrap();
        let header = format!("Bearer {token}");
        let result = authorizer(&key).check(Some(&header), &["learn".to_owned()], NOW);
        assert_eq!(result.err(), expected.err());
    }

    fn set(name: &str, value: impl Into<Value>) -> impl Fn(&mut Map<String, Value>) {
        let (name, value) = (name.to_owned(), value.into());
        move |claims| {
            claims.insert(name.clone(), value.clone());
        }
    }

    fn without(name: &str) -> impl Fn(&mut Map<String, Value>) {
        let name = name.to_owned();
        move |claims| {
            claims.remove(&name);
        }
    }

    fn invalid(why: &'static str) -> Result<(), Refusal> {
        Err(Refusal::InvalidToken(why))
    }

    #[test]
    fn a_good_token_is_accepted() {
        check(|_| {}, Ok(()));
        check(set("nbf", NOW), Ok(()));
        check(set("aud", "service"), Ok(()));
        check(set("aud", json!(["other", "site"])), Ok(()));
        check(set("scope", "learn"), Ok(()));
    }

    #[test]
    fn each_claim_is_checked() {
        let issuer = "the token does not have a valid issuer";
        check(set("iss", "https://issuer/"), invalid(issuer));
        check(without("iss"), invalid(issuer));
        let audience = "the token does not have a valid audience";
        check(set("client_id", "other"), invalid(audience));
        check(without("client_id"), invalid(audience));
        check(set("aud", "other"), invalid(audience));
        check(set("aud", json!([])), invalid(audience));
        let expired = "the token has expired";
        check(set("exp", NOW), invalid(expired));
        check(set("exp", "tomorrow"), invalid(expired));
        check(without("exp"), invalid(expired));
        check(set("nbf", NOW + 1), invalid("the token is not valid yet"));
        check(set("nbf", "now"), invalid("the token is not valid yet"));
        check(set("iat", NOW + 1), invalid("the token was issued in the future"));
    }

    #[test]
    fn no_scope_is_unauthorized_and_another_scope_forbidden() {
        check(without("scope"), invalid("the token has no scope"));
        check(set("scope", "learners"), Err(Refusal::InsufficientScope));
        check(set("scope", ""), Err(Refusal::InsufficientScope));
    }

    #[test]
    fn scopes_are_text_or_a_list_in_either_claim() {
        let scp = |value: Value| {
            move |claims: &mut Map<String, Value>| {
                claims.remove("scope");
                claims.insert("scp".to_owned(), value.clone());
            }
        };
        check(scp("openid learn".into()), Ok(()));
        check(scp(json!(["openid", "learn"])), Ok(()));
        check(set("scope", json!(["learn"])), Ok(()));
        for other in [json!("learners"), json!(["learners"]), json!([]), json!("[learn]")] {
            check(scp(other), Err(Refusal::InsufficientScope));
        }
        // Both claims: either may have it.
        check(set("scp", "learners"), Ok(()));
        let both = |claims: &mut Map<String, Value>| {
            claims.insert("scope".to_owned(), "openid".into());
            claims.insert("scp".to_owned(), json!(["learn"]));
        };
        check(both, Ok(()));
    }

    #[test]
    fn only_our_own_signature_is_accepted() {
        let (ours, theirs) = (key(), key());
        let claims = json!({"iss": "https://issuer", "client_id": "site", "exp": NOW + 60});
        let authorizer = authorizer(&ours);
        let check = |header: &str| authorizer.check(Some(header), &[], NOW);
        let token = ours.sign(&claims).unwrap();
        assert!(check(&token).is_ok(), "the scheme may be left out");
        assert!(check(&format!("bearer {token}")).is_ok());
        assert!(check(&format!("Basic {token}")).is_err());
        assert!(check(&theirs.sign(&claims).unwrap()).is_err());

        let [header, payload, signature] = token.split('.').collect::<Vec<_>>()[..] else {
            panic!("a token has three parts")
        };
        let encode = |value: &Value| {
            use base64::Engine as _;
            base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(value.to_string())
        };
        let kid = jsonwebtoken::decode_header(&token).unwrap().kid;
        let more = encode(&json!({"iss": "https://issuer", "client_id": "site", "exp": NOW + 99}));
        for forged in [
            format!("{header}.{more}.{signature}"),
            format!("{header}.{payload}."),
            format!("{}.{payload}.", encode(&json!({"alg": "none", "kid": kid}))),
            format!("{}.{payload}.{signature}", encode(&json!({"alg": "HS256", "kid": kid}))),
            format!("{}.{payload}.{signature}", encode(&json!({"alg": "RS256"}))),
            format!("{}.{payload}.{signature}", encode(&json!({"alg": "RS256", "kid": "x"}))),
            format!("{header}.{payload}"),
            String::new(),
        ] {
            assert!(check(&forged).is_err(), "{forged}");
        }
    }

    #[test]
    fn every_claim_is_passed_on_as_text() {
        let key = key();
        let claims = json!({
            "iss": "https://issuer", "client_id": "site", "exp": NOW + 60,
            "groups": ["a", "b"], "flag": true, "nothing": null,
        });
        let token = key.sign(&claims).unwrap();
        let jwt = authorizer(&key).check(Some(&token), &[], NOW).unwrap();
        assert_eq!(jwt.claims["exp"], "1000060");
        assert_eq!(jwt.claims["groups"], "[a b]");
        assert_eq!(jwt.claims["flag"], "true");
        assert_eq!(jwt.claims["nothing"], "null");
        assert_eq!(jwt.scopes, None);
    }
}
