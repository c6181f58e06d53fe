//! What stands behind the imports: implemented by the host, and by simulators.
//!
//! Every question that arrives here has passed [`crate::grants`]; what it says is what was
//! checked, so it must be asked as it is.

use std::time::Duration;

use async_trait::async_trait;
use berth_engine::contract::Reference;
use serde_json::Value;

pub use crate::grants::{FleetQuestion, HttpQuestion, Search};

/// Answers what plugins of one adapter ask. Time is limited by the caller: a future that is
/// dropped has to leave nothing behind.
#[async_trait]
pub trait HostCalls: Send + Sync {
    /// Asks the HyperFleet API. `question.path` is a path; it is never a whole URL.
    async fn fleet(&self, question: &FleetQuestion) -> Result<Value, FleetRefusal>;

    /// Gets one object as the adapter's service account. A reference without namespace
    /// means a cluster-scoped kind; for other kinds the answer is [`ClusterRefusal::Rejected`].
    async fn cluster_get(&self, target: &Reference) -> Result<Value, ClusterRefusal>;

    /// Lists objects as the adapter's service account, ordered by namespace and name, at
    /// most 500.
    async fn cluster_find(&self, search: &Search) -> Result<Vec<Value>, ClusterRefusal>;

    /// Calls a server. Redirects are not followed. A body of more than `max_body` bytes is
    /// [`HttpRefusal::TooLarge`].
    async fn http(&self, question: &HttpQuestion) -> Result<HttpAnswer, HttpRefusal>;
}

/// Why the HyperFleet API gave nothing.
#[derive(Debug, Clone, PartialEq)]
pub enum FleetRefusal {
    /// 404, with the problem document.
    NotFound(Value),
    /// No connection, or no answer in time.
    Unavailable(String),
    /// Any other status.
    Rejected {
        /// The status.
        status: u16,
        /// The problem document, or null.
        body: Value,
    },
}

/// Why Kubernetes gave nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClusterRefusal {
    /// The service account may not; which role is missing.
    Denied(String),
    /// There is no such object, or no such kind.
    NotFound,
    /// The API server does not answer.
    Unavailable(String),
    /// It refused the question.
    Rejected(String),
}

/// Why a server gave nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HttpRefusal {
    /// No connection, or no answer in time.
    Unavailable(String),
    /// The body is larger than allowed.
    TooLarge,
}

/// What a server answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpAnswer {
    /// The status.
    pub status: u16,
    /// Headers; a name may repeat.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// Answers nothing: for setup, and for tools that run a plugin without any world.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoHost;

const NOTHING: &str = "there is nothing behind this import here";

#[async_trait]
impl HostCalls for NoHost {
    async fn fleet(&self, _question: &FleetQuestion) -> Result<Value, FleetRefusal> {
        Err(FleetRefusal::Unavailable(NOTHING.to_owned()))
    }

    async fn cluster_get(&self, _target: &Reference) -> Result<Value, ClusterRefusal> {
        Err(ClusterRefusal::Unavailable(NOTHING.to_owned()))
    }

    async fn cluster_find(&self, _search: &Search) -> Result<Vec<Value>, ClusterRefusal> {
        Err(ClusterRefusal::Unavailable(NOTHING.to_owned()))
    }

    async fn http(&self, _question: &HttpQuestion) -> Result<HttpAnswer, HttpRefusal> {
        Err(HttpRefusal::Unavailable(NOTHING.to_owned()))
    }
}

/// How long an HTTP question waits if it does not say.
pub(crate) const DEFAULT_HTTP_TIMEOUT: Duration = Duration::from_secs(5);
