//! The operator's commands as they are typed, against the local stack that is running.

use std::process::{Command, Stdio};

use coursegate::site::content_type;
use serde_json::json;

use crate::running::{Folder, command, project};
use crate::shop::{Said, Shop, finish};

/// What the doctor says under this name, with its remedy.
pub(crate) fn line(said: &Said, name: &str) -> String {
    let mut lines = said.out.lines();
    let found = lines.find(|line| line.contains(&format!(" {name} ")));
    let found = found.unwrap_or_else(|| panic!("nothing about {name}: {}", said.out));
    let remedy = lines.next().filter(|line| line.trim_start().starts_with("->"));
    format!("{found} {}", remedy.unwrap_or_default().trim())
}

#[test]
fn an_edited_catalog_is_planned_pushed_and_read_back() {
    let shop = Shop::open();
    let folder = Folder::new();
    let text = std::fs::read_to_string(project().join("catalog.toml")).unwrap();
    let file = folder.path("catalog.toml");
    std::fs::write(&file, text.replace("amount = 999", "amount = 3900")).unwrap();

    let said = shop.run(&["catalog", "plan"]);
    assert_eq!((said.out.as_str(), said.code), ("local sells what catalog.toml says.\n", Some(0)));
    let said = shop.run(&["catalog", "plan", &file]);
    let steps = "~ price tutorclaw_paid: 9.99 USD becomes 39.00 USD for tutorclaw; buyers with an \
                 open checkout page still pay the old price\n\
                 ~ table: catalog version 2\n";
    assert!(said.out.starts_with(steps) && said.out.contains("2 steps to do"), "{}", said.out);
    let said = shop.run(&["catalog", "push", &file]);
    assert!(said.out.starts_with(steps) && said.out.contains("2 steps done"), "{}", said.out);
    let said = shop.run(&["catalog", "push", &file]);
    assert!(said.out.starts_with("Nothing to do"), "{}", said.out);

    let pulled = shop.run(&["catalog", "pull"]);
    assert_eq!((pulled.problem.as_str(), pulled.code), ("", Some(0)));
    let again = folder.path("pulled.toml");
    std::fs::write(&again, pulled.out).unwrap();
    let said = shop.run(&["catalog", "plan", &again]);
    assert!(said.out.contains("sells what"), "{}", said.out);
}

#[test]
fn a_removed_price_is_neither_sold_nor_pulled() {
    let shop = Shop::open();
    let folder = Folder::new();
    let text = std::fs::read_to_string(project().join("catalog.toml")).unwrap();
    let file = folder.path("catalog.toml");
    std::fs::write(&file, text.rsplit_once("[[price]]").unwrap().0).unwrap();
    let said = shop.run(&["catalog", "push", &file]);
    assert!(
        said.out.starts_with(
            "~ table: catalog version 2: price production_paid is no longer on sale\n1 step done"
        ),
        "{}",
        said.out
    );
    let said = shop.run(&["catalog", "pull"]);
    assert!(!said.out.contains("production_paid"), "{}", said.out);
    let note = "coursegate: price production_paid is left out: the table doesn't sell it\n";
    assert_eq!((said.problem.as_str(), said.code), (note, Some(0)));
}

#[test]
fn a_catalog_error_is_reported_with_its_line() {
    let folder = Folder::new();
    let text = std::fs::read_to_string(project().join("catalog.toml")).unwrap();
    let file = folder.path("catalog.toml");
    let text = text.replace("amount = 999", "amount = 10").replace("amount = 9900", "amount = 0");
    std::fs::write(&file, &text).unwrap();
    let line = |wanted: &str| text.lines().position(|line| line == wanted).unwrap() + 1;
    let expected = format!(
        "coursegate: {file}:{}: price tutorclaw_paid: 0.10 USD is below Stripe's minimum of 0.50 \
         USD (https://docs.stripe.com/currencies#minimum-and-maximum-charge-amounts)\n\
         {file}:{}: price curriculum_paid must be more than zero: a course that costs nothing has \
         the category free\n",
        line("amount = 10"),
        line("amount = 0"),
    );
    for command_line in [&["catalog", "plan", &file][..], &["catalog", "push", &file]] {
        let said = finish(&mut command(command_line), "");
        assert_eq!((said.problem.as_str(), said.code), (expected.as_str(), Some(1)));
    }
}

