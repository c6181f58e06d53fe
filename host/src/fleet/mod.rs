//! Talks to the HyperFleet API.
//!
//! Owns every request to the API: addresses, credentials, retries, the time stamped on
//! reports, and what an answer means. Knows nothing of plugins, events or Kubernetes.
//!
//! # Guarantees
//! - The bearer token goes to the configured address only, and into no log, error or
//!   `Debug` text. Redirects and proxies are not followed.
//! - Every call ends within [`Settings::timeout`], retries and waits included.
//! - The times of one adapter's reports about one resource strictly increase, by the
//!   API's clock, at the API's resolution of a microsecond.
//! - A report counts as stored only when the API returns the row that was sent.
//!
//! # Errors
//! [`FleetFault`](berth_engine::effect::FleetFault) says whether the resource is gone, the
//! API is unreachable, we are misconfigured, or the request was wrong.

mod address;
mod answer;
mod client;
mod clock;
mod exchange;
mod http;
mod retry;
mod settings;
mod stamp;
mod token;
mod transport;

pub use self::{
    client::Client,
    clock::{Clock, SystemClock},
    settings::{BuildError, Settings},
    transport::{Request, Response, Transport, TransportError},
};
