//! Whether learners can sign in: the issuer's configuration, and the e-mails with sign-in codes.

use serde::Deserialize;
use shared::domain::decide::Mode;

use super::{Finding, Patient, WHY_LOCAL};
use crate::deployment::{Cloud, SignIn, UserPool};
use crate::issuer;
use crate::signed::{SignedError, segment};
use crate::site::SignsIn;

/// The scope of a learner's access token.
const SCOPE: &str = "coursegate/learn";

const UPLOAD: &str = "upload the site with `coursegate site deploy --client-id ID`, then run the \
                      doctor again; if you host your own site, sign in there once";
const TRY_IT: &str = "sign in on your site once; if that fails at the token endpoint, allow the \
                      site's origin for its client at your identity provider";

/// How learners get codes if nobody set up SES.
/// <https://docs.aws.amazon.com/cognito/latest/developerguide/user-pool-email.html>
const COGNITO_SENDS: &str = "Cognito's own sender is for trials: it sends at most 50 e-mails a day, \
                             and may not send sign-in codes at all";
const SET_UP_SES: &str = "verify your domain in Amazon SES, then deploy with SesIdentityArn and \
                          SenderEmail";

const GET_ACCOUNT: &str = "ses:GetAccount";
const GET_IDENTITY: &str = "ses:GetEmailIdentity";

/// The permissions that asking SES needs.
pub const PERMISSIONS: [&str; 2] = [GET_ACCOUNT, GET_IDENTITY];

/// The answer of SES about the account:
/// <https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_GetAccount.html>.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SesAccount {
    production_access_enabled: bool,
    sending_enabled: bool,
}

/// The answer of SES about an identity:
/// <https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_GetEmailIdentity.html>.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Identity {
    verified_for_sending_status: bool,
}

pub(super) async fn issuer(patient: &Patient<'_>) -> Finding {
    let Some(cloud) = &patient.deployment.cloud else { return Finding::Skipped(WHY_LOCAL) };
    let (issuer, token_origin) = match &cloud.site.sign_in {
        SignIn::UserPool(_) => {
            return Finding::Skipped("learners sign in at the stack's user pool");
        }
        SignIn::Issuer { issuer, token_origin } => (issuer, token_origin.as_deref()),
    };
    let found = match issuer::discover(issuer).await {
        Ok(found) => found,
        Err(error) => return Finding::bad(error.to_string(), "check JwtIssuer"),
    };
    let site = &patient.deployment.site_origin;
    let uploaded = match &cloud.site.hosted {
        Some(hosted) => SignsIn::read(&hosted.url).await.map_err(|why| (why, UPLOAD)),
        None => Err(("the stack hosts no site that would name it".to_owned(), TRY_IT)),
    };
    let client = uploaded.as_ref().ok().map(SignsIn::client);
    let mut faults = found.faults(site, token_origin, client.as_ref()).await;
    if let Ok(SignsIn { token, .. }) = &uploaded
        && *token != found.token_endpoint
    {
        faults.push(format!(
            "the uploaded site gets its tokens from {token}, not from {}: upload it again with \
             `coursegate site deploy --client-id ID`",
            found.token_endpoint
        ));
    }
    if !faults.is_empty() {
        let remedy = "fix that at your identity provider or in the stack's parameters";
        return Finding::bad(format!("{issuer}: {}", faults.join("; ")), remedy);
    }
    let mut notes = Vec::new();
    if let Err((why, remedy)) = uploaded {
        let unchecked = format!(
            "whether pages of {site} may read its tokens (CORS) is not checked, because that \
             depends on the site's client: {why}"
        );
        notes.push((unchecked, remedy));
    }
    if found.hides_scope(SCOPE) {
        notes.push((
            format!("it doesn't list the scope {SCOPE}"),
            "make sure that learners' access tokens have it; without it the API answers 403",
        ));
    }
    if found.hides_refresh_tokens() {
        notes.push((
            "it doesn't say that it gives refresh tokens, without which learners have to sign in \
             again whenever an access token expires"
                .to_owned(),
            "let it give refresh tokens to the site's client; the site asks for the scope \
             offline_access if it lists that",
        ));
    }
    if notes.is_empty() {
        return Finding::good(format!("{issuer} can sign learners in"));
    }
    let (says, remedies): (Vec<String>, Vec<&str>) = notes.into_iter().unzip();
    Finding::note(format!("{issuer}: {}", says.join("; ")), remedies.join("; "))
}

