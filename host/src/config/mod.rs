//! Documents as written -> settings as meant.
//!
//! Owns the text of adapter documents ([`document`]) and of the host's own
//! configuration ([`host`]). Never starts anything, and never looks at the network.
//!
//! # Guarantees
//! - All problems of a text are found at once, each with file, line, column and path.
//! - What is handed out has been checked: there are no optional texts left to interpret.
//! - The contents of files that hold secrets are never read here.

mod check;
#[cfg(test)]
mod deploy;
pub mod document;
pub mod host;
mod problem;
mod reader;
mod suggest;
mod units;
mod yaml;

pub use problem::{Problem, Problems};
