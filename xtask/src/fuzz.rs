//! `cargo xtask fuzz`: libFuzzer looks for inputs that a target does not stand, by what the code
//! does with them.

use std::path::PathBuf;
use std::process::Command;

type Fault = Box<dyn std::error::Error>;

/// Runs libFuzzer on a target for so long; with `keep`, puts the inputs that reach more code than
/// those of the corpus into it.
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
    // What is found goes into the first folder.
    let limit = format!("-max_total_time={seconds}");
    libfuzzer(target, [&found, &kept], &[&limit, "-timeout=10", "-max_len=16384"])?;
    if keep {
        libfuzzer(target, [&kept, &found], &["-merge=1", "-max_len=16384"])?;
    }
    Ok(())
}

/// Builds a target. Our own code reports where it has been, by options that a stable compiler takes;
/// the libraries need not, and so are built once for all purposes.
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
