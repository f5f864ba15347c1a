//! The deployment's public endpoints: webhook, API and site; and its clock.

use std::time::Duration;

use reqwest::Response;
use secrecy::SecretString;
use serde_json::{Value, json};
use shared::domain::time::Timestamp;
use shared::ports::{Clock as _, SystemClock};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

use super::{Finding, Patient, SECRET_UNREAD};
use crate::{probe, webhook};

/// How far this machine's clock may be off: Stripe's signatures are good for five minutes.
const CLOCK_SECONDS_MAX: u64 = 60;
/// A function reads its secrets again at most every ten seconds.
const SECRET_REFRESH: Duration = Duration::from_secs(11);
/// A signing secret that no endpoint has.
const FORGED: &str = "whsec_nobody_has_this_secret";

const UNREACHABLE: &str = "check the stack and your network";
const REATTACH: &str = "somebody changed the route manually: attach the authorizer again in the API \
                        Gateway console";

async fn deliver(patient: &Patient<'_>, secret: &SecretString) -> Result<Response, String> {
    let now = Timestamp::from_unix_seconds(patient.now);
    let answer = probe::deliver(&patient.http, patient.deployment, secret, now).await;
    answer.map_err(|error| why(&error))
}

/// The status and the outcome of a probe that is signed with this secret.
async fn outcome(patient: &Patient<'_>, secret: &SecretString) -> Result<(u16, String), String> {
    Ok(probe::outcome(deliver(patient, secret).await?).await)
}

