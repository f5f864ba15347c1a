//! The README's commands, pasted as they stand.

use std::process::Command;

use tools::pass_over;

use crate::running::{project, up};

/// What the README has between a fence that begins so and the next.
pub(crate) fn blocks(readme: &str, fence: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut inside: Option<String> = None;
    for line in readme.lines() {
        match &mut inside {
            None if line == fence => inside = Some(String::new()),
            Some(_) if line == "```" => blocks.extend(inside.take()),
            Some(block) => {
                block.push_str(line);
                block.push('\n');
            }
            None => {}
        }
    }
    blocks
}

fn is_there(tool: &str) -> bool {
    Command::new(tool).arg("--version").output().is_ok_and(|output| output.status.success())
}

#[test]
fn every_command_in_the_readme_s_tour_works() {
    if let Some(missing) = ["bash", "curl"].into_iter().find(|tool| !is_there(tool)) {
        pass_over(&format!("{missing} is missing: the README's commands are not tested"));
        return;
    }
    let readme = std::fs::read_to_string(project().join("README.md")).unwrap();
    let commands = blocks(&readme, "```sh readme");
    let answers = blocks(&readme, "```json");
    assert!(commands.len() >= 11 && answers.len() >= 3, "the README's blocks are not found");

    let running = up(&["--ephemeral"]);
    let address = |piece: &str| running.addresses[piece].as_str().unwrap().to_owned();
    let script = format!("set -eu\n{}", commands.join("echo\n"))
        .replace("http://127.0.0.1:3000", &address("gateway"))
        .replace("http://127.0.0.1:12111", &address("stripe"));
    let output = Command::new("bash").args(["-c", &script]).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let complaints = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}\n{complaints}");

    let squeezed = |text: &str| text.split_whitespace().collect::<String>();
    for answer in answers {
        assert!(squeezed(&said).contains(&squeezed(&answer)), "{answer} is not in:\n{said}");
    }
    for part in [
        "\"reason\":\"free_chapter\"",
        "\"status\":409",
        "/api/go/",
        "\"name\":\"TutorClaw, all chapters\",\"amount\":999,",
        "303 http://127.0.0.1:",
        "\"payment_status\": \"paid\"",
        "\"courses\":[\"models\",\"tools\",\"memory\",\"evaluation\"]",
        "\"status\":\"refunded\"",
        "\"effect\":\"closes\",\"text\":\"9.99 USD was refunded.\"",
    ] {
        assert!(said.contains(part), "{part} is not in:\n{said}");
    }
}
