//! The site's part of the deployment: its buckets, its `CloudFront`, and its CORS rules.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::{Value, json};
use tests::world::template;

use super::{Deployment, deployed_with, deployments, named, texts};

/// The statements of a bucket's policy, which concern more than one role.
fn statements<'a>(deployment: &'a Deployment, bucket: &str) -> Vec<&'a Value> {
    let policies = deployment.of_type("AWS::S3::BucketPolicy").into_values();
    let policies = policies.filter(|policy| policy["Bucket"]["Ref"] == bucket);
    policies.flat_map(|it| it["PolicyDocument"]["Statement"].as_array().unwrap()).collect()
}

#[test]
fn buckets_are_private_to_cloudfront_and_require_tls() {
    let Some(deployments) = deployments() else { return };
    for deployment in deployments {
        let buckets = deployment.of_type("AWS::S3::Bucket");
        assert_eq!(buckets.keys().collect::<Vec<_>>(), [&"ContentBucket", &"SiteBucket"]);
        for (name, bucket) in buckets {
            for closed in [
                "BlockPublicAcls",
                "BlockPublicPolicy",
                "IgnorePublicAcls",
                "RestrictPublicBuckets",
            ] {
                assert_eq!(bucket["PublicAccessBlockConfiguration"][closed], true, "{name}");
            }
            let owned = &bucket["OwnershipControls"]["Rules"][0]["ObjectOwnership"];
            assert_eq!(owned, "BucketOwnerEnforced", "{name}");
            assert_eq!(bucket["VersioningConfiguration"]["Status"], "Enabled", "{name}");

            let (allowed, denied): (Vec<&Value>, Vec<&Value>) =
                statements(deployment, name).into_iter().partition(|it| it["Effect"] == "Allow");
            assert_eq!(denied.len(), 1, "{name}");
            assert_eq!(
                (&denied[0]["Principal"], &denied[0]["Action"]),
                (&json!("*"), &json!("s3:*"))
            );
            let in_the_clear = json!({ "Bool": { "aws:SecureTransport": "false" } });
            assert_eq!(denied[0]["Condition"], in_the_clear, "{name}");
            let of: BTreeSet<String> =
                denied[0]["Resource"].as_array().unwrap().iter().map(named).collect();
            assert_eq!(of, [format!("{name}.Arn"), format!("${{{name}.Arn}}/*")].into());
            // It reads the site's files, and can tell whether one exists.
            let may: Vec<_> = allowed
                .iter()
                .map(|it| (it["Action"].as_str().unwrap(), named(&it["Resource"])))
                .collect();
            let expected =
                [("s3:GetObject", "${SiteBucket.Arn}/*"), ("s3:ListBucket", "SiteBucket.Arn")];
            let expected = expected.map(|(action, of)| (action, of.to_owned()));
            assert_eq!(may, if name == "SiteBucket" { &expected[..] } else { &[] });
            for cloudfront in allowed {
                let service = json!({ "Service": "cloudfront.amazonaws.com" });
                assert_eq!(cloudfront["Principal"], service);
                let by = named(&cloudfront["Condition"]["StringEquals"]["aws:SourceArn"]);
                assert!(by.ends_with(":distribution/${Site}"), "{by}");
            }
        }
    }
}

#[test]
fn site_and_api_share_an_origin_and_only_the_site_is_cached() {
    let Some([pool, other]) = deployments() else { return };
    for (deployment, domain) in [(pool, json!(["learn.example.com"])), (other, Value::Null)] {
        let config = &deployment.resource("Site")["Properties"]["DistributionConfig"];
        assert_eq!(config["Aliases"], domain);
        let origin = |behavior: &Value| {
            let origins = config["Origins"].as_array().unwrap().iter();
            let mut found = origins.filter(|origin| origin["Id"] == behavior["TargetOriginId"]);
            found.next().unwrap().clone()
        };
        let files = &config["DefaultCacheBehavior"];
        assert_eq!(named(&origin(files)["DomainName"]), "SiteBucket.RegionalDomainName");
        assert_eq!(named(&origin(files)["OriginAccessControlId"]), "SiteAccess.Id");
        assert_eq!(named(&files["ResponseHeadersPolicyId"]), "SiteHeaders");
        // CachingOptimized, which revalidates after a second if a file says `no-cache`.
        assert_eq!(files["CachePolicyId"], "658327ea-f89d-4fab-a63d-7e88639e58f6");
        let function = &files["FunctionAssociations"][0];
        assert_eq!(named(&function["FunctionARN"]), "SitePaths.FunctionARN");
        let [api] = &config["CacheBehaviors"].as_array().unwrap()[..] else { panic!("one") };
        assert_eq!(api["PathPattern"], format!("/{}/*", template().stage));
        assert!(named(&origin(api)["DomainName"]).starts_with("${Api}.execute-api."));
        // AWS's own policies, the same everywhere: CachingDisabled, and AllViewerExceptHostHeader,
        // which passes the token on.
        assert_eq!(api["CachePolicyId"], "4135ea2d-6df8-44a3-9df3-4b5a84be39ad");
        assert_eq!(api["OriginRequestPolicyId"], "b689b0a8-53d0-40ab-baf2-68738e2966ac");
        assert!(texts(&api["AllowedMethods"]).contains(&"POST"));
        let headers = &api["ResponseHeadersPolicyId"];
        let others = deployment.parameters["CorsOrigins"].is_string();
        assert_eq!(headers, &if others { json!({ "Ref": "ApiHeaders" }) } else { Value::Null });
        assert_eq!(deployment.resources().contains_key("ApiHeaders"), others);
        // CloudFront caches none of the errors that it would cache regardless of their headers:
        // https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/HTTPStatusCodes.html
        let errors = config["CustomErrorResponses"].as_array().unwrap().iter();
        let errors: Vec<_> =
            errors.map(|it| (&it["ErrorCode"], &it["ErrorCachingMinTTL"])).collect();
        let kept = [404, 405, 414, 500, 501, 502, 503, 504].map(Value::from);
        let never = Value::from(0);
        assert_eq!(errors, kept.iter().map(|code| (code, &never)).collect::<Vec<_>>());
    }
    let certificate = &pool.resource("Site")["Properties"]["DistributionConfig"];
    let certificate = &certificate["ViewerCertificate"];
    assert_eq!(certificate["MinimumProtocolVersion"], "TLSv1.2_2021");
    assert_eq!(pool.expanded["Outputs"]["SiteUrl"]["Value"], "https://learn.example.com");
}

