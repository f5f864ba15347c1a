//! Throttled routes: removing one together with its setting fails the update of a deployment.

use std::collections::BTreeMap;

use serde_json::Value;

use super::deployments;

/// Every route that this template has ever throttled, with the version that removed its setting;
/// none while it has one.
///
/// A deployment whose update removes a route and its setting at once fails with "Unable to find Route
/// by key": <https://github.com/aws/serverless-application-model/issues/1939>. So, to remove one:
///
/// 1. Remove its setting and keep the route. Write the version here, and release it.
/// 2. Remove the route in a later version.
///
/// A deployment that has skipped the first version needs `aws apigatewayv2 delete-route-settings`
/// with its API's id, the stage and the route's key, before the update.
const THROTTLED: &[(&str, Option<&str>)] = &[
    ("POST /checkout", None),
    ("POST /checkout/{session}/confirm", None),
    ("POST /go/{proxy+}", None),
    ("POST /learners/{learner}/checkout", None),
    ("POST /learners/{learner}/checkout/{session}/confirm", None),
    ("POST /webhook", None),
];

/// What is wrong with how a route was removed, if anything is.
fn fault(
    removed_in: Option<&str>,
    has_setting: bool,
    has_route: bool,
    version: &str,
) -> Option<&'static str> {
    if !has_route && removed_in.is_none_or(|removed| removed == version) {
        Some(
            "is gone. Restore the route and remove only its setting from RouteSettings, write this \
             version next to it in THROTTLED, and release that; remove the route in a later \
             version. Otherwise every deployment's update fails",
        )
    } else if removed_in.is_none() && !has_setting {
        Some(
            "has no setting any more. Write the version that you are working on next to it in \
             THROTTLED, and keep the route: a later version may remove it",
        )
    } else if removed_in.is_some() && has_setting {
        Some("is throttled again: write None next to it in THROTTLED")
    } else {
        None
    }
}

#[test]
fn a_throttled_route_is_removed_after_its_setting() {
    let Some(deployments) = deployments() else { return };
    for deployment in deployments {
        let settings = &deployment.resource("ApiapiStage")["Properties"]["RouteSettings"];
        let settings = settings.as_object().unwrap();
        let paths = deployment.resource("Api")["Properties"]["Body"]["paths"].as_object().unwrap();
        let has_route = |key: &str| {
            let (method, path) = key.split_once(' ').unwrap();
            paths.get(path).is_some_and(|methods| methods.get(method.to_lowercase()).is_some())
        };
        let known: BTreeMap<_, _> = THROTTLED.iter().copied().collect();
        for (route, limit) in settings {
            assert!(known.contains_key(route.as_str()), "add {route} to THROTTLED");
            assert!(limit["ThrottlingRateLimit"].as_u64().is_some_and(|rate| rate > 0), "{route}");
        }
        for (route, removed_in) in known {
            let has_setting = settings.get(route).is_some_and(Value::is_object);
            let version = env!("CARGO_PKG_VERSION");
            let fault = fault(removed_in, has_setting, has_route(route), version);
            assert_eq!(fault, None, "{route} {}", fault.unwrap_or_default());
        }
    }
}

#[test]
fn a_removal_in_one_version_is_refused() {
    for (removed_in, has_setting, has_route, expected) in [
        (None, true, true, ""),
        (None, false, true, "has no setting any more"),
        (None, false, false, "is gone"),
        (None, true, false, "is gone"),
        (Some("0.2.0"), false, true, ""),
        (Some("0.2.0"), false, false, "is gone"),
        (Some("0.1.0"), false, false, ""),
        (Some("0.1.0"), true, true, "is throttled again"),
        (Some("0.1.0"), true, false, "is throttled again"),
    ] {
        let found = fault(removed_in, has_setting, has_route, "0.2.0").unwrap_or_default();
        let case = (removed_in, has_setting, has_route);
        assert!(found.starts_with(expected) && found.is_empty() == expected.is_empty(), "{case:?}");
    }
}
