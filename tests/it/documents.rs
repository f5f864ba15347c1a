//! The guides agree with the template and the program.

use std::collections::BTreeSet;
use std::process::Command;

use aws_config::SdkConfig;
use coursegate::signed::Service;
use coursegate::{doctor, key, lambda, mcp};
use shared::domain::id::LearnerId;
use tests::world::{root, template_yaml};

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

/// A document's text between backticks.
fn quoted(document: &str) -> BTreeSet<&str> {
    document.lines().flat_map(|line| line.split('`').skip(1).step_by(2)).collect()
}

/// The text between backticks in the first cells of a document's tables.
fn rows(document: &str) -> BTreeSet<&str> {
    let rows = document.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.filter_map(|row| row.split_once('`')).map(|(name, _)| name).collect()
}

#[test]
fn every_alarm_is_explained_to_the_operator() {
    let template = template_yaml();
    let resources = template["Resources"].as_mapping().unwrap();
    let alarms: BTreeSet<&str> = resources
        .iter()
        .filter(|(_, resource)| resource["Type"] == "AWS::CloudWatch::Alarm")
        .map(|(name, _)| name.as_str().unwrap())
        .collect();
    assert!(!alarms.is_empty());
    let guide = read("docs/GO-LIVE.md");
    let (_, guide) = guide.split_once("## Alarms").unwrap();
    let (guide, _) = guide.split_once("\n## ").unwrap();
    assert_eq!(rows(guide), alarms);
}

#[test]
fn the_guide_lists_the_permissions_that_are_checked() {
    let guide = read("docs/DEPLOY.md");
    let asked = |from: &str, to: &str| -> Vec<String> {
        let (_, table) = guide.split_once(from).unwrap();
        let (table, _) = table.split_once(to).unwrap();
        let rows = table.lines().filter_map(|line| line.strip_prefix("| ")).skip(1);
        rows.map(|row| row.trim_end_matches(" |").replace(" | ", ": ")).collect()
    };
    let [checkout, webhook, own] =
        ["**One for checkout**", "**One for the webhook**", "**One for yourself**"];
    assert_eq!(asked(checkout, webhook), key::permissions().collect::<Vec<_>>());
    assert_eq!(asked(webhook, own), key::reading::permissions().collect::<Vec<_>>());
}

/// A heading's section, with those below it.
fn section(document: &str, part: &str) -> String {
    let is_it = |line: &&str| line.starts_with('#') && anchor(line.trim_start_matches('#')) == part;
    let mut lines = document.lines().skip_while(|line| !is_it(line));
    let heading = lines.next().unwrap();
    let level = heading.split(' ').next().unwrap().len();
    let ends =
        |line: &&str| line.starts_with('#') && line.split(' ').next().unwrap().len() <= level;
    lines.take_while(|line| !ends(line)).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_denial_leads_to_the_section_that_names_the_permission() {
    let config = SdkConfig::builder().build();
    for (service, permissions) in [
        (Service::lambda(&config), &lambda::PERMISSIONS[..]),
        (Service::cognito(&config), &key::service::PERMISSIONS),
        (Service::cognito(&config), &[mcp::token::PERMISSION]),
        (Service::ses(&config), &doctor::SES_PERMISSIONS),
    ] {
        let (path, part) = service.guide().split_once('#').unwrap();
        let section = section(&read(path), part);
        for permission in permissions {
            assert!(section.contains(&format!("`{permission}`")), "{path}#{part}: {permission}");
        }
    }
}

#[test]
fn the_guide_s_command_prints_the_id_of_a_hashed_subject() {
    if Command::new("openssl").arg("version").output().is_err() {
        tools::pass_over("openssl is missing: the guide's command for learner ids is not tested");
        return;
    }
    let guide = read("docs/DEPLOY.md");
    let mut commands = guide.lines().filter(|line| line.contains("openssl dgst"));
    let command = commands.next().unwrap();
    assert_eq!(commands.next(), None);
    // The arguments, which a reader replaces.
    let arguments: Vec<&str> = command.split('\'').skip(3).step_by(2).take(2).collect();
    let [issuer, subject] = arguments[..] else { panic!("{command}") };
    let long = "ü".repeat(100);
    for (own_issuer, own_subject) in [
        (issuer, subject),
        ("https://issuer.example.com", subject),
        ("https://other.example.com/tenant/v2.0", "ada@example.com"),
        (issuer, "x-tutor-7"),
        (issuer, "100%"),
        (issuer, r"a\0b"),
        (issuer, &long),
    ] {
        let command = command.replace(issuer, own_issuer).replace(subject, own_subject);
        let output = Command::new("sh").args(["-c", &command]).output().unwrap();
        assert!(output.status.success(), "{command}: {output:?}");
        let learner = LearnerId::of_subject(own_issuer, own_subject).unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap().trim_end(), learner.as_str());
    }
}

#[test]
fn the_guides_name_existing_parameters_and_outputs() {
    let template = template_yaml();
    let names = |section: &str| -> BTreeSet<String> {
        let section = template[section].as_mapping().unwrap();
        section.keys().map(|name| name.as_str().unwrap().to_owned()).collect()
    };
    let known = &(&names("Parameters") | &names("Outputs")) | &names("Resources");
    for path in ["docs/DEPLOY.md", "docs/GO-LIVE.md", "README.md"] {
        let guide = read(path);
        let is_name = |word: &&str| {
            word.starts_with(|first: char| first.is_ascii_uppercase())
                && word.bytes().all(|byte| byte.is_ascii_alphanumeric())
                && word.bytes().any(|byte| byte.is_ascii_lowercase())
        };
        let assigned = guide.split_whitespace().filter_map(|word| word.split_once('='));
        let assigned = assigned.map(|(name, _)| name.trim_start_matches('`'));
        for name in quoted(&guide).into_iter().chain(assigned).filter(is_name) {
            assert!(known.contains(name), "{path} names {name}, which the template does not have");
        }
    }
}

