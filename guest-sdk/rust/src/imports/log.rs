//! Log lines, attributed by the host to the adapter and the subject.
//!
//! They are always granted. Their number and length are limited; the rest is dropped and counted.

use super::host;

/// How important a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// For whoever searches an error.
    Debug,
    /// What happened.
    Info,
    /// What should be looked at.
    Warn,
    /// What went wrong.
    Error,
}

/// Writes one line.
pub fn emit(level: Level, message: impl AsRef<str>) {
    host::log(level, message.as_ref());
}

/// Writes a line for whoever searches an error.
pub fn debug(message: impl AsRef<str>) {
    emit(Level::Debug, message);
}

/// Writes a line that says what happened.
pub fn info(message: impl AsRef<str>) {
    emit(Level::Info, message);
}

/// Writes a line that should be looked at.
pub fn warn(message: impl AsRef<str>) {
    emit(Level::Warn, message);
}

/// Writes a line that says what went wrong.
pub fn error(message: impl AsRef<str>) {
    emit(Level::Error, message);
}