pub(super) async fn emails(patient: &Patient<'_>) -> Finding {
    let Some(cloud) = &patient.deployment.cloud else { return Finding::Skipped(WHY_LOCAL) };
    let SignIn::UserPool(UserPool { ses_identity, .. }) = &cloud.site.sign_in else {
        return Finding::Skipped("your own identity provider signs learners in");
    };
    // Before the shop takes money, codes may go to the author alone.
    let unfit = |says: String, remedy: &str| match patient.deployment.shop.mode {
        Mode::Test => Finding::note(says, remedy),
        Mode::Live => Finding::bad(says, remedy),
    };
    let Some(arn) = ses_identity else { return unfit(COGNITO_SENDS.to_owned(), SET_UP_SES) };
    let Some((region, name)) = region_and_name(arn) else {
        return Finding::bad(format!("SesIdentityArn is {arn}, no SES identity's ARN"), SET_UP_SES);
    };
    match ask(cloud, region, name).await {
        Ok((SesAccount { sending_enabled: false, .. }, _)) => Finding::bad(
            format!("SES has paused sending in {region}, so learners get no sign-in codes"),
            format!("open the SES console in {region}, which says why and how to appeal"),
        ),
        Ok((_, Identity { verified_for_sending_status: false })) => Finding::bad(
            format!("SES hasn't verified {name} in {region}, so learners get no sign-in codes"),
            format!("add the DNS records that the SES console in {region} shows for it"),
        ),
        Ok((SesAccount { production_access_enabled: false, .. }, _)) => unfit(
            format!(
                "SES is in its sandbox in {region}: only addresses that are verified in SES get \
                 sign-in codes"
            ),
            &format!(
                "request production access in the SES console in {region}; it takes about a day"
            ),
        ),
        Ok(_) => Finding::good(format!("SES sends sign-in codes from {name} in {region}")),
        Err(error) if error.is_missing() => Finding::bad(
            format!("SES doesn't know {name} in {region}, so learners get no sign-in codes"),
            SET_UP_SES,
        ),
        Err(error) => Finding::bad(error.to_string(), "fix that, then run the doctor again"),
    }
}

/// `eu-west-1` and `example.com` of `arn:aws:ses:eu-west-1:123456789012:identity/example.com`. The
/// Region need not be the user pool's:
/// <https://docs.aws.amazon.com/cognito/latest/developerguide/user-pool-email.html>.
fn region_and_name(arn: &str) -> Option<(&str, &str)> {
    let mut fields = arn.splitn(6, ':').skip(3);
    let (region, _account, resource) = (fields.next()?, fields.next()?, fields.next()?);
    (!region.is_empty()).then_some((region, resource.strip_prefix("identity/")?))
}

/// What SES says about the account in this Region, and about this identity.
async fn ask(
    cloud: &Cloud,
    region: &str,
    name: &str,
) -> Result<(SesAccount, Identity), SignedError> {
    let ses = cloud.ses.in_region(region);
    let account = format!("the account in {region}");
    let account = ses.get(GET_ACCOUNT, &account, "/v2/email/account").await?;
    let path = format!("/v2/email/identities/{}", segment(name));
    let identity = format!("identity {name} in {region}");
    let identity = ses.get(GET_IDENTITY, &identity, &path).await?;
    Ok((account, identity))
}
