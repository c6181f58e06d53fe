//! Locates the components that the program contains. Never builds them, and never runs cargo.

use std::{
    env,
    path::{Path, PathBuf},
    process::ExitCode,
};

/// Components that the program contains: a variable that names another file, the file's name, and the variable that
/// tells the program's source where it is.
const COMPONENTS: [(&str, &str, &str); 2] = [
    (
        "BERTH_DECLARATIVE_WASM",
        "declarative.wasm",
        "BERTH_DECLARATIVE_WASM_PATH",
    ),
    (
        "BERTH_LANDING_ZONE_WASM",
        "landing-zone.wasm",
        "BERTH_LANDING_ZONE_WASM_PATH",
    ),
];

fn main() -> ExitCode {
    for (variable, file, told) in COMPONENTS {
        println!("cargo:rerun-if-env-changed={variable}");
        match locate(variable, file) {
            Ok(path) => {
                println!("cargo:rerun-if-changed={}", path.display());
                println!("cargo:rustc-env={told}={}", path.display());
            }
            Err(message) => {
                println!("cargo:error={message}");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

/// A file that the user names, then the one in the published package, then the one that the repository builds.
fn locate(variable: &str, file: &str) -> Result<PathBuf, String> {
    if let Some(named) = env::var_os(variable) {
        let path = PathBuf::from(named);
        return match path.canonicalize() {
            Ok(path) => Ok(path),
            Err(error) => Err(format!(
                "{variable} names {}, which cannot be opened: {error}",
                path.display()
            )),
        };
    }
    let package = env::var_os("CARGO_MANIFEST_DIR").ok_or("cargo does not say where this package is")?;
    let package = Path::new(&package);
    let places = [
        package.join("assets").join(file),
        package.join("../target-guests/components").join(file),
    ];
    places
        .iter()
        .find_map(|place| place.canonicalize().ok())
        .ok_or_else(|| format!("{file} is not built: run `cargo xtask setup` once, then build again"))
}
