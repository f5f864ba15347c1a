//! The functions' own executables.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The folder with the functions' development builds, of the target folder in which this program
/// is. They are built now, unless the whole workspace is tested: then cargo has just built them, and
/// would rebuild half of it for these.
#[must_use]
pub fn functions(program: &str) -> PathBuf {
    let target = Path::new(program).ancestors().nth(2).unwrap();
    if !tools::tests_are_all_run() {
        let mut build = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        build.current_dir(tools::root()).args(["build", "--quiet", "--target-dir"]).arg(target);
        build.args(["-p", "checkout", "-p", "entitlements", "-p", "tutor", "-p", "webhook"]);
        assert!(build.status().unwrap().success(), "the functions can't be built: see above");
    }
    target.join("debug")
}
