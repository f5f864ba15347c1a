//! The JWT authorizer of an HTTP API: whose token is this, and what may it do?
//!
//! The rules are API Gateway's: the key named by `kid` and RS256; `iss`; `aud`, or `client_id` where
//! there is no `aud`; `exp`, `nbf` and `iat`; and at least one of the route's scopes. A token without
//! any scope (an ID token) is not an access token at all: 401.

use std::collections::BTreeMap;

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

/// A token that was accepted, as the function sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Jwt {
    /// The claims. All are text, as API Gateway hands them on.
    pub claims: BTreeMap<String, String>,
    /// The route's scopes; none where it asks for none.
    pub scopes: Option<Vec<String>>,
}

/// Why a request goes no further.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// 401: there is no `Authorization` header.
    #[error("no token")]
    NoToken,
    /// 401: the token is not for this API, not signed, over, or no access token.
    #[error("{0}")]
    InvalidToken(&'static str),
    /// 403: a good token, for something else.
    #[error("the token has none of the route's scopes")]
    InsufficientScope,
}

impl Authorizer {
    /// An authorizer as the template declares it, which trusts these keys.
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
            let Some(granted) = claims.get("scope").or(claims.get("scp")).and_then(Value::as_str)
            else {
                return Err(Refusal::InvalidToken("the token has no scope"));
            };
            let is_granted = |scope: &String| granted.split(' ').any(|one| one == scope);
            if !scopes.iter().any(is_granted) {
                return Err(Refusal::InsufficientScope);
            }
        }
        let claims = claims.iter().map(|(name, value)| (name.clone(), claim_text(value))).collect();
        Ok(Jwt { claims, scopes: (!scopes.is_empty()).then(|| scopes.to_vec()) })
    }

    /// The claims of a token that our issuer has signed.
    fn verify(&self, unverified_token: &str) -> Result<Map<String, Value>, Refusal> {
        // A client learns that the token is invalid, not how close it came.
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
        // Only the signature is checked here: the claims have API Gateway's rules, below.
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

/// Lists are written as `[a b]`, everything else as its JSON.
fn claim_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            format!("[{}]", items.iter().map(claim_text).collect::<Vec<_>>().join(" "))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => value.to_string(),
    }
}
