//! From a path back to the line that it stands in.

use std::path::{Path, PathBuf};

use crate::config::{
    problem::Problem,
    yaml::{Content, Node, Position},
};

/// Where a document stands.
#[derive(Debug, Clone)]
pub struct Origin {
    file: PathBuf,
    document: Node,
    adapter: String,
    /// From a path of the embedded plugin's configuration to one of the document.
    moved: Vec<(String, String)>,
}

impl Origin {
    pub(super) fn new(file: &Path, document: Node, adapter: String, moved: Vec<(String, String)>) -> Self {
        Self {
            file: file.to_owned(),
            document,
            adapter,
            moved,
        }
    }

    /// The file.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Tells of a problem that `plugin` found in its own configuration at `path`, such as
    /// `preconditions[0].expression`, with the file, line and column of the document.
    ///
    /// A path that leads nowhere is followed as far as it goes.
    #[must_use]
    pub fn problem(&self, plugin: &str, path: &str, message: &str) -> Problem {
        let path = if plugin == berth_engine::adapter::DECLARATIVE {
            self.in_document(path)
        } else if path.is_empty() || path.starts_with('[') {
            format!("spec.plugins.{plugin}.config{path}")
        } else {
            format!("spec.plugins.{plugin}.config.{path}")
        };
        self.at(&path, message.to_owned(), None)
    }

    /// Tells of a problem at a path of the document.
    #[must_use]
    pub fn at(&self, path: &str, message: String, hint: Option<String>) -> Problem {
        let Position { line, column } = self.find(path);
        let (file, adapter) = (self.file.clone(), Some(self.adapter.clone()));
        Problem {
            file,
            line,
            column,
            path: path.to_owned(),
            message,
            hint,
            adapter,
        }
    }

    /// `file:line:column` of a path.
    pub(super) fn place(&self, path: &str) -> String {
        let Position { line, column } = self.find(path);
        format!("{}:{line}:{column}", self.file.display())
    }

    fn in_document(&self, path: &str) -> String {
        let longest = self
            .moved
            .iter()
            .filter(|(from, _)| path.strip_prefix(from.as_str()).is_some_and(ends_a_segment))
            .max_by_key(|(from, _)| from.len());
        match longest {
            Some((from, to)) => {
                let rest = &path[from.len()..];
                // The document says how long, the plugin is told in milliseconds.
                format!("{to}{}", rest.replace(".recheckAfterMs", ".recheckAfter"))
            }
            None if path.is_empty() => "spec".to_owned(),
            None => format!("spec.{path}"),
        }
    }

    fn find(&self, path: &str) -> Position {
        let mut node = &self.document;
        let mut rest = path;
        loop {
            rest = rest.strip_prefix('.').unwrap_or(rest);
            if rest.is_empty() {
                return node.at;
            }
            match step(node, rest) {
                Some((next, tail)) => (node, rest) = (next, tail),
                None => return node.at,
            }
        }
    }
}

fn ends_a_segment(rest: &str) -> bool {
    rest.is_empty() || rest.starts_with(['.', '['])
}

/// Goes one step along a path: the value it leads to and what is left. The longest key that
/// fits is taken, since keys may contain dots.
fn step<'a, 'p>(node: &'a Node, path: &'p str) -> Option<(&'a Node, &'p str)> {
    match &node.content {
        Content::List(items) => {
            let (index, tail) = path.strip_prefix('[')?.split_once(']')?;
            Some((items.get(index.parse::<usize>().ok()?)?, tail))
        }
        Content::Map(entries) => {
            if let Some((key, tail)) = path.strip_prefix("[\"").and_then(|rest| rest.split_once("\"]")) {
                return entries
                    .iter()
                    .find(|entry| entry.key == key)
                    .map(|entry| (&entry.value, tail));
            }
            entries
                .iter()
                .filter_map(|entry| Some((entry, path.strip_prefix(entry.key.as_str())?)))
                .filter(|(_, tail)| ends_a_segment(tail))
                .max_by_key(|(entry, _)| entry.key.len())
                .map(|(entry, tail)| (&entry.value, tail))
        }
        Content::Null | Content::Bool(_) | Content::Number(_) | Content::Text(_) => None,
    }
}
