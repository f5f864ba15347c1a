//! `cargo xtask fuzz`: libFuzzer searches for inputs that break a target, guided by coverage.

use std::path::PathBuf;
use std::process::Command;

type Fault = Box<dyn std::error::Error>;

/// Runs libFuzzer on a target for this long. With `keep`, adds the inputs that reach new code to
/// the corpus.
pub(crate) fn run(target: &str, seconds: u32, keep: bool) -> Result<(), Fault> {
    let kept = PathBuf::from("fuzz/corpus").join(target);
    if !tools::root().join(&kept).is_dir() {
        return Err(format!(
            "there is no target {target}: its inputs would be in fuzz/corpus/{target}, and it \
             would be listed in fuzz/src/lib.rs"
        )
        .into());
    }
    build(target)?;
    let found = PathBuf::from("target/fuzz/corpus").join(target);
    std::fs::create_dir_all(tools::root().join(&found))?;
    // New inputs go into the first folder.
    let limit = format!("-max_total_time={seconds}");
    libfuzzer(target, [&found, &kept], &[&limit, "-timeout=10", "-max_len=16384"])?;
    if keep {
        libfuzzer(target, [&kept, &found], &["-merge=1", "-max_len=16384"])?;
    }
    Ok(())
}

/// Builds a target. Only our own code is instrumented, by options of the stable compiler; the
/// libraries are built once for all targets.
fn build(target: &str) -> Result<(), Fault> {
    let status = Command::new("cargo")
        .args(["build", "--package", "fuzz-targets", "--features", "libfuzzer", "--bin"])
        .arg(format!("fuzz_{target}"))
        .env("RUSTC_WORKSPACE_WRAPPER", tools::root().join("fuzz/instrument.sh"))
        .current_dir(tools::root())
        .status()?;
    if status.success() {
        return Ok(());
    }
    Err("it can't be built: see above. libFuzzer is compiled from C++, which g++ does.".into())
}

fn libfuzzer(target: &str, folders: [&PathBuf; 2], arguments: &[&str]) -> Result<(), Fault> {
    let status = Command::new(tools::root().join(format!("target/debug/fuzz_{target}")))
        .args(folders)
        .arg("-artifact_prefix=target/fuzz/")
        .args(arguments)
        .current_dir(tools::root())
        .status()?;
    if status.success() {
        return Ok(());
    }
    Err(format!(
        "\n{target} does not hold: see above.\nWhat was found is in target/fuzz. Again, without \
         libFuzzer: cargo run -p fuzz -- {target} target/fuzz/crash-…\nOnce it holds, keep the file in \
         fuzz/corpus/{target} under a name that says what it is."
    )
    .into())
}
