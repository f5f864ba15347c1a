//! The functions' SBOMs.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that can't go on should stop where it is"
)]

use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::Value;
use xtask::sbom::{FUNCTIONS, bill};

fn bills() -> Vec<(&'static str, Value)> {
    FUNCTIONS.map(|function| (function, bill(function).unwrap())).into()
}

fn components(bill: &Value) -> &[Value] {
    bill["components"].as_array().unwrap()
}

#[test]
fn an_sbom_lists_exactly_the_linked_crates() {
    for (function, bill) in bills() {
        let names: BTreeSet<&str> =
            components(&bill).iter().map(|one| one["name"].as_str().unwrap()).collect();
        for linked in ["aws-sdk-dynamodb", "aws-sdk-secretsmanager", "rustls", "serde", "shared"] {
            assert!(names.contains(linked), "{function} is linked from {linked}");
        }
        // Crates of the local stack, of the tests, of build scripts, and of features that only
        // other workspace crates enable.
        for other in [
            "dynoxide-rs",
            "stripe-simulator",
            "local",
            "axum",
            "rusqlite",
            "insta",
            "serde_derive",
            "syn",
            "cc",
            "ring",
        ] {
            assert!(!names.contains(other), "{function} is not linked from {other}");
        }
        assert_eq!(bill["metadata"]["component"]["name"], function);
    }
}

#[test]
fn every_component_has_a_name_version_license_and_purl() {
    for (function, bill) in bills() {
        let mut purls = BTreeSet::new();
        for component in components(&bill).iter().chain([&bill["metadata"]["component"]]) {
            let text = |pointer: &str| component.pointer(pointer).and_then(Value::as_str);
            for field in ["/name", "/version", "/licenses/0/expression", "/purl"] {
                let is_there = text(field).is_some_and(|text| !text.is_empty());
                assert!(is_there, "{function}: {component} has no {field}");
            }
            let purl = text("/purl").unwrap();
            assert!(purls.insert(purl), "{function}: {purl} twice");
            let is_ours = purl.starts_with("pkg:generic/coursegate/");
            let checksum = text("/hashes/0/content").map(str::len);
            assert_eq!(checksum, (!is_ours).then_some(64), "{function}: {purl}");
        }
        // Each of them is a dependency of another, except the function itself.
        let needs = |one: &Value| one["dependsOn"].as_array().cloned().unwrap_or_default();
        let edges = bill["dependencies"].as_array().unwrap();
        let needed: BTreeSet<String> =
            edges.iter().flat_map(needs).map(|purl| purl.as_str().unwrap().to_owned()).collect();
        let unneeded: Vec<&str> =
            purls.iter().copied().filter(|purl| !needed.contains(*purl)).collect();
        assert_eq!(unneeded, [bill["metadata"]["component"]["purl"].as_str().unwrap()]);
    }
}

#[test]
fn a_bill_of_materials_keeps_to_cyclonedx_s_schema() {
    const VALIDATE: &str = "
import sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(sys.stdin.read())
sys.exit(None if error is None else str(error)[:500])";
    let Some(python) = tools::find_or_pass_over("python") else { return };
    let validated = |bill: &Value| {
        let mut python = Command::new(&python);
        python.args(["-c", VALIDATE]).stdin(Stdio::piped()).stderr(Stdio::piped());
        let mut python = python.spawn().unwrap();
        write!(python.stdin.take().unwrap(), "{bill}").unwrap();
        python.wait_with_output().unwrap()
    };
    for (function, mut bill) in bills() {
        let output = validated(&bill);
        assert!(output.status.success(), "{function}: {}", String::from_utf8_lossy(&output.stderr));
        bill["components"][0]["purls"] = "a misspelt field".into();
        assert!(!validated(&bill).status.success(), "{function}: the schema is not looked at");
    }
}