/// The error with its causes, which the library's own text leaves out.
fn why(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

pub(super) async fn signed_probe(patient: &Patient<'_>) -> Finding {
    let secrets = match webhook::signing_secrets(patient.deployment).await {
        Ok(secrets) => secrets,
        Err(error) => return Finding::bad(error.to_string(), SECRET_UNREAD),
    };
    if secrets.is_empty() {
        return Finding::bad(
            "Secrets Manager holds no signing secret yet",
            "run `coursegate webhook register`",
        );
    }
    for secret in &secrets {
        let mut answer = outcome(patient, secret).await;
        if matches!(answer, Ok((400 | 503, _))) {
            // A secret that is only just stored is known when the functions may read it again.
            tokio::time::sleep(SECRET_REFRESH).await;
            answer = outcome(patient, secret).await;
        }
        match answer {
            Ok((200, outcome)) if outcome == "ignored" => {}
            Ok((status, _)) => {
                return Finding::bad(
                    format!("the webhook answers {status} to an event signed with a stored secret"),
                    "check the webhook function's log",
                );
            }
            Err(error) => return Finding::bad(error, UNREACHABLE),
        }
    }
    let count = secrets.len();
    Finding::good(if count == 1 {
        "the webhook accepts an event signed with the stored secret".to_owned()
    } else {
        format!("the webhook accepts events signed with each of the {count} stored secrets")
    })
}

pub(super) async fn forged_probe(patient: &Patient<'_>) -> Finding {
    match deliver(patient, &FORGED.into()).await {
        Err(error) => Finding::bad(error, UNREACHABLE),
        Ok(answer) => match answer.status().as_u16() {
            400 => Finding::good("the webhook rejects an event signed with an unknown secret"),
            status @ 200..300 => Finding::bad(
                format!("the webhook answers {status} to a forged event"),
                "stop the endpoint at once: deploy with WebhookConcurrency=0, then check that the \
                 Function URL belongs to this stack",
            ),
            503 => Finding::bad(
                "the webhook has no signing secret yet, so it answers a forged event with 503",
                "run `coursegate webhook register`",
            ),
            status => Finding::bad(
                format!("the webhook answers {status} to a forged event, but 400 is expected"),
                "check the webhook function's log",
            ),
        },
    }
}

/// Why an address does not show the courses.
enum NoCourses {
    /// Nothing answers there.
    Unreachable(String),
    /// Something else answers.
    Otherwise(String),
}

async fn courses(patient: &Patient<'_>, url: &str) -> Result<usize, NoCourses> {
    let answer = patient.http.get(url).send().await;
    let answer = answer.map_err(|error| NoCourses::Unreachable(why(&error)))?;
    let status = answer.status();
    let body: Value = answer.json().await.unwrap_or_default();
    let courses = body.get("courses").and_then(Value::as_array).map(Vec::len);
    let otherwise = || NoCourses::Otherwise(format!("{url} answers {status}, without any courses"));
    courses.ok_or_else(otherwise)
}

pub(super) async fn api(patient: &Patient<'_>) -> Finding {
    let api = &patient.deployment.api_url;
    let count = match courses(patient, &format!("{api}/courses")).await {
        Ok(count) => count,
        Err(NoCourses::Unreachable(why)) => return Finding::bad(why, UNREACHABLE),
        Err(NoCourses::Otherwise(says)) => {
            let remedy = "push the catalog, then check the entitlements function's log";
            return Finding::bad(says, remedy);
        }
    };
    let closed = patient.http.get(format!("{api}/entitlements")).send().await;
    match closed.map(|answer| answer.status().as_u16()) {
        Ok(401) => {
            Finding::good(format!("{count} courses listed, and everything else needs a token"))
        }
        Ok(status) => Finding::bad(
            format!("GET /entitlements answers {status} without a token, but 401 is expected"),
            REATTACH,
        ),
        Err(error) => Finding::bad(why(&error), UNREACHABLE),
    }
}

pub(super) async fn site(patient: &Patient<'_>) -> Finding {
    let (site, api) = (&patient.deployment.site_origin, &patient.deployment.api_url);
    if courses(patient, &format!("{api}/courses")).await.is_err() {
        return Finding::Skipped("the API itself does not answer");
    }
    match courses(patient, &format!("{site}/api/courses")).await {
        Ok(_) => Finding::good(format!("{site} forwards /api")),
        Err(NoCourses::Unreachable(says) | NoCourses::Otherwise(says)) => Finding::bad(
            format!("upgrade links don't work: {says}"),
            format!("make the site forward /api/* to {api}"),
        ),
    }
}

/// The tutor refuses strangers, and clients can find out whose tokens it takes.
pub(super) async fn tutor(patient: &Patient<'_>) -> Finding {
    let (site, api) = (&patient.deployment.site_origin, &patient.deployment.api_url);
    let stranger = patient.http.post(format!("{api}/mcp")).json(&json!({})).send().await;
    match stranger.map(|answer| answer.status().as_u16()) {
        Ok(401) => {}
        Ok(status) => {
            return Finding::bad(
                format!("POST /mcp answers {status} without a token, but 401 is expected"),
                REATTACH,
            );
        }
        Err(error) => return Finding::bad(why(&error), UNREACHABLE),
    }
    let url = format!("{site}/.well-known/oauth-protected-resource");
    let metadata: Value = match patient.http.get(&url).send().await {
        Ok(answer) => answer.json().await.unwrap_or_default(),
        Err(error) => return Finding::bad(why(&error), UNREACHABLE),
    };
    let resource = format!("{site}/api/mcp");
    if metadata.get("resource").and_then(Value::as_str) == Some(resource.as_str()) {
        return Finding::good(format!("{resource} needs a token, and the site says whose"));
    }
    Finding::note(
        format!("{url} isn't the metadata of {resource}, so clients can't look up its issuer"),
        "run `coursegate site deploy`; a site of your own has to serve that file (see \
         docs/TUTOR.md)",
    )
}

pub(super) async fn clock(patient: &Patient<'_>) -> Finding {
    let url = format!("{}/courses", patient.deployment.api_url);
    let answer = patient.http.get(url).send().await;
    let here = SystemClock.now().unix_seconds();
    let date = answer.ok().and_then(|answer| {
        let date = answer.headers().get("date")?.to_str().ok()?;
        OffsetDateTime::parse(date, &Rfc2822).ok()
    });
    let Some(there) = date else {
        return Finding::Skipped("the API's answer has no date");
    };
    let off = there.unix_timestamp().abs_diff(here);
    if off <= CLOCK_SECONDS_MAX {
        Finding::good("this machine and the API agree on the time")
    } else {
        Finding::bad(
            format!("this machine's clock is {off} s off"),
            "set the clock: signatures are valid for only five minutes",
        )
    }
}
