//! Monitoring: alarms and the dashboard, each on existing metrics.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use shared::telemetry::Metric;

use super::{Deployment, deployments, named, texts};

/// Each metric, as namespace, name and dimensions.
type Measure<'a> = (&'a str, &'a str, BTreeMap<String, String>);

/// Asserts that somebody emits this metric: AWS itself, or one of our functions.
#[track_caller]
fn exists(deployment: &Deployment, (namespace, name, dimensions): &Measure<'_>) {
    let known: Vec<&str> = match *namespace {
        "Coursegate" => Metric::ALL.into_iter().map(Metric::name).collect(),
        "AWS/Lambda" => vec!["Duration", "Errors", "Throttles"],
        "AWS/DynamoDB" => vec![
            "ConsumedReadCapacityUnits",
            "ConsumedWriteCapacityUnits",
            "ReadThrottleEvents",
            "WriteThrottleEvents",
        ],
        "AWS/ApiGateway" => vec!["5xx"],
        other => panic!("nobody emits into {other}"),
    };
    assert!(known.contains(name), "nobody emits {name} into {namespace}");
    let (dimension, kind) = match *namespace {
        "AWS/DynamoDB" => ("TableName", "AWS::DynamoDB::Table"),
        "AWS/ApiGateway" => ("ApiId", "AWS::ApiGatewayV2::Api"),
        _ => ("FunctionName", "AWS::Lambda::Function"),
    };
    assert_eq!(deployment.resource(&dimensions[dimension])["Type"], kind, "{name}");
    let others: Vec<_> = dimensions.iter().filter(|(name, _)| *name != dimension).collect();
    let stage = ("Stage".to_owned(), "api".to_owned());
    let expected = if dimension == "ApiId" { vec![(&stage.0, &stage.1)] } else { vec![] };
    assert_eq!(others, expected, "{name}");
}

/// The metric in an alarm, or in a part of one.
fn measured(metric: &Value) -> Measure<'_> {
    let dimensions = metric["Dimensions"].as_array().unwrap().iter();
    let dimensions = dimensions.map(|dimension| {
        let value = &dimension["Value"];
        let value = value.as_str().map_or_else(|| named(value), str::to_owned);
        (dimension["Name"].as_str().unwrap().to_owned(), value)
    });
    let text = |name: &str| metric[name].as_str().unwrap();
    (text("Namespace"), text("MetricName"), dimensions.collect())
}

#[test]
fn the_doctor_s_probe_triggers_no_alarm() {
    let Some(deployments) = deployments() else { return };
    for deployment in deployments {
        for (name, alarm) in deployment.of_type("AWS::CloudWatch::Alarm") {
            let parts = alarm["Metrics"].as_array().into_iter().flatten();
            for part in parts.chain([&json!({ "MetricStat": { "Metric": alarm } })]) {
                let metric = &part["MetricStat"]["Metric"]["MetricName"];
                // An unhandled type is ignored, and the probe has one.
                assert_ne!(metric, "ignored", "{name}");
            }
        }
    }
}

#[test]
fn each_alarm_watches_a_metric_and_says_what_to_do() {
    let Some(deployments) = deployments() else { return };
    for deployment in deployments {
        let alarms = deployment.of_type("AWS::CloudWatch::Alarm");
        assert!(alarms.len() >= 10);
        for (name, alarm) in alarms {
            assert!(
                alarm["AlarmDescription"].as_str().unwrap().matches(". ").count() >= 1,
                "{name}"
            );
            assert_eq!(alarm["TreatMissingData"], "notBreaching", "{name}");
            for actions in ["AlarmActions", "OKActions"] {
                assert_eq!(alarm[actions], json!([{ "Ref": "AlarmTopic" }]), "{name}");
            }
            let Some(metrics) = alarm["Metrics"].as_array() else {
                exists(deployment, &measured(alarm));
                continue;
            };
            let (results, parts): (Vec<_>, Vec<_>) =
                metrics.iter().partition(|metric| metric["ReturnData"] != false);
            assert_eq!(results.len(), 1, "{name}");
            let formula = results[0]["Expression"].as_str().unwrap();
            for part in parts {
                exists(deployment, &measured(&part["MetricStat"]["Metric"]));
                let id = part["Id"].as_str().unwrap();
                assert!(formula.contains(&format!("FILL({id}, 0)")), "{name} leaves out {id}");
            }
        }
        let topic = &deployment.resource("AlarmTopic")["Properties"]["Subscription"];
        assert_eq!(topic, &json!([{ "Protocol": "email", "Endpoint": "ops@example.com" }]));
    }
}

/// A text of `Fn::Sub` with names in place of the references: `Table` for `${Table.Arn}`.
fn with_names(text: &str) -> String {
    let (mut result, parts) = match text.split_once("${") {
        Some((before, rest)) => (before.to_owned(), rest.split("${").collect()),
        None => (text.to_owned(), Vec::new()),
    };
    for part in parts {
        let (name, after) = part.split_once('}').unwrap();
        result.push_str(name.trim_end_matches(".Arn"));
        result.push_str(after);
    }
    result
}

#[test]
fn the_dashboard_shows_every_metric_and_alarm() {
    let Some(deployments) = deployments() else { return };
    for deployment in deployments {
        let body = &deployment.resource("Dashboard")["Properties"]["DashboardBody"]["Fn::Sub"];
        let body = with_names(body.as_str().unwrap());
        let body: Value = serde_json::from_str(&body).expect(&body);
        let mut drawn = BTreeSet::new();
        for widget in body["widgets"].as_array().unwrap() {
            let properties = &widget["properties"];
            if widget["type"] == "alarm" {
                drawn.extend(texts(&properties["alarms"]));
                continue;
            }
            for metric in properties["metrics"].as_array().unwrap() {
                let mut parts = metric.as_array().unwrap().iter().filter_map(Value::as_str);
                let (namespace, name) = (parts.next().unwrap(), parts.next().unwrap());
                let parts: Vec<&str> = parts.collect();
                let dimensions =
                    parts.chunks(2).map(|pair| (pair[0].to_owned(), pair[1].to_owned()));
                exists(deployment, &(namespace, name, dimensions.collect()));
            }
        }
        let alarms = deployment.of_type("AWS::CloudWatch::Alarm").into_keys().collect();
        assert_eq!(drawn, alarms);
    }
}
