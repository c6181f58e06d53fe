//! How a failure is told.

use std::{io::Write as _, process::ExitCode};

use anstyle::{AnsiColor, Style};

use crate::config::{Problem, Problems};

const ERROR: Style = AnsiColor::Red.on_default().bold();
const HINT: Style = AnsiColor::Cyan.on_default();

/// The exit code for a wrong configuration.
const BAD_CONFIGURATION: u8 = 64;

/// Why a command failed.
#[derive(Debug)]
pub enum Failure {
    /// The configuration or a document is wrong.
    Configuration(Vec<Problem>),
    /// Anything else.
    Other {
        /// What happened, and why.
        error: anyhow::Error,
        /// What to do about it.
        hint: Option<String>,
    },
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        match error.into().downcast::<Problems>() {
            Ok(problems) => Self::Configuration(problems.0),
            Err(error) => Self::Other { error, hint: None },
        }
    }
}

impl Failure {
    /// Adds what to do about it.
    #[must_use]
    pub fn with_hint(self, hint: impl Into<String>) -> Self {
        match self {
            Self::Configuration(problems) => Self::Configuration(problems),
            Self::Other { error, .. } => Self::Other {
                error,
                hint: Some(hint.into()),
            },
        }
    }

    /// Tells it on stderr, once.
    #[must_use]
    pub fn print(&self) -> ExitCode {
        // Where stderr is gone, there is nobody left to tell.
        drop(anstream::stderr().lock().write_all(self.render().as_bytes()));
        match self {
            Self::Configuration(_) => ExitCode::from(BAD_CONFIGURATION),
            Self::Other { .. } => ExitCode::FAILURE,
        }
    }

    /// The text, with colours, which are taken out where there is no terminal.
    pub(super) fn render(&self) -> String {
        let mut text = String::new();
        match self {
            Self::Configuration(problems) => {
                for problem in problems {
                    let hint = format!("  {HINT}hint{HINT:#}: ");
                    text.push_str(&format!("{ERROR}error{ERROR:#}: {problem}\n").replace("  hint: ", &hint));
                }
            }
            Self::Other { error, hint } => {
                text.push_str(&format!("{ERROR}error{ERROR:#}: {error}\n"));
                for cause in error.chain().skip(1) {
                    text.push_str(&format!("  because: {cause}\n"));
                }
                if let Some(hint) = hint {
                    text.push_str(&format!("  {HINT}hint{HINT:#}: {hint}\n"));
                }
            }
        }
        text
    }
}
