//! CloudEvents over HTTP: structured, binary and batched.
//!
//! Owns the answer to the sender: 2xx once the event is settled, 503 with `Retry-After`
//! when it must be sent again, and a problem document for what can never succeed.

mod answer;
#[cfg(test)]
mod bad_input;
mod message;
mod token;

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    extract::State,
    http::{HeaderMap, Request},
    response::Response,
    routing::post,
};
use berth_engine::subject::Event;
use tokio::sync::Semaphore;

use self::answer::{Fate, Fault};
use super::{Refusal, Settled, Sink, check::Check};
pub use token::Token;

/// How events are received.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The bearer token that senders must present; none to accept everybody.
    pub token: Option<Token>,
    /// The largest body, in bytes.
    pub max_bytes: usize,
    /// The largest batch, in events.
    pub max_batch: usize,
    /// How many events may be unsettled at once.
    pub max_unsettled: usize,
    /// How long a sender waits for its events to settle. The work goes on after it.
    pub patience: Duration,
    /// How long a sender may take to send a body.
    pub body_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            token: None,
            max_bytes: 1 << 20,
            max_batch: 100,
            max_unsettled: 1_000,
            patience: Duration::from_secs(25),
            body_timeout: Duration::from_secs(10),
        }
    }
}

/// Receives events at `/` and `/events`.
pub fn router(sink: Arc<dyn Sink>, settings: Settings) -> Router {
    let room = Arc::new(Semaphore::new(settings.max_unsettled));
    let state = Arc::new(Receiver { sink, settings, room });
    Router::new()
        .route("/", post(receive))
        .route("/events", post(receive))
        .with_state(state)
}

struct Receiver {
    sink: Arc<dyn Sink>,
    settings: Settings,
    room: Arc<Semaphore>,
}

async fn receive(State(receiver): State<Arc<Receiver>>, request: Request<Body>) -> Response {
    match receiver.take(request).await {
        Ok(fates) => {
            for fate in &fates {
                // What is set aside was counted when it was, whether its sender still waits or not.
                if let Fate::Refused { reason, .. } = fate {
                    receiver.sink.refused(reason);
                }
            }
            answer::of_fates(&fates)
        }
        Err(fault) => {
            receiver.sink.refused(fault.reason());
            answer::of_fault(&fault)
        }
    }
}

impl Receiver {
    async fn take(&self, request: Request<Body>) -> Result<Vec<Fate>, Fault> {
        let events = self.read(request).await?;
        // All are begun before any is waited for.
        let begun: Vec<_> = events
            .into_iter()
            .map(|event| event.map(|event| self.begin(event)))
            .collect();
        let deadline = tokio::time::Instant::now() + self.settings.patience;
        let mut fates = Vec::with_capacity(begun.len());
        for one in begun {
            fates.push(match one {
                Ok(Some(work)) => settle(work, deadline).await,
                Ok(None) => Fate::Retry {
                    after: OVERLOADED,
                    detail: "too many events are unsettled",
                },
                Err(refusal) => Fate::of_refusal(&refusal),
            });
        }
        Ok(fates)
    }

    /// The events of a request; refused ones in their place.
    async fn read(&self, request: Request<Body>) -> Result<Vec<Result<Event, Refusal>>, Fault> {
        let (parts, body) = request.into_parts();
        self.admit(&parts.headers).await?;
        let form = message::form(&parts.headers)?;
        let body = self.receive(body).await?;
        let events = message::events(&form, &parts.headers, &body)?;
        let (count, limit) = (events.len(), self.settings.max_batch);
        let too_large = || Fault::BatchTooLarge { events: count, limit };
        Check::BatchSize.passes(count <= limit, too_large)?;
        Ok(events)
    }

    async fn receive(&self, body: Body) -> Result<Bytes, Fault> {
        let limit = Check::BodySize.bound(self.settings.max_bytes, usize::MAX);
        let patience = Check::BodyTime.bound(self.settings.body_timeout, Duration::MAX);
        match tokio::time::timeout(patience, to_bytes(body, limit)).await {
            Ok(Ok(body)) => Ok(body),
            Ok(Err(error)) => match Fault::of_body(&error, limit) {
                broken @ Fault::BodyBroken => Check::BodyWhole.passes(false, || broken).map(|()| Bytes::new()),
                fault => Err(fault),
            },
            Err(_) => Err(Fault::BodyTooSlow),
        }
    }

    async fn admit(&self, headers: &HeaderMap) -> Result<(), Fault> {
        match &self.settings.token {
            Some(token) => token.check(headers).await,
            None => Ok(()),
        }
    }

    /// Begins an event in a task of its own, which outlives the request. None if there is
    /// no room for it.
    fn begin(&self, event: Event) -> Option<tokio::task::JoinHandle<Settled>> {
        let permit = Arc::clone(&self.room).try_acquire_owned().ok()?;
        let sink = Arc::clone(&self.sink);
        Some(tokio::spawn(async move {
            let settled = sink.accept(event).await;
            if let Settled::Refused { reason, .. } = &settled {
                sink.set_aside(reason);
            }
            drop(permit);
            settled
        }))
    }
}

const OVERLOADED: Duration = Duration::from_secs(5);
const UNSETTLED: Duration = Duration::from_secs(10);

async fn settle(work: tokio::task::JoinHandle<Settled>, deadline: tokio::time::Instant) -> Fate {
    match tokio::time::timeout_at(deadline, work).await {
        Ok(Ok(Settled::Done)) => Fate::Done,
        Ok(Ok(Settled::Refused { reason, message })) => Fate::SetAside {
            reason,
            detail: message,
        },
        Ok(Ok(Settled::Retry { after, .. })) => Fate::Retry {
            after,
            detail: "the event could not be settled",
        },
        Ok(Err(_)) => Fate::Retry {
            after: UNSETTLED,
            detail: "the event's task ended early",
        },
        Err(_) => Fate::Retry {
            after: UNSETTLED,
            detail: "the event is still being worked on",
        },
    }
}

#[cfg(test)]
mod tests;
