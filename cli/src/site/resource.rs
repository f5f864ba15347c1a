//! The metadata of the tutor as a protected resource: which issuer's tokens it takes.
//! <https://www.rfc-editor.org/rfc/rfc9728>

use serde_json::json;

use crate::deployment::{Cloud, Deployment, SignIn, UserPool};
use crate::s3::Object;

/// Where clients look: first below the well-known path, with the resource's own path; then at it.
const KEYS: [&str; 2] =
    [".well-known/oauth-protected-resource/api/mcp", ".well-known/oauth-protected-resource"];

/// The same file for each place where clients look.
pub(super) fn metadata(
    deployment: &Deployment,
    cloud: &Cloud,
    cache_control: &'static str,
) -> [Object; 2] {
    let issuer = match &cloud.site.sign_in {
        SignIn::UserPool(UserPool { issuer, .. }) | SignIn::Issuer { issuer, .. } => issuer,
    };
    let metadata = json!({
        "resource": format!("{}/api/mcp", deployment.site_origin),
        "authorization_servers": [issuer],
        "bearer_methods_supported": ["header"],
        // Clients request all of these, and a learner may not have the services' scope.
        "scopes_supported": ["coursegate/learn"],
    });
    let bytes = format!("{metadata:#}\n").into_bytes();
    KEYS.map(|key| Object {
        key: key.to_owned(),
        bytes: bytes.clone(),
        content_type: "application/json".to_owned(),
        cache_control,
    })
}