/// Writing to `/dev/full` finds the disk full, whoever writes.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_fails_commands_and_leaves_no_partial_file() {
    let shop = Shop::open();
    let gateway = shop.running.addresses["gateway"].as_str().unwrap();
    let port = gateway.rsplit(':').next().unwrap();
    for arguments in [&["catalog", "pull"][..], &["learner", "export", "ada"], &["doctor"]] {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let mut command = command(&[arguments, &["--gateway-port", port]].concat());
        let said = finish(command.stdout(full), "");
        let expected = "coursegate: the disk is full, so the output is incomplete: free some space \
                        and run this again\n";
        assert_eq!((said.problem.as_str(), said.code), (expected, Some(1)), "{arguments:?}");
    }
}

#[test]
fn a_push_that_ends_access_says_what_and_how_to_force_it() {
    let shop = Shop::open();
    let folder = Folder::new();
    let text = std::fs::read_to_string(project().join("catalog.toml")).unwrap();
    let file = folder.path("catalog.toml");
    let text = text.replace("\"memory\", \"evaluation\"]", "\"memory\"]");
    let text =
        text.replace("courses = [\"tutorclaw\"]", "courses = [\"tutorclaw\", \"evaluation\"]");
    std::fs::write(&file, text).unwrap();
    let said = shop.run(&["catalog", "plan", &file]);
    let loss = "owners would lose: product curriculum no longer opens evaluation";
    assert!(said.out.contains(loss), "{}", said.out);
    let said = shop.run(&["catalog", "push", &file]);
    assert!(said.problem.contains("--force") && said.code == Some(1), "{}", said.problem);
    let said = shop.run(&["catalog", "push", &file, "--force"]);
    assert!(said.out.contains("! owners have lost") && said.code == Some(0), "{}", said.out);
}

#[test]
fn without_a_deployment_every_command_says_what_to_do() {
    for arguments in [
        &["catalog", "plan"][..],
        &["catalog", "push"],
        &["catalog", "pull"],
        &["webhook", "register"],
        &["webhook", "rotate"],
        &["key", "store"],
        &["key", "store", "--webhook"],
        &["key", "rotate-service"],
        &["key", "rotate-service", "--list"],
        &["key", "rotate-service", "--delete", "older"],
        &["doctor"],
        &["why", "ada"],
        &["grant", "ada", "tutorclaw", "--reason", "a prize"],
        &["revoke", "pi_1", "--reason", "a slip"],
        &["replay", "evt_1"],
        &["quarantine", "list"],
        &["quarantine", "drain"],
        &["quarantine", "dismiss", "evt_1"],
        &["double-payments"],
        &["unknown-sources"],
        &["learner", "export", "ada"],
        &["learner", "forget", "ada", "--yes"],
        &["site", "deploy"],
    ] {
        // Nothing listens on port 1.
        let mut command = command(&[arguments, &["--gateway-port", "1"]].concat());
        let said = finish(&mut command, "");
        let expected = "coursegate: no local stack answers on port 1: start one with `cargo run`, \
                        or name a deployment with --stack\n";
        assert_eq!((said.problem.as_str(), said.code), (expected, Some(1)));
    }
}

/// The workspace's tests build the command with AWS: `cargo test -p coursegate` runs this.
#[cfg(not(feature = "aws"))]
#[test]
fn a_build_without_aws_says_how_to_reach_a_stack() {
    let said = finish(&mut command(&["doctor", "--stack", "coursegate-test"]), "");
    assert_eq!(said.code, Some(1));
    assert!(said.problem.contains("cargo install") && said.problem.contains("--features aws"));
}

#[test]
fn every_command_in_the_operator_s_guide_exists() {
    let document = std::fs::read_to_string(project().join("docs/OPERATE.md")).unwrap();
    let blocks = document.split("```sh\n").skip(1).map(|block| block.split("```").next().unwrap());
    let commands: Vec<&str> = blocks.flat_map(str::lines).collect();
    for name in [
        "why",
        "grant",
        "revoke",
        "double-payments",
        "unknown-sources",
        "replay",
        "quarantine",
        "learner",
        "key rotate-service",
    ] {
        let shows = |line: &&&str| line.starts_with(&format!("coursegate {name}"));
        assert!(commands.iter().any(|line| shows(&line)), "{name} is not in {commands:?}");
    }
    for line in commands {
        let program = env!("CARGO_BIN_EXE_coursegate");
        let line = line.replacen("coursegate", &format!("{program:?}"), 1);
        // Nothing listens on port 1, which is said once the command is understood.
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("{line} --gateway-port 1")]);
        let said = finish(shell.stdout(Stdio::piped()).stderr(Stdio::piped()), "");
        assert!(said.problem.contains("no local stack answers"), "{line}: {}", said.problem);
    }
}

