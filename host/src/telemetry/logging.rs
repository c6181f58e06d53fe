//! Logs: to stderr, as text or as one JSON object a line.
//!
//! There is nothing to redact, because nothing secret is ever handed to a log: tokens stay
//! inside of the types that hold them, and those do not print them.

use std::{io::IsTerminal as _, sync::OnceLock};

use tracing_subscriber::{EnvFilter, filter::ParseError, reload, util::TryInitError};

/// How log lines look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For machines.
    Json,
}

/// Why logging cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// The level is not one.
    #[error("the log level `{level}` is not valid")]
    Level {
        /// What was asked for.
        level: String,
        /// What is wrong with it.
        #[source]
        source: ParseError,
    },
    /// Logging was begun before.
    #[error("logging has begun already")]
    Begun(#[source] TryInitError),
    /// The level cannot be changed.
    #[error("the log level cannot be changed")]
    Change(#[source] reload::Error),
}

/// Begins to log. `level` is a word such as `info`, or directives such as
/// `info,berth=debug`.
///
/// # Errors
/// When the level is not valid, or logging has begun already.
pub fn init(format: Format, level: &str) -> Result<(), LoggingError> {
    use tracing_subscriber::util::SubscriberInitExt as _;

    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter(level)?)
        .with_writer(std::io::stderr);
    let change: Change = match format {
        Format::Text => {
            let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            let lines = lines.with_ansi(colours).with_filter_reloading();
            let handle = lines.reload_handle();
            lines.finish().try_init().map_err(LoggingError::Begun)?;
            Box::new(move |filter| handle.reload(filter))
        }
        Format::Json => {
            let lines = lines
                .json()
                .flatten_event(true)
                .with_current_span(true)
                .with_span_list(false)
                .with_filter_reloading();
            let handle = lines.reload_handle();
            lines.finish().try_init().map_err(LoggingError::Begun)?;
            Box::new(move |filter| handle.reload(filter))
        }
    };
    // Logging begins once, so nothing is there yet.
    drop(CHANGE.set(change));
    Ok(())
}

/// Changes what is logged from now on. Where logging has not begun, the level is only checked.
///
/// # Errors
/// When the level is not valid.
pub fn set_level(level: &str) -> Result<(), LoggingError> {
    let filter = filter(level)?;
    match CHANGE.get() {
        Some(change) => change(filter).map_err(LoggingError::Change),
        None => Ok(()),
    }
}

type Change = Box<dyn Fn(EnvFilter) -> Result<(), reload::Error> + Send + Sync>;

static CHANGE: OnceLock<Change> = OnceLock::new();

fn filter(level: &str) -> Result<EnvFilter, LoggingError> {
    // Libraries below us tell of every failed attempt; rooms tell of what comes of it.
    let directives = if level.contains("kube_client") {
        level.to_owned()
    } else {
        format!("{level},kube_client=off")
    };
    EnvFilter::try_new(directives).map_err(|source| LoggingError::Level {
        level: level.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_that_is_none_is_refused() {
        let refused = init(Format::Json, "berth=loud").map_err(|error| error.to_string());
        assert_eq!(refused, Err("the log level `berth=loud` is not valid".to_owned()));
    }
}
