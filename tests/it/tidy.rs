//! Checks the project's structure: dependencies between modules, where things belong, and what must
//! agree.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_norway::Value as Yaml;
use shared::config::{CheckoutConfig, EntitlementsConfig, TutorConfig, WebhookConfig};
use tests::world::{root, template, template_yaml};

/// Every file below a folder with this ending, relative to the root, without build output.
pub(crate) fn files(folder: &str, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.is_dir() {
                if !name.starts_with('.') && name != "target" {
                    folders.push(path);
                }
            } else if name.ends_with(ending) {
                found.push(path.strip_prefix(root()).unwrap().to_owned());
            }
        }
    }
    found.sort();
    assert!(!found.is_empty(), "no {ending} in {folder}");
    found
}

fn read(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

/// A source file without its comments and its unit tests.
pub(crate) fn code(path: &Path) -> String {
    let text = read(path);
    let text = text.split("#[cfg(test)]").next().unwrap_or_default();
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

/// Asserts that no file below this folder contains any of these words.
#[track_caller]
fn none_of(folder: &str, words: &[&str]) {
    for file in files(folder, ".rs") {
        let code = code(&file);
        for word in words {
            assert!(!code.contains(word), "{} must not mention {word}", file.display());
        }
    }
}

#[test]
fn the_domain_is_pure() {
    let impure = [
        "async ",
        "aws_",
        "lambda_",
        "stripe::",
        "tokio",
        "reqwest",
        "serde",
        "std::env",
        "SystemTime",
        "std::time",
        "std::fs",
        "std::net",
        "std::io",
        "crate::ports",
        "crate::dynamo",
        "crate::stripe",
        "crate::http",
        "crate::config",
        "crate::secrets",
        "tracing",
        "getrandom",
    ];
    none_of("shared/src/domain", &impure);
}

#[test]
fn module_dependencies_in_shared_point_inwards() {
    let allowed: [(&str, &[&str]); 14] = [
        ("domain", &[]),
        ("https", &[]),
        ("ports", &["domain"]),
        ("telemetry", &["ports"]),
        ("secrets", &["domain", "ports"]),
        ("config", &["domain"]),
        ("apply", &["domain", "ports", "telemetry"]),
        ("erasure", &["apply", "domain", "ports"]),
        ("usecases", &["apply", "content", "domain", "ports", "telemetry"]),
        ("stripe", &["domain", "https", "ports", "secrets"]),
        ("dynamo", &["domain", "ports"]),
        ("aws", &["config", "content", "dynamo", "https"]),
        ("content", &["domain", "https"]),
        ("http", &["apply", "content", "domain", "ports", "usecases"]),
    ];
    let mut seen = BTreeSet::new();
    for file in files("shared/src", ".rs") {
        let module = file.strip_prefix("shared/src").unwrap().with_extension("");
        let module = module.iter().next().unwrap().to_str().unwrap().to_owned();
        if module == "lib" {
            continue;
        }
        let code = code(&file);
        let known = code
            .split("crate::")
            .skip(1)
            .map(|after| after.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap());
        let (_, allowed) = allowed.iter().find(|(name, _)| *name == module).unwrap();
        for known in known.filter(|known| *known != module) {
            assert!(allowed.contains(&known), "{} may not know {known}", file.display());
        }
        seen.insert(module);
    }
    assert_eq!(seen.len(), allowed.len(), "{seen:?}");
    none_of("shared/src/stripe", &["aws_sdk"]);
    none_of("shared/src/dynamo", &["stripe::", "stripe_webhook", "stripe_checkout", "lambda_http"]);
    none_of("shared/src/http", &["aws_sdk", "stripe::"]);
    none_of(
        "shared/src/usecases",
        &["http", "Response<", "StatusCode", "Problem", "serde", "aws_", "stripe_c"],
    );
}

#[test]
fn crate_dependencies_point_inwards() {
    let allowed: [(&str, &[&str]); 18] = [
        ("currencies", &[]),
        ("shared", &["currencies"]),
        ("functions/checkout", &["shared"]),
        ("functions/entitlements", &["shared"]),
        ("functions/tutor", &["shared"]),
        ("functions/webhook", &["shared"]),
        ("local/stripe", &["currencies"]),
        ("local", &["stripe-simulator"]),
        ("cli", &["checkout", "entitlements", "local", "shared", "tutor", "webhook"]),
        ("simulation", &["checkout", "samples", "shared", "webhook"]),
        (
            "fuzz",
            &["checkout", "coursegate", "entitlements", "shared", "simulation", "tutor", "webhook"],
        ),
        ("fuzz/targets", &["fuzz"]),
        ("tools", &[]),
        ("events", &["tools"]),
        ("xtask", &["tools"]),
        ("bench", &["local", "samples", "shared", "tests", "tools"]),
        ("bench/floor", &[]),
        (
            "tests",
            &[
                "checkout",
                "coursegate",
                "currencies",
                "entitlements",
                "local",
                "samples",
                "shared",
                "simulation",
                "stripe-simulator",
                "tools",
                "tutor",
                "webhook",
            ],
        ),
    ];
    let manifests = allowed.map(|(folder, allowed)| {
        let manifest: toml::Table = read(format!("{folder}/Cargo.toml")).parse().unwrap();
        (folder, manifest, allowed)
    });
    let name = |manifest: &toml::Table| manifest["package"]["name"].as_str().unwrap().to_owned();
    let ours: BTreeSet<String> = manifests.iter().map(|(_, manifest, _)| name(manifest)).collect();
    let mut folders = BTreeSet::new();
    for (folder, manifest, allowed) in &manifests {
        let known = |section: &str| -> BTreeSet<&str> {
            let known = manifest.get(section).and_then(toml::Value::as_table);
            let known = known.into_iter().flat_map(|known| known.keys().map(String::as_str));
            known.filter(|name| ours.contains(*name)).collect()
        };
        let (known, in_tests) = (known("dependencies"), known("dev-dependencies"));
        let allowed: BTreeSet<&str> = allowed.iter().copied().collect();
        assert!(known.is_subset(&allowed), "{folder} knows {known:?}, and may know {allowed:?}");
        assert!(!in_tests.contains("xtask"), "{folder}'s tests know xtask, which runs them");
        folders.insert((*folder).to_owned());
    }
    let workspace: toml::Table = read("Cargo.toml").parse().unwrap();
    let members = workspace["workspace"]["members"].as_array().unwrap().iter();
    let members: BTreeSet<String> =
        members.map(|member| member.as_str().unwrap().to_owned()).collect();
    assert_eq!(members, folders, "whoever adds a crate says here whom it may know");
}

#[test]
fn operator_commands_do_not_know_the_local_stack() {
    let starts_it = ["cli/src/up.rs", "cli/src/up/"];
    for file in files("cli/src", ".rs") {
        let path = file.to_str().unwrap();
        if !starts_it.iter().any(|start| path.starts_with(start)) {
            assert!(!code(&file).contains("local::"), "{path} must not mention local::");
        }
    }
}

#[test]
fn template_folders_and_binaries_agree() {
    let template = template();
    let binaries: BTreeSet<&str> =
        template.functions.iter().map(|function| function.binary.as_str()).collect();
    let folders = std::fs::read_dir(root().join("functions")).unwrap();
    let folders: BTreeSet<String> =
        folders.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(binaries, folders.iter().map(String::as_str).collect());
    for folder in &folders {
        let manifest: toml::Table = read(format!("functions/{folder}/Cargo.toml")).parse().unwrap();
        assert_eq!(manifest["bin"][0]["name"].as_str(), Some(folder.as_str()));
        assert!(root().join("events").join(folder).is_dir(), "{folder} has no sample events");
    }
}

/// The variables that a function reads at its start, except those that Lambda sets.
fn asked_for<T>(parse: impl Fn(&dyn Fn(&str) -> Option<String>) -> T) -> BTreeSet<String> {
    let asked = RefCell::new(BTreeSet::new());
    parse(&|name| {
        asked.borrow_mut().insert(name.to_owned());
        Some("https://something".to_owned())
    });
    asked.into_inner().into_iter().filter(|name| !name.starts_with("AWS_")).collect()
}

#[test]
fn each_function_gets_exactly_the_variables_it_reads() {
    for function in template().functions {
        let asked = match function.binary.as_str() {
            "checkout" => asked_for(|lookup| CheckoutConfig::parse(lookup).is_ok()),
            "entitlements" => asked_for(|lookup| EntitlementsConfig::parse(lookup).is_ok()),
            "tutor" => asked_for(|lookup| TutorConfig::parse(lookup).is_ok()),
            "webhook" => asked_for(|lookup| WebhookConfig::parse(lookup).is_ok()),
            other => panic!("{other} has no configuration"),
        };
        let given: BTreeSet<String> = function.variables.keys().cloned().collect();
        assert_eq!(given, asked, "{}", function.binary);
    }
}

/// The permissions that the template gives a function: `dynamodb:GetItem on Table.Arn`.
fn allowed(function: &str) -> BTreeSet<String> {
    let template = template_yaml();
    let policies = &template["Resources"][function]["Properties"]["Policies"];
    let statements = policies.as_sequence().unwrap().iter();
    let statements = statements.flat_map(|policy| policy["Statement"].as_sequence().unwrap());
    let mut allowed = BTreeSet::new();
    for statement in statements {
        assert_eq!(statement["Effect"].as_str(), Some("Allow"));
        let Yaml::Tagged(resource) = &statement["Resource"] else {
            panic!("{function} is allowed something with more than one resource of this stack");
        };
        for action in statement["Action"].as_sequence().unwrap() {
            let (action, on) = (action.as_str().unwrap(), resource.value.as_str().unwrap());
            allowed.insert(format!("{action} on {on}"));
        }
    }
    allowed
}

/// What each function's adapters do, and on what.
pub(crate) fn done_by_adapters() -> [(&'static str, BTreeSet<String>); 4] {
    use shared::content;
    use shared::dynamo::{catalog, checkouts, ledger};
    let on = |resource: &str, actions: &[&str]| {
        actions.iter().map(|action| format!("{action} on {resource}")).collect::<BTreeSet<_>>()
    };
    let table = |actions: &[&str]| on("Table.Arn", actions);
    let reading = [ledger::ACCESS_ACTIONS, catalog::ACTIONS].concat();
    let applying: Vec<&str> = ledger::ledger_actions().collect();
    let buying = [&applying, &reading, checkouts::ACTIONS].concat();
    let secret = |resource| on(resource, shared::secrets::ACTIONS);
    let chapters = on("${ContentBucket.Arn}/content/*", content::ACTIONS);
    [
        ("EntitlementsFunction", &table(&reading) | &chapters),
        (
            "WebhookFunction",
            &(&table(&applying) | &secret("StripeSigningSecret")) | &secret("StripeReadKey"),
        ),
        ("CheckoutFunction", &table(&buying) | &secret("StripeApiKey")),
        ("TutorFunction", &(&table(&buying) | &secret("StripeApiKey")) | &chapters),
    ]
}

#[test]
fn each_function_may_do_exactly_what_its_adapters_do() {
    for (function, done) in done_by_adapters() {
        assert_eq!(allowed(function), done, "{function}");
    }
}

#[test]
fn the_template_s_version_is_the_workspace_s() {
    let template = template_yaml();
    let workspace: toml::Table = read("Cargo.toml").parse().unwrap();
    let version = workspace["workspace"]["package"]["version"].as_str();
    assert_eq!(template["Outputs"]["Version"]["Value"].as_str(), version);
}

#[test]
fn nothing_is_deleted_scanned_or_read_by_an_index() {
    // Except by the operator's commands, which no function contains.
    let operator = Path::new("shared/src/dynamo/operator.rs");
    for file in files("shared/src", ".rs").iter().filter(|file| *file != operator) {
        let code = code(file);
        for forbidden in ["delete_item", ".scan(", ".query(", "index_name"] {
            assert!(!code.contains(forbidden), "{} mentions {forbidden}", file.display());
        }
    }
    for function in ["checkout", "entitlements", "tutor", "webhook"] {
        none_of(&format!("functions/{function}/src"), &["dynamo::operator", "aws_sdk_dynamodb"]);
    }
}

#[test]
fn keys_are_spelled_in_one_file() {
    for file in files("shared/src", ".rs").into_iter().chain(files("functions", ".rs")) {
        if file.ends_with("dynamo/key.rs") {
            continue;
        }
        let code = code(&file);
        for prefix in [
            "EVENT#",
            "SOURCE#",
            "LEARNER#",
            "CHECKOUT#",
            "LINK#",
            "\"QUARANTINE\"",
            "\"DOUBLE_PAYMENT",
        ] {
            assert!(!code.contains(prefix), "{} spells {prefix}", file.display());
        }
    }
}

#[test]
fn a_failed_condition_is_read_in_two_files_only() {
    let knowing: Vec<PathBuf> = files("shared/src", ".rs")
        .into_iter()
        .filter(|file| code(file).contains("ConditionalCheckFailed"))
        .collect();
    let expected = ["shared/src/dynamo/commit.rs", "shared/src/dynamo/failure.rs"];
    assert_eq!(knowing, expected.map(PathBuf::from));
}

#[test]
fn stripe_s_enums_are_read_by_tables_and_none_has_a_catch_all() {
    let readers = ["shared/src/stripe/wire.rs", "shared/src/stripe/values.rs"].map(PathBuf::from);
    let readers = readers.into_iter().chain(files("shared/src/stripe/wire", ".rs"));
    for file in readers.collect::<Vec<_>>() {
        for line in code(&file).lines() {
            let arm = line.split_once("=>").map(|(pattern, _)| pattern.trim());
            let pattern = arm.or_else(|| line.trim().starts_with('|').then_some(line.trim()));
            let Some(pattern) = pattern else { continue };
            let (pattern, guard) = pattern.split_once(" if ").unwrap_or((pattern, ""));
            // A text pattern needs an arm for all other texts.
            let is_value = pattern.contains('"') || guard.contains("== \"");
            assert!(!is_value, "{} matches on a value of Stripe's: {line}", file.display());
            assert_ne!(pattern, "_", "{} has a catch-all: {line}", file.display());
        }
    }
}

#[test]
fn main_only_composes() {
    for file in files("functions", "main.rs") {
        assert!(read(&file).lines().count() <= 40, "{}", file.display());
    }
}

#[test]
fn no_file_is_called_utils() {
    for file in files(".", ".rs") {
        let name = file.file_name().unwrap().to_str().unwrap();
        let banned = ["utils.rs", "util.rs", "helpers.rs", "common.rs", "manager.rs", "mod.rs"];
        assert!(!banned.contains(&name), "{}", file.display());
    }
}

/// A longer name is hard to read, here and in the documents that cite it.
const TEST_NAME_CHARACTERS_MAX: usize = 60;

#[test]
fn test_names_have_at_most_60_characters() {
    let mut seen = 0;
    for file in files(".", ".rs") {
        let text = read(&file);
        let mut is_test = false;
        for line in text.lines().map(str::trim_start) {
            is_test |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
            let Some((_, after)) = line.split_once("fn ").filter(|_| is_test) else { continue };
            let name = after.split('(').next().unwrap();
            assert!(name.len() <= TEST_NAME_CHARACTERS_MAX, "{}: {name}", file.display());
            (is_test, seen) = (false, seen + 1);
        }
    }
    assert!(seen > 500, "{seen} tests");
}

#[test]
fn no_comment_is_a_single_word() {
    let is_comment = |line: Option<&&str>| line.is_some_and(|line| line.starts_with("///"));
    let mut seen = 0;
    for file in files(".", ".rs") {
        let text = read(&file);
        let lines: Vec<&str> = text.lines().map(str::trim_start).collect();
        for (number, line) in lines.iter().enumerate() {
            let Some(comment) = line.strip_prefix("/// ") else { continue };
            seen += 1;
            // An example in backticks or a link is no sentence.
            let is_word = !comment.contains(' ') && comment.ends_with('.');
            let above = number.checked_sub(1).and_then(|above| lines.get(above));
            let stands_alone = !is_comment(above) && !is_comment(lines.get(number + 1));
            let place = format!("{}:{}", file.display(), number + 1);
            assert!(!(is_word && stands_alone), "{place} doesn't say what it is: {comment}");
        }
    }
    assert!(seen > 3000, "{seen} lines of comments");
}

#[test]
fn no_unfinished_code_is_left() {
    // In two parts, so that this file does not match itself.
    let words = ["TO", "FIX", "XX"].into_iter().zip(["DO", "ME", "X"]);
    let words: Vec<String> = words.map(|(a, b)| format!("{a}{b}")).collect();
    let macros = ["todo", "unimplemented", "dbg"].map(|name| format!("{name}!("));
    for file in files(".", ".rs").iter().chain(&files(".", ".md")).chain(&files(".", ".yaml")) {
        let text = read(file);
        for word in words.iter().chain(&macros) {
            assert!(!text.contains(word.as_str()), "{} contains {word}", file.display());
        }
        let ignore = ["#[", "ignore"].concat();
        assert!(!text.contains(&ignore), "{} ignores a test", file.display());
    }
}

#[test]
fn every_folder_is_in_the_architecture_document() {
    let map = read("ARCHITECTURE.md");
    for entry in std::fs::read_dir(root()).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let is_built = name == "target" || (name.starts_with('.') && name != ".ci");
        if entry.path().is_dir() && !is_built {
            assert!(map.contains(&format!("`{name}")), "ARCHITECTURE.md does not name {name}");
        }
    }
    for module in files("shared/src", ".rs") {
        let module = module.strip_prefix("shared/src").unwrap().with_extension("");
        let name = module.iter().next().unwrap().to_str().unwrap();
        if name != "lib" {
            assert!(map.contains(&format!("`{name}")), "ARCHITECTURE.md does not name {name}");
        }
    }
}

#[test]
fn every_invariant_names_a_test_that_exists() {
    let map = read("ARCHITECTURE.md");
    let there = crate::documents::tests();
    let mut invariants = 0;
    for line in map.lines().filter(|line| line.starts_with("| I")) {
        invariants += 1;
        let tests: Vec<&str> =
            line.split('`').skip(1).step_by(2).filter(|word| word.contains('_')).collect();
        assert!(!tests.is_empty(), "no test guards: {line}");
        for test in tests {
            assert!(there.contains(test), "there is no test {test}: {line}");
        }
    }
    assert!(invariants >= 10, "{invariants} invariants");
}

#[test]
fn every_problem_is_explained() {
    let document = read("docs/ERRORS.md");
    for kind in shared::http::ProblemKind::ALL {
        let row = format!("| `{}` | {} |", kind.name(), kind.status());
        assert!(document.contains(&row), "docs/ERRORS.md has no row that starts {row}");
    }
    let rows = document.lines().filter(|line| line.starts_with("| `")).count();
    assert_eq!(rows, shared::http::ProblemKind::ALL.len());
}

#[test]
fn every_kind_of_item_is_in_the_table_s_document() {
    let document = read("docs/TABLE.md");
    for key in [
        "EVENT#",
        "QUARANTINE",
        "SOURCE#",
        "ACCESS",
        "CUSTOMER",
        "CHECKOUT#",
        "RATE#",
        "LINK#",
        "CATALOG",
    ] {
        assert!(document.contains(key), "docs/TABLE.md does not explain {key}");
    }
}
