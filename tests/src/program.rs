//! The program that operators run.

use std::path::PathBuf;

use anyhow::{Context as _, Result};

/// The program, which is built before the tests, in the profile of the tests.
///
/// # Errors
/// When it is not there.
pub fn berth() -> Result<PathBuf> {
    let test = std::env::current_exe()?;
    let mut folders = test.ancestors().skip(1).take(2);
    folders
        .find_map(|folder| Some(folder.join("berth")).filter(|program| program.is_file()))
        .with_context(|| {
            format!(
                "the program `berth` is missing near {}: run `cargo build -p berth`, or `cargo xtask test`",
                test.display()
            )
        })
}
