//! The API without a network.

use std::sync::Arc;

use async_trait::async_trait;
use berth_engine::{
    contract::{AdapterStatus, HttpAction},
    document::Document,
    effect::{FleetFault, Reported},
    report::Report,
};
use serde_json::Value;

use super::simulation::{Arrived, Outcome, Simulation};
use crate::{
    fleet::{BuildError, Client, Clock, Request, Response, Settings, Transport, TransportError},
    world::Fleet,
};

/// The real client, connected to a simulation directly: the same retries, times and
/// meanings of answers.
#[derive(Debug)]
pub struct InMemory(Client);

impl InMemory {
    /// Connects to a simulation with these settings, whose address is only for messages.
    ///
    /// # Errors
    /// When the settings cannot be used.
    pub fn new(simulation: &Arc<Simulation>, settings: &Settings) -> Result<Self, BuildError> {
        Self::with_clock(simulation, settings, Arc::clone(simulation.clock()))
    }

    /// The same by another clock than the simulation's, as on another machine.
    ///
    /// # Errors
    /// As [`InMemory::new`].
    pub fn with_clock(
        simulation: &Arc<Simulation>,
        settings: &Settings,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, BuildError> {
        let direct = Direct {
            simulation: Arc::clone(simulation),
            clock: Arc::clone(&clock),
        };
        Client::over(settings, Arc::new(direct), clock).map(Self)
    }
}

struct Direct {
    simulation: Arc<Simulation>,
    /// The caller's: the caller waits for slow answers.
    clock: Arc<dyn Clock>,
}

#[async_trait]
impl Transport for Direct {
    async fn exchange(&self, request: Request) -> Result<Response, TransportError> {
        let (path, query) = match request.target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (request.target.as_str(), None),
        };
        let authorization = request.token.as_ref().map(|token| format!("Bearer {token}"));
        let outcome = self.simulation.answer(Arrived {
            method: &request.method,
            path,
            query,
            authorization: authorization.as_deref(),
            body: request.body.as_deref().unwrap_or_default(),
        });
        match outcome {
            Outcome::Answered { after, .. } if after >= request.timeout => {
                self.clock.sleep(request.timeout).await;
                Err(TransportError::Timeout(request.timeout))
            }
            Outcome::Answered { after, response } => {
                if !after.is_zero() {
                    self.clock.sleep(after).await;
                }
                Ok(response)
            }
            Outcome::Dropped => Err(TransportError::Broken("the simulation dropped it".to_owned())),
        }
    }
}

#[async_trait]
impl Fleet for InMemory {
    async fn get(&self, path: &str) -> Result<Document, FleetFault> {
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
