//! Logs: to stderr, as text or as one JSON object a line.
//!
//! There is nothing to redact, because nothing secret is ever handed to a log: tokens stay
//! inside of the types that hold them, and those do not print them.

use std::io::IsTerminal as _;

use tracing_subscriber::{EnvFilter, filter::ParseError, util::TryInitError};

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
}

/// Begins to log. `level` is a word such as `info`, or directives such as
/// `info,berth=debug`.
///
/// # Errors
/// When the level is not valid, or logging has begun already.
pub fn init(format: Format, level: &str) -> Result<(), LoggingError> {
    use tracing_subscriber::util::SubscriberInitExt as _;

    // Libraries below us tell of every failed attempt; rooms tell of what comes of it.
    let directives = if level.contains("kube_client") {
        level.to_owned()
    } else {
        format!("{level},kube_client=off")
    };
    let filter = EnvFilter::try_new(directives).map_err(|source| LoggingError::Level {
        level: level.to_owned(),
        source,
    })?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match format {
        Format::Text => {
            let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            lines.with_ansi(colours).finish().try_init()
        }
        Format::Json => lines
            .json()
            .flatten_event(true)
            .with_current_span(true)
            .with_span_list(false)
            .finish()
            .try_init(),
    }
    .map_err(LoggingError::Begun)
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
