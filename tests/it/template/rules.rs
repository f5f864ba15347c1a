//! Parameters that contradict each other are refused before anything is deployed.

use serde_json::{Value, json};

use super::deployments;

/// A condition of the template, for these parameters.
fn holds(condition: &Value, parameters: &Value) -> bool {
    let value = |it: &Value| match it["Ref"].as_str() {
        Some(name) => parameters[name].clone(),
        None => it.clone(),
    };
    let (function, of) = condition.as_object().unwrap().iter().next().unwrap();
    match function.as_str() {
        "Fn::Equals" => value(&of[0]) == value(&of[1]),
        "Fn::Not" => !holds(&of[0], parameters),
        "Fn::Contains" => value(&of[0]).as_array().unwrap().contains(&of[1]),
        other => panic!("{other} is not known here"),
    }
}

#[test]
fn conflicting_parameters_are_refused_before_deployment() {
    let Some([deployment, _]) = deployments() else { return };
    let rules = deployment.expanded["Rules"].as_object().unwrap();
    let refused = |changes: &[&(&str, Value)]| -> Vec<&str> {
        let mut parameters = json!({
            "StripeMode": "live", "StripeApiUrl": "", "JwtIssuer": "", "JwtAudience": [""],
            "JwtTokenOrigin": "", "SesIdentityArn": "", "SenderEmail": "", "SiteDomain": "",
            "SiteCertificateArn": "", "SiteHosting": "cloudfront",
        });
        for (name, value) in changes {
            parameters[name] = value.clone();
        }
        let applies = |rule: &Value| holds(&rule["RuleCondition"], &parameters);
        let kept = |rule: &Value| {
            let assertions = rule["Assertions"].as_array().unwrap();
            assertions.iter().all(|assertion| holds(&assertion["Assert"], &parameters))
        };
        let broken = rules.iter().filter(|(_, rule)| applies(rule) && !kept(rule));
        broken.map(|(name, _)| name.as_str()).collect()
    };
    assert_eq!(refused(&[]), [""; 0]);
    let domain = ("SiteDomain", json!("learn.example.com"));
    let certificate = ("SiteCertificateArn", json!("arn:aws:acm:…"));
    let issuer = ("JwtIssuer", json!("https://issuer.example.com"));
    let audience = ("JwtAudience", json!(["site", "service"]));
    let identity = ("SesIdentityArn", json!("arn:aws:ses:…"));
    let sender = ("SenderEmail", json!("school@example.com"));
    // An empty list of audiences is [""] or [] by now, depending on who expands it, so no rule may
    // refuse a list alone: it would refuse every deployment with the stack's own pool.
    assert_eq!(refused(&[&("JwtAudience", json!([]))]), [""; 0]);
    assert_eq!(refused(&[&issuer]), ["JwtIssuerNeedsJwtAudience"]);
    assert_eq!(refused(&[&issuer, &audience]), [""; 0]);
    for pair in [[&domain, &certificate], [&identity, &sender]] {
        assert_eq!(refused(&pair), [""; 0]);
        for (alone, missing) in [(pair[0], pair[1]), (pair[1], pair[0])] {
            let rule = format!("{}Needs{}", alone.0, missing.0);
            assert_eq!(refused(&[alone]), [rule]);
        }
    }
    let token_origin = ("JwtTokenOrigin", json!("https://tokens.example.com"));
    assert_eq!(refused(&[&token_origin]), ["JwtTokenOriginNeedsJwtIssuer"]);
    assert_eq!(refused(&[&token_origin, &issuer, &audience]), [""; 0]);
    let unhosted = ("SiteHosting", json!("none"));
    assert_eq!(refused(&[&domain, &certificate, &unhosted]), ["OnlyAHostedSiteHasADomain"]);
    let elsewhere = ("StripeApiUrl", json!("http://127.0.0.1:12111"));
    assert_eq!(refused(&[&elsewhere]), ["LiveKeyGoesToStripeOnly"]);
}
