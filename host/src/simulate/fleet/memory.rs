//! The API without a network.

use std::sync::Arc;

use async_trait::async_trait;
use berth_engine::{
    contract::{AdapterStatus, HttpAction},
    effect::{FleetFault, Reported},
    report::Report,
};
use serde_json::Value;

use super::simulation::{Arrived, Outcome, Simulation};
use crate::{
    fleet::{BuildError, Client, Request, Response, Settings, Transport, TransportError},
    world::Fleet,
};

/// The real client, connected to a simulation directly: the same retries, times and
/// meanings of answers, by the simulation's clock.
#[derive(Debug)]
pub struct InMemory(Client);

impl InMemory {
    /// Connects to a simulation with these settings, whose address is only for messages.
    ///
    /// # Errors
    /// When the settings cannot be used.
    pub fn new(simulation: &Arc<Simulation>, settings: &Settings) -> Result<Self, BuildError> {
        let clock = Arc::clone(simulation.clock());
        Client::over(settings, Arc::new(Direct(Arc::clone(simulation))), clock).map(Self)
    }
}

struct Direct(Arc<Simulation>);

#[async_trait]
impl Transport for Direct {
    async fn exchange(&self, request: Request) -> Result<Response, TransportError> {
        let (path, query) = match request.target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (request.target.as_str(), None),
        };
        let authorization = request.token.as_ref().map(|token| format!("Bearer {token}"));
        let outcome = self.0.answer(Arrived {
            method: &request.method,
            path,
            query,
            authorization: authorization.as_deref(),
            body: request.body.as_deref().unwrap_or_default(),
        });
        match outcome {
            Outcome::Answered { after, .. } if after >= request.timeout => {
                self.0.clock().sleep(request.timeout).await;
                Err(TransportError::Timeout(request.timeout))
            }
            Outcome::Answered { after, response } => {
                if !after.is_zero() {
                    self.0.clock().sleep(after).await;
                }
                Ok(response)
            }
            Outcome::Dropped => Err(TransportError::Broken("the simulation dropped it".to_owned())),
        }
    }
}

#[async_trait]
impl Fleet for InMemory {
    async fn get(&self, path: &str) -> Result<Value, FleetFault> {
        self.0.get(path).await
    }

    async fn statuses(&self, path: &str) -> Result<Vec<AdapterStatus>, FleetFault> {
        self.0.statuses(path).await
    }

    async fn report(&self, path: &str, report: &Report) -> Result<Reported, FleetFault> {
        self.0.report(path, report).await
    }

    async fn send(&self, action: &HttpAction) -> Result<(u16, Value), FleetFault> {
        self.0.send(action).await
    }
}
