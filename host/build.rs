//! Locates the declarative plugin, which the program contains. Never builds it, and never runs cargo.

use std::{
    env,
    path::{Path, PathBuf},
    process::ExitCode,
};

const VARIABLE: &str = "BERTH_DECLARATIVE_WASM";

fn main() -> ExitCode {
    println!("cargo:rerun-if-env-changed={VARIABLE}");
    match locate() {
        Ok(path) => {
            println!("cargo:rerun-if-changed={}", path.display());
            println!("cargo:rustc-env=BERTH_DECLARATIVE_WASM_PATH={}", path.display());
            ExitCode::SUCCESS
        }
        Err(message) => {
            println!("cargo:error={message}");
            ExitCode::FAILURE
        }
    }
}

/// A file that the user names, then the one in the published package, then the one that the repository builds.
fn locate() -> Result<PathBuf, String> {
    if let Some(named) = env::var_os(VARIABLE) {
        let path = PathBuf::from(named);
        return match path.canonicalize() {
            Ok(path) => Ok(path),
            Err(error) => Err(format!("{VARIABLE} names {}, which cannot be opened: {error}", path.display())),
        };
    }
    let package = env::var_os("CARGO_MANIFEST_DIR").ok_or("cargo does not say where this package is")?;
    let package = Path::new(&package);
    let places = [
        package.join("assets/declarative.wasm"),
        package.join("../target-guests/components/declarative.wasm"),
    ];
    places.iter().find_map(|place| place.canonicalize().ok()).ok_or_else(|| {
        "the declarative plugin is not built: run `cargo xtask setup` once, then build again".to_owned()
    })
}
