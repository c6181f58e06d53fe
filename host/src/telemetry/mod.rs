//! What operators see of berth: logs, metrics, health.
//!
//! Owns every metric's name and labels, and the administration endpoint. Never labels by
//! subject: there are too many of them, and their names are not ours to publish.

pub mod admin;
mod logging;
mod metrics;

pub use logging::{Format, LoggingError, init, set_level};
pub use metrics::{EventResult, Metrics, ReportResult, Trouble};

#[cfg(test)]
pub(crate) use metrics::sampled;