#[test]
fn a_key_is_read_from_standard_input_and_checked() {
    let shop = Shop::open();
    let said = shop.run_with(&["key", "store"], "rk_live_51\n");
    assert!(
        said.problem.contains("is a live key, but this deployment is test"),
        "{}",
        said.problem
    );
    assert!(!said.problem.contains("rk_live_51") && said.code == Some(1));
    let said = shop.run_with(&["key", "store"], "\n");
    assert!(said.problem.contains("pass it on standard input"), "{}", said.problem);
    let said = shop.run_with(&["key", "store"], "rk_test_51\n");
    assert!(said.out.contains("works and is stored") && said.code == Some(0), "{}", said.problem);
    assert!(!said.out.contains("rk_test_51"));
    let said = shop.run(&["key", "rotate-service"]);
    assert!(said.problem.contains("/local/service-token"), "{}", said.problem);
}

#[test]
fn the_webhook_key_is_tested_for_excess_permissions() {
    let shop = Shop::open();
    let store = &["key", "store", "--webhook"];
    // As if the shop had been in another account until now.
    let item = json!({"pk": {"S": "SOURCE#pi_elsewhere"}, "sk": {"S": "SOURCE"}});
    let put = json!({"TableName": "coursegate", "Item": item});
    shop.aws("dynamodb", "DynamoDB_20120810.PutItem", &put);
    let said = shop.run_with(store, "rk_test_other\n");
    assert!(said.problem.contains("sees none of the payments"), "{}", said.problem);
    shop.buy(&shop.sign_in("ada@example.com"), "tutorclaw_paid");

    let reads = json!({"payment_intents": "read", "disputes": "read", "invoice_payments": "read"});
    let half = json!({"payment_intents": "read", "invoice_payments": "read"});
    let mut writes = reads.clone();
    writes["charges"] = "write".into();
    writes["customers"] = "write".into();
    for (key, permissions) in
        [("rk_test_reads", reads), ("rk_test_half", half), ("rk_test_writes", writes)]
    {
        shop.sim("/_sim/keys", &json!({"key": key, "permissions": permissions}));
    }
    let said = shop.run_with(store, "rk_test_half\n");
    let lacks = "the key was not stored: it lacks Disputes: Read";
    assert!(said.problem.contains(lacks) && said.code == Some(1), "{}", said.problem);
    let said = shop.run_with(store, "rk_live_reads\n");
    assert!(
        said.problem.contains("is a live key, but this deployment is test"),
        "{}",
        said.problem
    );
    for (key, more) in [
        ("rk_test_reads", None),
        ("rk_test_writes", Some("more than it needs: Charges: Write, Customers: Write.")),
        ("sk_test_all", Some("more than it needs: everything.")),
    ] {
        let said = shop.run_with(store, &format!("{key}\n"));
        assert_eq!(said.code, Some(0), "{key}: {}", said.problem);
        assert!(said.out.contains("stored in coursegate/StripeReadKey"), "{key}: {}", said.out);
        assert!(!said.out.contains(key), "{}", said.out);
        match more {
            Some(more) => assert!(said.out.contains(more), "{key}: {}", said.out),
            None => assert!(!said.out.contains("more than it needs"), "{key}: {}", said.out),
        }
        let secret = json!({"SecretId": "coursegate/StripeReadKey"});
        let stored = shop.aws("secrets_manager", "secretsmanager.GetSecretValue", &secret);
        assert_eq!(stored["SecretString"], key);
    }
}

#[test]
fn a_new_stack_is_healthy() {
    let shop = Shop::open();
    let said = shop.run(&["doctor"]);
    assert_eq!(said.code, Some(0), "{}{}", said.out, said.problem);
    assert!(said.out.contains(" 0 wrong."), "{}", said.out);
    for name in [
        "table",
        "functions' key",
        "webhook's key",
        "account",
        "prices",
        "endpoint",
        "quarantine",
        "double payments",
        "signed probe",
        "api",
    ] {
        assert!(line(&said, name).starts_with("ok"), "{}", said.out);
    }
    for secret in ["whsec_", "sk_test_", "rk_test_"] {
        assert!(!said.out.contains(secret), "{}", said.out);
    }
}

