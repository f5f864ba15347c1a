//! Runs a target on one file: `cargo run -p fuzz -- signed FILE`.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let name = arguments.next().unwrap_or_default();
    let target = name.to_str().and_then(fuzz::target);
    let (Some(target), Some(file)) = (target, arguments.next()) else {
        let names = fuzz::TARGETS.map(|target| target.name).join(", ");
        eprintln!("Usage: fuzz TARGET FILE, with a target of {names}");
        return ExitCode::FAILURE;
    };
    match std::fs::read(&file) {
        Ok(bytes) => {
            (target.run)(&bytes);
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{} can't be read: {error}", file.display());
            ExitCode::FAILURE
        }
    }
}
