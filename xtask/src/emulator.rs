//! Where Google's emulator of Pub/Sub is. It is no Go module, so it is found rather than built.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

/// Names its jar, where it is not where Google's packages put it.
const VARIABLE: &str = "PUBSUB_EMULATOR_JAR";

const HINT: &str = "install Google's package `google-cloud-cli-pubsub-emulator` (or run `gcloud components install \
                    pubsub-emulator`), or set PUBSUB_EMULATOR_JAR to its `cloud-pubsub-emulator-*-all.jar`";

/// Below the Cloud SDK.
const FOLDER: &str = "platform/pubsub-emulator/lib";

/// Finds its jar, and sees that there is a Java to run it.
///
/// # Errors
/// Says what to install.
pub fn find() -> Result<PathBuf> {
    let java = Command::new("java").arg("-version").output();
    ensure!(
        java.is_ok_and(|answer| answer.status.success()),
        "the Pub/Sub emulator needs Java, which is missing: install Java 11 or later, such as Debian's \
         `default-jre-headless`, and put it on the path"
    );
    if let Some(jar) = std::env::var_os(VARIABLE).map(PathBuf::from) {
        ensure!(jar.is_file(), "{VARIABLE} names {}, which is no file", jar.display());
        return Ok(jar);
    }
    let homes = [
        std::env::var_os("CLOUDSDK_ROOT_DIR").map(PathBuf::from),
        Some(PathBuf::from("/usr/lib/google-cloud-sdk")),
        std::env::home_dir().map(|home| home.join("google-cloud-sdk")),
    ];
    homes
        .into_iter()
        .flatten()
        .find_map(|home| newest(&home.join(FOLDER)))
        .with_context(|| format!("the tests need Google's Pub/Sub emulator, which is not found: {HINT}"))
}

fn newest(folder: &Path) -> Option<PathBuf> {
    let jars = std::fs::read_dir(folder)
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()));
    let of_emulator = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.starts_with("cloud-pubsub-emulator") && name.ends_with("-all.jar")
    };
    jars.filter(of_emulator).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_emulators_jar_is_found_among_other_files() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(newest(folder.path()), None);
        for name in ["README", "cloud-pubsub-emulator-0.8.20-all.jar", "other-all.jar"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        let found = newest(folder.path()).unwrap();
        assert!(found.ends_with("cloud-pubsub-emulator-0.8.20-all.jar"), "{found:?}");
        assert_eq!(newest(Path::new("/nowhere")), None);
    }
}
