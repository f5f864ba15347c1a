//! One of the functions, as the process that the local stack starts for it.

use std::io::Read as _;

use clap::ValueEnum;

/// The functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Name {
    Checkout,
    Webhook,
    Entitlements,
    Tutor,
}

/// Why a function ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FunctionError {
    #[error("the function's runtime can't be made: {0}")]
    Runtime(#[from] std::io::Error),
    #[error("the function ended: {0}")]
    Ended(String),
}

/// Runs a function until Lambda, which is the local stack, ends it.
pub(crate) fn run(name: Name) -> Result<(), FunctionError> {
    std::thread::spawn(end_with_the_stack);
    // One thread, as the function's own executable has.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(async {
        match name {
            Name::Checkout => checkout::run().await,
            Name::Webhook => webhook::run().await,
            Name::Entitlements => entitlements::run().await,
            Name::Tutor => tutor::run().await,
        }
    });
    result.map_err(|error| FunctionError::Ended(error.to_string()))
}

/// The stack holds the other end of this pipe and never writes: when it closes, the stack is gone,
/// however it went.
fn end_with_the_stack() {
    let mut bytes = [0; 64];
    while std::io::stdin().read(&mut bytes).is_ok_and(|read| read > 0) {}
    std::process::exit(0);
}
