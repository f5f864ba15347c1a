//! Runs every corpus input, and mutations of them, through every target. libFuzzer searches
//! further: `cargo xtask fuzz`.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that can't go on should stop where it is"
)]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use fuzz::mutation::{Numbers, varied};
use fuzz::{TARGETS, Target, corpus, root, target};

/// How many mutations to try per target; fewer for slow ones.
const VARIATIONS: [(&str, usize); 8] = [
    ("signature", 20_000),
    ("delivery", 5_000),
    ("signed", 5_000),
    ("checkout", 500),
    ("entitlements", 5_000),
    ("tutor", 2_000),
    ("session", 20_000),
    ("catalog", 5_000),
];

/// Fixed, so that the test is reproducible.
const SEED: u64 = 1;

/// Runs a target. On a failure, names the input's file and how to repeat it.
fn try_out(target: &Target, bytes: &[u8], file: impl FnOnce() -> PathBuf) {
    let tried = catch_unwind(AssertUnwindSafe(|| (target.run)(bytes)));
    if tried.is_err() {
        let name = target.name;
        panic!(
            "{name} does not hold, see above. Again: cargo run -p fuzz -- {name} {}\n\
             Once it holds, keep the file in fuzz/corpus/{name} under a name that says what it is.",
            file().display()
        );
    }
}

/// Writes a generated input, replacing an earlier run's.
fn written(name: &str, bytes: &[u8]) -> PathBuf {
    let folder = root().join("target/fuzz");
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join(name);
    std::fs::write(&file, bytes).unwrap();
    file
}

#[test]
fn past_findings_pass() {
    for target in TARGETS {
        let inputs = corpus(target.name);
        assert!(!inputs.is_empty(), "fuzz/corpus/{} is empty", target.name);
        for (file, bytes) in inputs {
            try_out(&target, &bytes, || file);
        }
    }
}

#[test]
fn mutated_corpus_inputs_pass() {
    assert_eq!(VARIATIONS.map(|(name, _)| name), TARGETS.map(|target| target.name));
    for (name, count) in VARIATIONS {
        let target = target(name).unwrap();
        let inputs: Vec<Vec<u8>> = corpus(name).into_iter().map(|(_, bytes)| bytes).collect();
        let mut numbers = Numbers::new(SEED);
        let started = std::time::Instant::now();
        for number in 0..count {
            let bytes = varied(&mut numbers, &inputs);
            try_out(&target, &bytes, || written(&format!("{name}-{SEED}-{number}"), &bytes));
        }
        println!("{name}: {count} variations in {:.1} s", started.elapsed().as_secs_f32());
    }
}
