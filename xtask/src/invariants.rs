//! The table of invariants in `ARCHITECTURE.md`: each test that it names exists, in the file that it names.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use crate::arrows::rust_files;

/// A test that the document names.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Named {
    test: String,
    /// As the document says it, from the root or shortened.
    file: String,
}

/// Every test that is named and is not where the document says, one line each.
///
/// # Errors
/// When a file of the repository at `root` cannot be read, or the document has no such table.
pub fn violations(root: &Path) -> Result<Vec<String>> {
    let document = root.join("ARCHITECTURE.md");
    let document = fs::read_to_string(&document).with_context(|| format!("cannot read {}", document.display()))?;
    let named = named(&document)?;
    if named.is_empty() {
        bail!("ARCHITECTURE.md names no test");
    }
    let mut files = Vec::new();
    for folder in ["host", "tests", "guest-sdk", "plugins", "xtask"] {
        files.extend(rust_files(&root.join(folder))?);
    }
    let mut missing = Vec::new();
    for Named { test, file } in named {
        let meant: Vec<&PathBuf> = files.iter().filter(|path| is_meant(path, root, &file)).collect();
        if meant.is_empty() {
            missing.push(format!("{file}, which is said to have `{test}`, does not exist"));
            continue;
        }
        let mut found = false;
        for path in meant {
            let source = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
            found |= has_function(&source, &test);
        }
        if !found {
            missing.push(format!("{file} has no test `{test}`"));
        }
    }
    Ok(missing)
}

/// Whether a source defines a function of this name.
fn has_function(source: &str, name: &str) -> bool {
    source.match_indices(&format!("fn {name}")).any(|(at, text)| {
        let rest = &source[at + text.len()..];
        !rest.starts_with(|next: char| next.is_alphanumeric() || next == '_')
    })
}

/// Whether `path` is what the document calls `file`: a path from the root, or the end of one; a folder means all in it.
fn is_meant(path: &Path, root: &Path, file: &str) -> bool {
    let relative = path.strip_prefix(root).unwrap_or(path);
    let file = Path::new(file);
    relative == file || relative.ends_with(file) || relative.starts_with(file) || is_module_of(relative, file)
}

/// Whether `path` is a module of the test program `file`: `tests/tests/journeys/x.rs` of `tests/tests/journeys.rs`.
fn is_module_of(path: &Path, file: &Path) -> bool {
    file.extension().is_some() && path.starts_with(file.with_extension(""))
}

/// The tests of the table under the heading about invariants, each with its file.
fn named(document: &str) -> Result<Vec<Named>> {
    let table = document
        .split_once("\n## Invariants")
        .context("ARCHITECTURE.md has no table of invariants")?
        .1;
    let table = table.split("\n## ").next().unwrap_or_default();
    let mut named = Vec::new();
    // `same file` and `beside it` look back, also to the row before.
    let mut file = String::new();
    for line in table.lines() {
        let Some(cell) = line
            .trim_end_matches([' ', '|'])
            .rsplit(" | ")
            .next()
            .filter(|_| line.starts_with("| "))
        else {
            continue;
        };
        // Tests come before the file that has them; what follows the last file has none of its own.
        let mut waiting: Vec<String> = Vec::new();
        for (index, text) in cell.split('`').enumerate() {
            let quoted = index % 2 == 1;
            if quoted && is_test(text) {
                waiting.push(text.to_owned());
            } else if quoted && is_file(text) {
                file = text.to_owned();
                take(&mut waiting, &file, &mut named);
            } else if !quoted && text.contains("same file") {
                take(&mut waiting, &file, &mut named);
            }
        }
        // `tests/tests/journeys.rs`, such as `a_test`.
        take(&mut waiting, &file, &mut named);
    }
    Ok(named)
}

fn take(waiting: &mut Vec<String>, file: &str, named: &mut Vec<Named>) {
    named.extend(waiting.drain(..).map(|test| Named {
        test,
        file: file.to_owned(),
    }));
}

fn is_test(text: &str) -> bool {
    text.contains('_')
        && text
            .chars()
            .all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_')
}

fn is_file(text: &str) -> bool {
    text.ends_with(".rs") || (text.contains('/') && !text.contains(' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = "# A\n`not_here`\n## Invariants that tests check\n\n| invariant | test |\n|---|---|\n\
        | One `thing_x` | `a_one`, `a_two` (`host/src/a.rs`), `b_one` (`b.rs`) |\n\
        | Two | `b_two` (same file) |\n\
        | Three | `tests/tests/c.rs`, such as `c_one` |\n\n## Next\n| `d` | `e_one` (`x.rs`) |\n";

    #[test]
    fn tests_are_read_with_the_file_that_has_them() {
        let found: Vec<String> = named(DOCUMENT)
            .unwrap()
            .into_iter()
            .map(|one| format!("{} {}", one.test, one.file))
            .collect();
        let expected = [
            "a_one host/src/a.rs",
            "a_two host/src/a.rs",
            "b_one b.rs",
            "b_two b.rs",
            "c_one tests/tests/c.rs",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_function_is_found_by_its_whole_name() {
        assert!(has_function("async fn it_holds() {}", "it_holds"));
        assert!(!has_function("fn it_holds_too() {}", "it_holds"));
    }
}
