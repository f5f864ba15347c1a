//! Makes and signs tokens as a Cognito user pool would.

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use jsonwebtoken::jwk::{Jwk, JwkSet, PublicKeyUse, ThumbprintHash};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::json;

use super::SignInError;
use crate::random;

/// How long a token is valid; Cognito's default.
pub(super) const LIFETIME_SECONDS: u64 = 60 * 60;

/// The length of the PKCS #8 header of an RSA key; the rest is the PKCS #1 key, which the signing
/// library reads. (It is the same for every key of 1024 to 4096 bits.)
const PKCS8_FRAME_BYTES: usize = 26;

/// The issuer's signing key.
pub(crate) struct Key {
    private: EncodingKey,
    public: Jwk,
    id: String,
}

/// A new key, as text to store.
pub(crate) fn generate() -> Result<String, SignInError> {
    let failed = |_| SignInError::Key("it can't be generated".to_owned());
    let pair = KeyPair::generate(KeySize::Rsa2048).map_err(failed)?;
    let der: Pkcs8V1Der<'_> = pair.as_der().map_err(failed)?;
    Ok(BASE64_STANDARD.encode(der.as_ref()))
}

impl Key {
    /// Parses what [`generate`] made.
    pub(crate) fn read(text: &str) -> Result<Key, SignInError> {
        let unreadable = |problem: String| SignInError::Key(format!("it can't be read: {problem}"));
        let der = BASE64_STANDARD.decode(text).map_err(|error| unreadable(error.to_string()))?;
        let der = der.get(PKCS8_FRAME_BYTES..).unwrap_or_default();
        let private = EncodingKey::from_rsa_der(der);
        let mut public = Jwk::from_encoding_key(&private, Algorithm::RS256)
            .map_err(|error| unreadable(error.to_string()))?;
        let id = public
            .thumbprint(ThumbprintHash::SHA256)
            .map_err(|error| unreadable(error.to_string()))?;
        public.common.key_id = Some(id.clone());
        public.common.public_key_use = Some(PublicKeyUse::Signature);
        Ok(Key { private, public, id })
    }

    pub(crate) fn public(&self) -> JwkSet {
        JwkSet { keys: vec![self.public.clone()] }
    }

    pub(super) fn access_token(
        &self,
        issuer: &str,
        subject: &str,
        client_id: &str,
        scope: &str,
        now: u64,
    ) -> Result<String, jsonwebtoken::errors::Error> {
        self.sign(&json!({
            "sub": subject,
            "iss": issuer,
            "version": 2,
            "client_id": client_id,
            "token_use": "access",
            "scope": scope,
            "auth_time": now,
            "iat": now,
            "exp": now.saturating_add(LIFETIME_SECONDS),
            "jti": random::uuid(),
            "username": subject,
        }))
    }

    pub(super) fn id_token(
        &self,
        issuer: &str,
        subject: &str,
        client_id: &str,
        email: &str,
        now: u64,
    ) -> Result<String, jsonwebtoken::errors::Error> {
        self.sign(&json!({
            "sub": subject,
            "iss": issuer,
            "aud": client_id,
            "token_use": "id",
            "email": email,
            "email_verified": true,
            "auth_time": now,
            "iat": now,
            "exp": now.saturating_add(LIFETIME_SECONDS),
            "jti": random::uuid(),
        }))
    }

    pub(crate) fn sign(
        &self,
        claims: &serde_json::Value,
    ) -> Result<String, jsonwebtoken::errors::Error> {
        let header = Header { kid: Some(self.id.clone()), ..Header::new(Algorithm::RS256) };
        encode(&header, claims, &self.private)
    }
}
