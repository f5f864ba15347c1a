//! `cargo xtask fuzz`: libFuzzer looks for inputs that a target does not stand, by what the code
//! does with them.

use std::path::PathBuf;
use std::process::Command;

use xtask::tools;

type Fault = Box<dyn std::error::Error>;

/// The release profile, but for what takes long to build or hides where something has failed.
const PROFILE: [(&str, &str); 3] = [
    ("CARGO_PROFILE_RELEASE_DEBUG", "line-tables-only"),
    ("CARGO_PROFILE_RELEASE_LTO", "off"),
    ("CARGO_PROFILE_RELEASE_STRIP", "none"),
];

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
    tools::install_crate(tools::FUZZ)?;
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

fn libfuzzer(target: &str, folders: [&PathBuf; 2], arguments: &[&str]) -> Result<(), Fault> {
    let program = tools::find("cargo-fuzz").ok_or("cargo-fuzz is missing: `cargo xtask tools`")?;
    let status = Command::new(program)
        // Without a sanitizer, a stable compiler does; there is no unsafe code of ours to look into.
        .args(["run", "--fuzz-dir", "fuzz/targets", "--sanitizer", "none"])
        // The code as it is: some crates do less under `cfg(fuzzing)`.
        .args(["--no-cfg-fuzzing", "--codegen-units", "16", "--features", "libfuzzer"])
        .args(["--target-dir", "target/fuzz/build", target])
        .args(folders)
        .args(["--", "-artifact_prefix=target/fuzz/"])
        .args(arguments)
        .envs(PROFILE)
        .current_dir(tools::root())
        .status()?;
    if status.success() {
        return Ok(());
    }
    Err(format!(
        "\n{target} does not hold, or could not be built: see above. libFuzzer is compiled from \
         C++, which g++ does.\nWhat was found is in target/fuzz. Again, without libFuzzer: \
         cargo run -p fuzz -- {target} target/fuzz/crash-…\nOnce it holds, keep the file in \
         fuzz/corpus/{target} under a name that says what it is."
    )
    .into())
}