#[test]
fn the_doctor_names_the_problem_and_the_remedy() {
    let shop = Shop::open();
    let list = shop.stripe("/v1/webhook_endpoints", &[]);
    let endpoint = list["data"][0]["id"].as_str().unwrap();

    // Somebody has been in the Dashboard, in Secrets Manager and in the table's settings.
    let secret = json!({"SecretId": "coursegate/StripeApiKey", "SecretString": "sk_live_51"});
    shop.aws("secrets_manager", "secretsmanager.PutSecretValue", &secret);
    let unprotected = json!({"TableName": "coursegate", "DeletionProtectionEnabled": false});
    shop.aws("dynamodb", "DynamoDB_20120810.UpdateTable", &unprotected);
    let said = shop.run(&["doctor"]);
    assert!(line(&said, "table").contains("deletion protection is off"), "{}", said.out);
    let key = line(&said, "functions' key");
    assert!(
        key.starts_with("WRONG") && key.contains("is a live key") && key.contains("key store"),
        "{key}"
    );
    assert_eq!(said.code, Some(1));
    assert!(!said.out.contains("sk_live_51"));

    let none = json!({"SecretId": "coursegate/StripeReadKey", "SecretString": "placeholder"});
    shop.aws("secrets_manager", "secretsmanager.PutSecretValue", &none);
    let key = line(&shop.run(&["doctor"]), "webhook's key");
    assert!(key.starts_with("WRONG") && key.contains("key store --webhook"), "{key}");

    let secret = json!({"SecretId": "coursegate/StripeApiKey", "SecretString": "sk_test_51"});
    shop.aws("secrets_manager", "secretsmanager.PutSecretValue", &secret);
    shop.stripe(&format!("/v1/webhook_endpoints/{endpoint}"), &[("disabled", "true")]);
    shop.stripe("/v1/products/coursegate_tutorclaw", &[("active", "false")]);
    let said = shop.run(&["doctor"]);
    let found = line(&said, "endpoint");
    assert!(found.contains("it is disabled") && found.contains("webhook register"), "{found}");
    let prices = line(&said, "prices");
    assert!(prices.starts_with("WRONG") && prices.contains("catalog push"), "{prices}");

    for remedy in [&["webhook", "register"][..], &["catalog", "push"]] {
        assert_eq!(shop.run(remedy).code, Some(0));
    }
    let said = shop.run(&["doctor"]);
    assert!(line(&said, "endpoint").starts_with("ok"), "{}", said.out);
    assert!(line(&said, "prices").starts_with("ok"), "{}", said.out);
}

#[tokio::test]
async fn local_and_deployed_sites_are_served_alike() {
    let shop = Shop::open();
    let said = shop.says(&["site", "deploy"]);
    assert!(said.starts_with("Nothing to do") && said.contains("--stack"), "{said}");

    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut kinds = 0;
    for folder in ["", "pages/", "elements/"] {
        for entry in std::fs::read_dir(project().join("web").join(folder)).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            if entry.path().is_dir() || name == "README.md" || name == "api.d.ts" {
                continue;
            }
            let url = shop.running.url(&format!("/{folder}{name}"));
            let answer = client.get(url).send().await.unwrap();
            let local = answer.headers()["content-type"].to_str().unwrap();
            assert_eq!(content_type(&name), local, "{folder}{name}");
            kinds += 1;
        }
    }
    assert!(kinds > 20, "{kinds}");
    let config = client.get(shop.running.url("/config.json")).send().await.unwrap();
    assert_eq!(config.headers()["content-type"], content_type("config.json"));
}

#[test]
fn one_command_starts_and_finishes_a_rotation() {
    let shop = Shop::open();
    let said = shop.run(&["webhook", "rotate"]);
    assert!(said.out.contains("both signing secrets are accepted"), "{}{}", said.out, said.problem);
    let said = shop.run(&["doctor"]);
    assert!(line(&said, "signed probe").contains("2 stored secrets"), "{}", said.out);
    assert!(line(&said, "endpoint").starts_with("note"), "{}", said.out);
    let said = shop.run(&["webhook", "rotate", "--now"]);
    assert!(said.out.contains("only the new signing secret is left"), "{}", said.out);
    let said = shop.run(&["doctor"]);
    assert!(line(&said, "endpoint").starts_with("ok") && said.code == Some(0), "{}", said.out);
}
