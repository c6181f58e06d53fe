//! Tells whether something built is up to date: by the content of what it was made from, never by file times.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use crate::files;

/// A hash over everything a build depends on.
#[derive(Debug, Default)]
pub(crate) struct Fingerprint(Sha256);

impl Fingerprint {
    /// Adds a value under a name.
    pub(crate) fn value(&mut self, name: &str, value: &[u8]) {
        // Lengths keep (`ab`, `c`) and (`a`, `bc`) apart.
        for part in [name.as_bytes(), value] {
            self.0.update((part.len() as u64).to_le_bytes());
            self.0.update(part);
        }
    }

    /// Adds a file, or all files below a folder, by path relative to `root` and content.
    ///
    /// Left out: hidden files and what builds leave behind.
    pub(crate) fn tree(&mut self, root: &Path, relative: &str) -> Result<()> {
        for path in files_below(&root.join(relative))? {
            let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
            let content = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            self.value(&name, &content);
        }
        Ok(())
    }

    /// The hash, in hexadecimal.
    pub(crate) fn finish(self) -> String {
        hex::encode(self.0.finalize())
    }
}

/// All files below a folder in a stable order, or the file itself.
pub(crate) fn files_below(path: &Path) -> Result<Vec<PathBuf>> {
    const LEFT_BY_BUILDS: [&str; 3] = ["target", "node_modules", "__pycache__"];
    if path.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let mut found = Vec::new();
    let mut folders = vec![path.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
        for entry in entries {
            let entry = entry.with_context(|| format!("cannot read {}", folder.display()))?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.starts_with('.') {
                continue;
            }
            let path = entry.path();
            if !path.is_dir() {
                found.push(path);
            } else if !LEFT_BY_BUILDS.contains(&name.as_ref()) {
                folders.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// The note beside what was built: from which inputs, and with which result.
#[derive(Debug)]
pub(crate) struct Stamp {
    path: PathBuf,
}

impl Stamp {
    /// The stamp kept at `path`.
    pub(crate) fn at(path: PathBuf) -> Self {
        Self { path }
    }

    /// Whether all that was built from these inputs is still there, untouched.
    pub(crate) fn is_current(&self, inputs: &str) -> bool {
        let Ok(text) = fs::read_to_string(&self.path) else {
            return false;
        };
        let mut lines = text.lines();
        lines.next() == Some(inputs)
            && lines.all(|line| {
                line.split_once(' ')
                    .is_some_and(|(hash, path)| hash_of(Path::new(path)).is_ok_and(|now| now == hash))
            })
    }

    /// Notes that these outputs were built from these inputs.
    pub(crate) fn record(&self, inputs: &str, outputs: &[PathBuf]) -> Result<()> {
        let mut text = format!("{inputs}\n");
        for output in outputs {
            text.push_str(&format!("{} {}\n", hash_of(output)?, output.display()));
        }
        files::replace(&self.path, text.as_bytes())
    }
}

fn hash_of(path: &Path) -> Result<String> {
    let content = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(hex::encode(Sha256::digest(content)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder of its own for one test.
    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("xtask-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    fn of(root: &Path) -> String {
        let mut fingerprint = Fingerprint::default();
        fingerprint.tree(root, "src").unwrap();
        fingerprint.finish()
    }

    #[test]
    fn the_fingerprint_follows_content_and_names_and_ignores_hidden_files() {
        let root = folder("fingerprint");
        files::replace(&root.join("src/a.rs"), b"one").unwrap();
        let first = of(&root);

        files::replace(&root.join("src/.swap"), b"noise").unwrap();
        assert_eq!(of(&root), first);

        files::replace(&root.join("src/a.rs"), b"two").unwrap();
        assert_ne!(of(&root), first);

        fs::remove_file(root.join("src/a.rs")).unwrap();
        files::replace(&root.join("src/b.rs"), b"one").unwrap();
        assert_ne!(of(&root), first);
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn a_stamp_is_current_until_inputs_or_outputs_change() {
        let root = folder("stamp");
        let output = root.join("out.wasm");
        let stamp = Stamp::at(root.join("stamp"));
        assert!(!stamp.is_current("inputs"));

        files::replace(&output, b"built").unwrap();
        stamp.record("inputs", std::slice::from_ref(&output)).unwrap();
        assert!(stamp.is_current("inputs"));
        assert!(!stamp.is_current("other inputs"));

        files::replace(&output, b"tampered").unwrap();
        assert!(!stamp.is_current("inputs"));

        fs::remove_file(&output).unwrap();
        assert!(!stamp.is_current("inputs"));
        fs::remove_dir_all(root).unwrap();
    }
}
