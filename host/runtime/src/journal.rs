//! What a guest says to people: log lines, and what it prints.
//!
//! Lines go to `tracing` at once, with the adapter, plugin, phase and subject. Their number
//! and length are limited; the rest is dropped and counted.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The longest line, in bytes.
const MAX_LINE: usize = 8 << 10;

/// How important a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Of interest while looking for a defect.
    Debug,
    /// Of interest.
    Info,
    /// Unexpected.
    Warn,
    /// Wrong.
    Error,
}

/// One line of a guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// How important it is. What is printed is information.
    pub level: Level,
    /// Its text, without control characters.
    pub message: String,
}

/// Whose lines these are.
#[derive(Debug)]
pub(crate) struct About {
    pub(crate) adapter: Arc<str>,
    pub(crate) plugin: Arc<str>,
    pub(crate) phase: &'static str,
    pub(crate) subject: String,
}

/// The lines of one call.
#[derive(Debug, Clone)]
pub(crate) struct Journal {
    about: Arc<About>,
    pages: Arc<Mutex<Pages>>,
    limit: u32,
}

#[derive(Debug, Default)]
pub(crate) struct Pages {
    /// Lines that were kept.
    pub(crate) lines: Vec<LogLine>,
    /// How many were dropped.
    pub(crate) dropped: u64,
    /// Printed text without an end of line yet.
    open: Vec<u8>,
}

impl Journal {
    pub(crate) fn new(about: About, limit: u32) -> Self {
        Self {
            about: Arc::new(about),
            pages: Arc::default(),
            limit,
        }
    }

    /// Writes one line.
    pub(crate) fn write(&self, level: Level, message: &str) {
        self.write_to(&mut self.lock(), level, message);
    }

    /// Takes printed bytes; whole lines are written.
    pub(crate) fn print(&self, bytes: &[u8]) {
        let mut pages = self.lock();
        for part in bytes.split_inclusive(|&byte| byte == b'\n') {
            let room = (MAX_LINE + 1).saturating_sub(pages.open.len());
            let text = part.strip_suffix(b"\n").unwrap_or(part);
            pages.open.extend_from_slice(&text[..text.len().min(room)]);
            if part.ends_with(b"\n") {
                self.close(&mut pages);
            }
        }
    }

    /// Ends the call: what is left is written.
    pub(crate) fn finish(&self) -> (Vec<LogLine>, u64) {
        let mut pages = self.lock();
        self.close(&mut pages);
        if pages.dropped > 0 {
            let About {
                adapter,
                plugin,
                phase,
                subject,
            } = &*self.about;
            let dropped = pages.dropped;
            tracing::warn!(%adapter, %plugin, phase, %subject, dropped, "log lines of the plugin were dropped");
        }
        (std::mem::take(&mut pages.lines), pages.dropped)
    }

    fn close(&self, pages: &mut Pages) {
        if !pages.open.is_empty() {
            let text = String::from_utf8_lossy(&std::mem::take(&mut pages.open)).into_owned();
            self.write_to(pages, Level::Info, &text);
        }
    }

    fn write_to(&self, pages: &mut Pages, level: Level, message: &str) {
        if pages.lines.len() >= usize::try_from(self.limit).unwrap_or(usize::MAX) {
            pages.dropped += 1;
            return;
        }
        let message = tame(message);
        let About {
            adapter,
            plugin,
            phase,
            subject,
        } = &*self.about;
        match level {
            Level::Debug => tracing::debug!(target: "berth::plugin", %adapter, %plugin, phase, %subject, "{message}"),
            Level::Info => tracing::info!(target: "berth::plugin", %adapter, %plugin, phase, %subject, "{message}"),
            Level::Warn => tracing::warn!(target: "berth::plugin", %adapter, %plugin, phase, %subject, "{message}"),
            Level::Error => tracing::error!(target: "berth::plugin", %adapter, %plugin, phase, %subject, "{message}"),
        }
        pages.lines.push(LogLine { level, message });
    }

    fn lock(&self) -> MutexGuard<'_, Pages> {
        // Lines stay what they are, whoever panicked meanwhile.
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Cuts a line to its length and takes control characters out: they could forge other
/// lines, or command a terminal.
fn tame(message: &str) -> String {
    let cut = message.len() > MAX_LINE;
    let text = if cut {
        &message[..message.floor_char_boundary(MAX_LINE)]
    } else {
        message
    };
    let mut tamed = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter.is_control() && letter != '\t' {
            tamed.extend(letter.escape_default());
        } else {
            tamed.push(letter);
        }
    }
    if cut {
        tamed.push('…');
    }
    tamed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn journal(limit: u32) -> Journal {
        let about = About {
            adapter: "a".into(),
            plugin: "p".into(),
            phase: "status",
            subject: "Cluster/c-1".to_owned(),
        };
        Journal::new(about, limit)
    }

    #[test]
    fn lines_beyond_the_limit_are_dropped_and_counted() {
        let journal = journal(2);
        for number in 0..5 {
            journal.write(Level::Warn, &number.to_string());
        }
        let line = |message: &str| LogLine {
            level: Level::Warn,
            message: message.to_owned(),
        };
        assert_eq!(journal.finish(), (vec![line("0"), line("1")], 3));
    }

    #[test]
    fn control_characters_are_escaped_and_long_lines_cut() {
        assert_eq!(tame("a\nb\u{1b}[31m"), "a\\nb\\u{1b}[31m");
        assert_eq!(tame(&"ü".repeat(MAX_LINE)).len(), MAX_LINE + "…".len());
    }

    #[test]
    fn what_is_printed_becomes_lines() {
        let journal = journal(10);
        journal.print(b"one\ntw");
        journal.print(b"o\n\nthree");
        let (lines, dropped) = journal.finish();
        let texts: Vec<_> = lines.into_iter().map(|line| line.message).collect();
        assert_eq!(
            (texts, dropped),
            (vec!["one".to_owned(), "two".to_owned(), "three".to_owned()], 0)
        );
    }
}
