//! Reads a tree key by key and notes what is wrong, without stopping at the first problem.
//!
//! Every method that can fail notes its problem and answers `None`; a caller goes on with
//! the next key. A result is used only where nothing was noted.

use std::{cell::RefCell, path::Path, time::Duration};

use serde_json::Value;

use super::{
    check::Check,
    problem::Problem,
    suggest::nearest,
    units::{self, Unreadable},
    yaml::{Content, Entry, Node, Position},
};

/// Where problems of one document are noted.
#[derive(Debug)]
pub(crate) struct Notes<'a> {
    file: &'a Path,
    adapter: RefCell<Option<String>>,
    problems: RefCell<Vec<Problem>>,
}

impl<'a> Notes<'a> {
    pub(crate) fn new(file: &'a Path) -> Self {
        Self {
            file,
            adapter: RefCell::default(),
            problems: RefCell::default(),
        }
    }

    /// The file.
    pub(crate) fn file(&self) -> &Path {
        self.file
    }

    /// Tells whose document this is.
    pub(crate) fn adapter(&self, name: &str) {
        *self.adapter.borrow_mut() = Some(name.to_owned());
    }

    /// Notes a problem that a check found.
    pub(crate) fn note(
        &self,
        check: Check,
        at: Position,
        path: &str,
        message: impl Into<String>,
        hint: Option<String>,
    ) {
        if check.is_removed() {
            return;
        }
        self.problems.borrow_mut().push(Problem {
            file: self.file.to_owned(),
            line: at.line,
            column: at.column,
            path: path.to_owned(),
            message: message.into(),
            hint,
            adapter: None,
        });
    }

    /// What was noted, in the order of the text.
    pub(crate) fn into_problems(self) -> Vec<Problem> {
        let adapter = self.adapter.into_inner();
        let mut problems = self.problems.into_inner();
        for problem in &mut problems {
            problem.adapter.clone_from(&adapter);
        }
        problems.sort_by_key(Problem::place);
        problems
    }
}

/// A value, its path, and where to note what is wrong with it.
#[derive(Debug, Clone)]
pub(crate) struct Item<'a> {
    pub(crate) node: &'a Node,
    pub(crate) path: String,
    notes: &'a Notes<'a>,
}

impl<'a> Item<'a> {
    pub(crate) fn new(node: &'a Node, path: impl Into<String>, notes: &'a Notes<'a>) -> Self {
        Self {
            node,
            path: path.into(),
            notes,
        }
    }

    /// Notes a problem with this value.
    pub(crate) fn wrong(&self, check: Check, message: impl Into<String>, hint: Option<String>) {
        self.notes.note(check, self.node.at, &self.path, message, hint);
    }

    fn expected<T>(&self, check: Check, what: &str, hint: Option<String>) -> Option<T> {
        self.wrong(
            check,
            format!("expected {what}, found {}", self.node.content.describe()),
            hint,
        );
        None
    }

    fn unreadable<T>(&self, check: Check, result: Result<T, Unreadable>) -> Option<T> {
        result
            .map_err(|unreadable| self.wrong(check, unreadable.message, Some(unreadable.hint)))
            .ok()
    }

    pub(crate) fn json(&self) -> Value {
        self.check_keys();
        self.node.to_json()
    }