/// Prints where the function leads each of these paths.
const LEAD: &str =
    "for (const uri of process.argv.slice(1)) console.log(handler({ request: { uri } }).uri);";

#[test]
fn cloudfront_routes_paths_as_the_local_stack_does() {
    let Some([deployment, _]) = deployments() else { return };
    let code = deployment.resource("SitePaths")["Properties"]["FunctionCode"].as_str().unwrap();
    let paths = [
        "/",
        "//",
        "/./",
        "/course/tutorclaw/6",
        "/success",
        "/app.js",
        "/pages/buy.js",
        "/a%2Eb",
        "/config.json",
        "/nothing/",
    ];
    let mut node = Command::new("node");
    let output = node.args(["-e", &format!("{code}\n{LEAD}")]).args(paths).output();
    let output = output.expect("node, which the tools need too").stdout;
    let led = String::from_utf8(output).unwrap();
    assert_eq!(led.lines().count(), paths.len());
    for (path, led) in paths.into_iter().zip(led.lines()) {
        let expected = if local::leads_to_the_page(path) { "/index.html" } else { path };
        assert_eq!(led, expected, "{path}");
    }
}

#[test]
fn the_csp_allows_only_the_api_the_bucket_and_sign_in() {
    let Some([pool, other]) = deployments() else { return };
    let google = deployed_with(&[
        ("JwtIssuer", "https://accounts.google.com"),
        ("JwtAudience", "site"),
        ("JwtTokenOrigin", "https://oauth2.googleapis.com"),
    ]);
    for (deployment, sign_in) in [
        (
            pool,
            "https://${SignInDomain}.auth.${AWS::Region}.amazoncognito.com \
             https://cognito-idp.${AWS::Region}.amazonaws.com",
        ),
        (other, "https://issuer.example.com"),
        (&google.unwrap(), "https://oauth2.googleapis.com"),
    ] {
        let headers = &deployment.resource("SiteHeaders")["Properties"];
        let headers = &headers["ResponseHeadersPolicyConfig"]["SecurityHeadersConfig"];
        let policy = &headers["ContentSecurityPolicy"]["ContentSecurityPolicy"]["Fn::Join"];
        assert_eq!(policy[0], " ");
        let parts = policy[1].as_array().unwrap().iter();
        let parts = parts.map(|part| part.as_str().map_or_else(|| named(part), str::to_owned));
        assert_eq!(
            parts.collect::<Vec<_>>(),
            [
                "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                 connect-src 'self'",
                "https://${ContentBucket}.s3.${AWS::Region}.amazonaws.com",
                sign_in,
                "; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
            ]
        );
    }
}

#[test]
fn configured_origins_pass_cors_at_the_api_and_the_bucket() {
    let Some([named, unnamed]) = deployments() else { return };
    let cors = |deployment: &Deployment| {
        deployment.resource("Api")["Properties"]["Body"]["x-amazon-apigateway-cors"].clone()
    };
    let origins = json!(["https://blog.example.com", "https://other.example.com"]);
    let expected = json!({
        "allowOrigins": origins,
        "allowMethods": ["GET", "POST"],
        "allowHeaders": ["authorization", "content-type"],
        "exposeHeaders": ["location", "retry-after"],
        "maxAge": 600,
    });
    assert_eq!((cors(named), cors(unnamed)), (expected, Value::Null));
    // CloudFront adds the same to what API Gateway leaves without, which are its own errors.
    let policy = &named.resource("ApiHeaders")["Properties"]["ResponseHeadersPolicyConfig"];
    let expected = json!({
        "OriginOverride": true,
        "AccessControlAllowCredentials": false,
        "AccessControlAllowOrigins": { "Items": origins },
        "AccessControlAllowMethods": { "Items": ["GET", "POST"] },
        "AccessControlAllowHeaders": { "Items": ["authorization", "content-type"] },
        "AccessControlExposeHeaders": { "Items": ["location", "retry-after"] },
        "AccessControlMaxAgeSec": 600,
    });
    assert_eq!(policy["CorsConfig"], expected);
    let rules = |deployment: &Deployment| {
        let bucket = &deployment.resource("ContentBucket")["Properties"];
        let rules = bucket["CorsConfiguration"]["CorsRules"].as_array().unwrap().clone();
        assert!(rules.iter().all(|rule| texts(&rule["AllowedMethods"]) == ["GET"]));
        rules.into_iter().map(|rule| rule["AllowedOrigins"].clone()).collect::<Vec<_>>()
    };
    let site = json!(["https://learn.example.com"]);
    assert_eq!((rules(named), rules(unnamed)), (vec![site.clone(), origins], vec![site]));
}
