//! Adapter documents: YAML text -> [`Adapter`].
//!
//! Owns what a document may say, and the way from a problem back to its line. Never
//! compiles an expression, and never fetches a plugin: whoever does hands the paths of its
//! problems to [`Origin::problem`].
//!
//! # Guarantees
//! - A document with a problem yields no adapter; other documents are not touched by it.
//! - Every problem of every document is told.
//!
//! There is no struct that mirrors the YAML: a derived parser stops at its first problem.
//! Documents are read by a tree reader instead, which notes all of them.

mod between;
mod names;
mod origin;
mod plugins;
mod spec;
mod steps;

use std::path::{Path, PathBuf};

use berth_engine::adapter::{Adapter, Limits};

use super::{
    check::Check,
    problem::{Problem, Problems},
    reader::{Item, Notes},
    yaml,
};
pub use origin::Origin;

/// The `apiVersion` that documents must have.
pub const API_VERSION: &str = "berth.hyperfleet.io/v1alpha1";

/// The largest text that is read, in bytes.
const MAX_BYTES: u64 = 4 << 20;

/// A document that is as it should be.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// What it means.
    pub adapter: Adapter,
    /// Where it stands.
    pub origin: Origin,
}

/// What came of reading documents.
#[derive(Debug, Clone, Default)]
pub struct Loading {
    /// Documents without problems, by name.
    pub adapters: Vec<Loaded>,
    /// The problems of all others.
    pub problems: Vec<Problem>,
}

impl Loading {
    /// All adapters, or all problems.
    ///
    /// # Errors
    /// When there is any problem.
    pub fn strict(self) -> Result<Vec<Loaded>, Problems> {
        if self.problems.is_empty() {
            Ok(self.adapters)
        } else {
            Err(Problems(self.problems))
        }
    }
}

/// Reads all `*.yaml` and `*.yml` files of a folder, not those below it. `caps` bounds what
/// plugins may ask for. A folder that cannot be read is a problem.
#[must_use]
pub fn load_folder(folder: &Path, caps: &Limits) -> Loading {
    match files_of(folder) {
        Ok(files) => load_files(&files, caps),
        Err(problem) => Loading {
            adapters: Vec::new(),
            problems: vec![*problem],
        },
    }
}

/// Reads files, and the folders among them as [`load_folder`] does, and checks all together.
#[must_use]
pub fn load_paths(paths: &[PathBuf], caps: &Limits) -> Loading {
    let mut files = Vec::new();
    let mut problems = Vec::new();
    for path in paths {
        if path.is_dir() {
            match files_of(path) {
                Ok(inside) => files.extend(inside),
                Err(problem) => problems.push(*problem),
            }
        } else {
            files.push(path.clone());
        }
    }
    let mut loading = load_files(&files, caps);
    loading.problems.splice(0..0, problems);
    loading
}

/// Reads some files and checks them together: names and dependencies.
#[must_use]
pub fn load_files(files: &[PathBuf], caps: &Limits) -> Loading {
    let mut loading = Loading::default();
    for file in files {
        match read(file) {
            Ok(text) => {
                let one = parse(file, &text, caps);
                loading.adapters.extend(one.adapters);
                loading.problems.extend(one.problems);
            }
            Err(problem) => loading.problems.push(*problem),
        }
    }
    between::check(&mut loading);
    loading
        .adapters
        .sort_by(|left, right| left.adapter.name.cmp(&right.adapter.name));
    loading
}

/// Reads the documents of one text. `file` is for messages, and its folder is what `file:`
/// sources are relative to. What concerns several documents is not checked.
#[must_use]
pub fn parse(file: &Path, text: &str, caps: &Limits) -> Loading {
    let documents = match yaml::parse(text) {
        Ok(documents) => documents,
        Err(_) if Check::Yaml.is_removed() => return Loading::default(),
        Err(malformed) => {
            // The parser reads `{{` as two mappings and stumbles over the second.
            let line = text
                .lines()
                .nth(usize::try_from(malformed.at.line).unwrap_or_default().saturating_sub(1));
            let template = line.is_some_and(|line| line.contains(": {{") || line.contains("- {{"));
            let problem = Problem {
                line: malformed.at.line,
                column: malformed.at.column,
                hint: template.then(|| "a value that begins with `{{` must be put into quotes".to_owned()),
                ..of_file(file, format!("not YAML: {}", malformed.message))
            };
            return Loading {
                adapters: Vec::new(),
                problems: vec![problem],
            };
        }
    };
    if documents.is_empty() && !Check::DocumentGiven.is_removed() {
        return Loading {
            adapters: Vec::new(),
            problems: vec![of_file(file, "contains no document".to_owned())],
        };
    }
    let mut loading = Loading::default();
    for document in documents {
        let notes = Notes::new(file);
        let read = spec::adapter(&Item::new(&document, "", &notes), &notes, caps);
        let problems = notes.into_problems();
        match read {
            Some((adapter, moved)) if problems.is_empty() => {
                let origin = Origin::new(file, document, adapter.name.clone(), moved);
                loading.adapters.push(Loaded { adapter, origin });
            }
            Some(_) | None => loading.problems.extend(problems),
        }
    }
    loading
}

fn files_of(folder: &Path) -> Result<Vec<PathBuf>, Box<Problem>> {
    match yaml_in(folder) {
        Ok(files) => Ok(files),
        Err(_) if Check::FolderRead.is_removed() => Ok(Vec::new()),
        Err(error) => Err(of_file(folder, format!("cannot read the folder: {error}")).into()),
    }
}

fn yaml_in(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let is_yaml = path
            .extension()
            .is_some_and(|extension| extension == "yaml" || extension == "yml");
        // A mounted ConfigMap consists of symbolic links, so the link is followed.
        if is_yaml && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn read(file: &Path) -> Result<String, Box<Problem>> {
    let unreadable = |error| of_file(file, format!("cannot read the file: {error}"));
    let bytes = match std::fs::metadata(file).map(|found| found.len()) {
        Ok(length) if length > MAX_BYTES && !Check::FileSize.is_removed() => {
            let message = format!("the file has {length} bytes, more than {MAX_BYTES}");
            return Err(of_file(file, message).into());
        }
        Ok(_) => std::fs::read(file),
        Err(error) => Err(error),
    };
    let bytes = match bytes {
        Ok(bytes) => bytes,
        Err(_) if Check::FileRead.is_removed() => Vec::new(),
        Err(error) => return Err(unreadable(error).into()),
    };
    String::from_utf8(bytes).or_else(|error| {
        let text = error.as_bytes();
        if Check::FileText.is_removed() {
            return Ok(String::from_utf8_lossy(text).into_owned());
        }
        let good = String::from_utf8_lossy(&text[..error.utf8_error().valid_up_to()]);
        let line = good.rsplit('\n').next().unwrap_or_default();
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        Err(Box::new(Problem {
            line: count(good.matches('\n').count() + 1),
            column: count(line.chars().count() + 1),
            hint: Some("save the file as UTF-8".to_owned()),
            ..of_file(file, "not UTF-8: this byte begins no character".to_owned())
        }))
    })
}

fn of_file(file: &Path, message: String) -> Problem {
    Problem {
        file: file.to_owned(),
        line: 0,
        column: 0,
        path: String::new(),
        message,
        hint: None,
        adapter: None,
    }
}

#[cfg(test)]
mod bad_input;
#[cfg(test)]
mod tests;