    /// A text that is not empty.
    pub(crate) fn text(&self) -> Option<&'a str> {
        let quoted = |written: String| Some(format!("put it into quotes: `\"{written}\"`"));
        match &self.node.content {
            Content::Text(text) if text.trim().is_empty() => {
                self.wrong(Check::EmptyText, "must not be empty", None);
                None
            }
            Content::Text(text) => Some(text),
            Content::Bool(value) => self.expected(Check::Text, "a text", quoted(value.to_string())),
            Content::Number(number) => self.expected(Check::Text, "a text", quoted(number.to_string())),
            Content::Null | Content::List(_) | Content::Map(_) => self.expected(Check::Text, "a text", None),
        }
    }

    pub(crate) fn boolean(&self) -> Option<bool> {
        match &self.node.content {
            Content::Bool(value) => Some(*value),
            Content::Text(_) | Content::Null | Content::Number(_) | Content::List(_) | Content::Map(_) => {
                self.expected(Check::Boolean, "a boolean", Some("write `true` or `false`".to_owned()))
            }
        }
    }

    /// One of a few words.
    pub(crate) fn choice<T: Copy>(&self, choices: &[(&str, T)]) -> Option<T> {
        let text = self.text()?;
        if let Some((_, value)) = choices.iter().find(|(word, _)| *word == text) {
            return Some(*value);
        }
        let words: Vec<String> = choices.iter().map(|(word, _)| format!("`{word}`")).collect();
        let hint = nearest(text, choices.iter().map(|(word, _)| *word)).map(|word| format!("did you mean `{word}`?"));
        self.wrong(Check::Choice, format!("`{text}` is none of {}", words.join(", ")), hint);
        None
    }

    /// A quantity: a text, or a bare number where the reader takes one.
    fn quantity<T>(&self, check: Check, what: &str, read: impl Fn(&str) -> Result<T, Unreadable>) -> Option<T> {
        match &self.node.content {
            Content::Text(text) => self.unreadable(check, read(text)),
            Content::Number(number) => self.unreadable(check, read(&number.to_string())),
            Content::Null | Content::Bool(_) | Content::List(_) | Content::Map(_) => {
                let hint = read("").err().map(|unreadable| unreadable.hint);
                self.expected(check, what, hint)
            }
        }
    }

    pub(crate) fn duration(&self) -> Option<Duration> {
        self.quantity(Check::Duration, "a duration", units::duration)
    }

    pub(crate) fn size(&self) -> Option<usize> {
        self.quantity(Check::Size, "a size", units::size)
    }

    pub(crate) fn count(&self) -> Option<u64> {
        self.quantity(Check::Count, "a count", units::count)
    }

    /// The items of a list.
    pub(crate) fn list(&self) -> Option<Vec<Self>> {
        match &self.node.content {
            Content::List(items) => Some(
                items
                    .iter()
                    .enumerate()
                    .map(|(index, node)| Item::new(node, format!("{}[{index}]", self.path), self.notes))
                    .collect(),
            ),
            Content::Map(_) => self.expected(Check::List, "a list", Some("begin each item with `- `".to_owned())),
            Content::Null | Content::Bool(_) | Content::Number(_) | Content::Text(_) => {
                self.expected(Check::List, "a list", None)
            }
        }
    }

    /// A list of texts.
    pub(crate) fn texts(&self) -> Option<Vec<(&'a str, Self)>> {
        Some(
            self.list()?
                .into_iter()
                .filter_map(|item| Some((item.text()?, item)))
                .collect(),
        )
    }

    /// A mapping whose keys are known.
    pub(crate) fn mapping(&self, known: &[&str]) -> Option<Mapping<'a>> {
        self.mapping_of(known)?;
        Some(Mapping { item: self.clone() })
    }

    /// The items of a mapping whose keys are known; unknown ones are noted and left out.
    pub(crate) fn mapping_of(&self, known: &[&str]) -> Option<Vec<(&'a str, Self)>> {
        let mut items = Vec::new();
        for entry in self.entries()? {
            let path = self.child_path(&entry.key);
            if known.contains(&entry.key.as_str()) {
                items.push((entry.key.as_str(), Item::new(&entry.value, path, self.notes)));
                continue;
            }
            let hint = match nearest(&entry.key, known.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => {
                    let mut words: Vec<String> = known.iter().map(|key| format!("`{key}`")).collect();
                    words.dedup();
                    format!("known here: {}", words.join(", "))
                }
            };
            self.notes
                .note(Check::KnownKey, entry.at, &path, "unknown key", Some(hint));
        }
        Some(items)
    }

    /// A mapping whose keys are the author's.
    pub(crate) fn named(&self) -> Option<Vec<(&'a str, Self)>> {
        let entries = self.entries()?;
        Some(
            entries
                .iter()
                .map(|entry| {
                    (
                        entry.key.as_str(),
                        Item::new(&entry.value, self.child_path(&entry.key), self.notes),
                    )
                })
                .collect(),
        )
    }

    fn entries(&self) -> Option<&'a [Entry]> {
        match &self.node.content {
            Content::Map(entries) => {
                self.note_duplicates(entries);
                Some(entries)
            }
            Content::Null | Content::Bool(_) | Content::Number(_) | Content::Text(_) | Content::List(_) => {
                self.expected(Check::Mapping, "a mapping", None)
            }
        }
    }

    fn note_duplicates(&self, entries: &[Entry]) {
        for (index, entry) in entries.iter().enumerate() {
            if let Some(first) = entries[..index].iter().find(|earlier| earlier.key == entry.key) {
                self.notes.note(
                    Check::KeyOnce,
                    entry.at,
                    &self.child_path(&entry.key),
                    format!("the key is given twice, first in line {}", first.at.line),
                    None,
                );
            }
        }
    }

    /// Notes keys that are given twice anywhere below.
    fn check_keys(&self) {
        match &self.node.content {
            Content::Map(entries) => {
                self.note_duplicates(entries);
                for entry in entries {
                    Item::new(&entry.value, self.child_path(&entry.key), self.notes).check_keys();
                }
            }
            Content::List(items) => {
                for (index, node) in items.iter().enumerate() {
                    Item::new(node, format!("{}[{index}]", self.path), self.notes).check_keys();
                }
            }
            Content::Null | Content::Bool(_) | Content::Number(_) | Content::Text(_) => {}
        }
    }

    /// The items of a mapping, without noting anything.
    pub(crate) fn named_known(&self) -> Vec<(&'a str, Self)> {
        match &self.node.content {
            Content::Map(entries) => entries
                .iter()
                .map(|entry| {
                    (
                        entry.key.as_str(),
                        Item::new(&entry.value, self.child_path(&entry.key), self.notes),
                    )
                })
                .collect(),
            Content::Null | Content::Bool(_) | Content::Number(_) | Content::Text(_) | Content::List(_) => Vec::new(),
        }
    }

    /// The keys of a mapping, without noting anything.
    pub(crate) fn keys(&self) -> Vec<&'a str> {
        self.named_known().into_iter().map(|(key, _)| key).collect()
    }

    /// A value below this one, for a problem with it.
    pub(crate) fn at(&self, node: &'a Node, key: &str) -> Self {
        Item::new(node, self.child_path(key), self.notes)
    }

    pub(crate) fn child_path(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }
}

/// A mapping whose keys are known.
#[derive(Debug)]
pub(crate) struct Mapping<'a> {
    pub(crate) item: Item<'a>,
}

impl<'a> Mapping<'a> {
    /// The value of a key, if it is given.
    pub(crate) fn get(&self, key: &str) -> Option<Item<'a>> {
        self.item
            .node
            .get(key)
            .map(|node| Item::new(node, self.item.child_path(key), self.item.notes))
    }

    /// The value of a key that must be given.
    pub(crate) fn require(&self, key: &str) -> Option<Item<'a>> {
        let item = self.get(key);
        if item.is_none() {
            self.item.wrong(Check::KeyGiven, format!("`{key}` is missing"), None);
        }
        item
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.item.node.get(key).is_some()
    }
}