/// The names of all tests: functions with a test attribute, and the parts of the contract that both
/// ledgers run.
pub(crate) fn tests() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for folder in ["cli", "functions", "fuzz", "local", "shared", "simulation", "tests"] {
        for file in crate::tidy::files(folder, ".rs") {
            let text = read(file.to_str().unwrap());
            let mut lines = text.lines().map(str::trim);
            while let Some(line) = lines.next() {
                if line == "#[test]" || line.starts_with("#[tokio::test") {
                    let name = lines.find_map(|line| line.split_once("fn ")).unwrap().1;
                    names.insert(name.split(['(', '<']).next().unwrap().to_owned());
                }
            }
        }
    }
    for contract in read("tests/it/contract.rs").split("async fn keeps_the_contract").skip(1) {
        let (parts, _) = contract.split_once("\n}").unwrap();
        let parts = parts.lines().filter_map(|line| line.trim().strip_suffix(".await;"));
        let parts = parts.filter_map(|call| Some(call.strip_suffix(')')?.split_once('(')?.0));
        names.extend(parts.map(str::to_owned));
    }
    names
}

#[test]
fn every_fault_names_existing_tests_or_is_planned() {
    let document = read("docs/FAULTS.md");
    let (now, later) = document.split_once("## Not yet").unwrap();
    let mut named: Vec<u32> = Vec::new();
    let there = tests();
    for row in now.lines().filter_map(|line| line.strip_prefix("| F")) {
        let cells: Vec<&str> = row.trim_end_matches(" |").split(" | ").collect();
        let [number, wrong, happens, shown] = cells[..] else { panic!("four cells: {row}") };
        named.push(number.parse().unwrap());
        assert!(wrong.ends_with('.') && happens.ends_with('.'), "{row}");
        let tests = quoted(shown);
        assert!(!tests.is_empty(), "no test shows F{number}");
        for test in tests {
            assert!(there.contains(test), "there is no test {test}, which F{number} names");
        }
    }
    let words = later.split(|c: char| !c.is_ascii_alphanumeric());
    named.extend(words.filter_map(|word| word.strip_prefix('F')?.parse::<u32>().ok()));
    named.sort_unstable();
    assert_eq!(named, (1..=60).collect::<Vec<u32>>(), "each fault once");
}

/// The part of a heading's address that GitHub makes of its text.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase();
    let kept = kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.collect::<String>().replace(' ', "-")
}

/// A document's lines outside of code blocks.
fn prose(document: &str) -> impl Iterator<Item = &str> {
    let mut is_code = false;
    document.lines().filter(move |line| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        !is_code && !is_fence
    })
}

#[test]
fn links_between_documents_lead_to_what_exists() {
    for file in crate::tidy::files(".", ".md") {
        let document = read(file.to_str().unwrap());
        let links = prose(&document).flat_map(|line| line.split("](").skip(1));
        for link in links.map(|rest| rest.split_once(')').unwrap().0) {
            if link.contains("://") {
                continue;
            }
            let (path, part) = link.split_once('#').unwrap_or((link, ""));
            let target = match path {
                "" => file.clone(),
                path => file.parent().unwrap().join(path),
            };
            assert!(root().join(&target).exists(), "{}: {link} doesn't exist", file.display());
            if !part.is_empty() {
                let target = read(target.to_str().unwrap());
                let mut headings = prose(&target).filter(|line| line.starts_with('#'));
                let is_there = headings.any(|line| anchor(line.trim_start_matches('#')) == part);
                assert!(is_there, "{}: {link} has no such heading", file.display());
            }
        }
    }
}

#[test]
fn files_named_in_contributing_exist() {
    let guide = read("CONTRIBUTING.md");
    let is_path = |word: &&str| word.contains(['/', '.']) && !word.contains(char::is_whitespace);
    let named: Vec<&str> = quoted(&guide).into_iter().filter(is_path).collect();
    assert!(named.len() > 40, "{named:?}");
    for path in named {
        assert!(root().join(path).exists(), "CONTRIBUTING.md names {path}, which doesn't exist");
    }
}

#[test]
fn names_in_the_glossary_are_in_the_code() {
    let glossary = read("docs/GLOSSARY.md");
    let folders = ["cli", "functions", "shared", "simulation"];
    let files = folders.iter().flat_map(|folder| crate::tidy::files(folder, ".rs"));
    let code: String = files.map(|file| read(file.to_str().unwrap())).collect();
    let words: BTreeSet<&str> =
        code.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').collect();
    let mut named = 0;
    for row in glossary.lines().filter(|line| line.starts_with("| ")) {
        let [_, _, name] = row.trim_matches('|').split(" | ").collect::<Vec<_>>()[..] else {
            continue;
        };
        for name in quoted(name) {
            named += 1;
            assert!(words.contains(name), "the glossary names {name}, which the code doesn't");
        }
    }
    assert!(named > 30, "{named} names");
}
