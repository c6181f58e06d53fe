//! The HyperFleet API of benchmarks: the simulated one, over sockets.
//!
//! Each adapter takes care of a kind of its own, so that an event is one adapter's. The
//! simulation knows only HyperFleet's kinds; its clusters are told by other names here.

use std::sync::Arc;

use anyhow::{Result, anyhow};
use axum::{
    Router,
    body::{Body, to_bytes},
    extract::Request,
    http::{StatusCode, header::CONTENT_LENGTH},
    middleware::{Next, from_fn},
    response::{IntoResponse as _, Response},
};
use berth::{
    fleet::SystemClock,
    simulate::fleet::{FleetState, Kind, Server, Simulation},
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};

/// What the names of subjects begin with; their number follows.
const NAME: &str = "subject-";

/// The API. It ends with this value.
pub(super) struct Api {
    pub(super) simulation: Arc<Simulation>,
    pub(super) port: u16,
    served: JoinHandle<()>,
}

impl Drop for Api {
    fn drop(&mut self) {
        self.served.abort();
    }
}

impl Api {
    /// Serves an empty one, whose subjects are of so many kinds in turn.
    pub(super) async fn serve(kinds: usize) -> Result<Self> {
        let simulation = Simulation::new(FleetState::new(&[], &[]), Arc::new(SystemClock::new()));
        let call_so = from_fn(move |request, next| named(kinds, request, next));
        let simulated: Router = Server::router(Arc::clone(&simulation)).layer(call_so);
        let router = Router::new().fallback_service(simulated).layer(from_fn(as_cluster));
        let listener = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let served = tokio::spawn(async move {
            // It ends with the benchmark.
            drop(axum::serve(listener, router).await);
        });
        Ok(Self {
            simulation,
            port,
            served,
        })
    }

    /// Creates the subject of this number, and returns it.
    pub(super) fn create(&self, number: usize, spec: &Value) -> Result<Value> {
        let name = format!("{NAME}{number}");
        let created = self
            .simulation
            .with(|state, now| state.create(now, Kind::Cluster, None, &name, spec));
        created.map_err(|refusal| anyhow!("{name} is refused: {}", String::from_utf8_lossy(&refusal.body)))
    }
}

/// The kind of the subject of this number, of so many kinds.
pub(super) fn kind_of(number: usize, kinds: usize) -> String {
    format!("Cluster{}", number % kinds)
}

/// The path of a subject of this number, in the collection of its kind.
pub(super) fn href_of(number: usize, kinds: usize, subject: &Value) -> String {
    let collection = format!("/{}s/", kind_of(number, kinds).to_ascii_lowercase());
    let href = subject["href"].as_str().unwrap_or_default();
    href.replace("/clusters/", &collection)
}

/// Asks the simulation for a cluster, whatever its kind is called.
async fn as_cluster(mut request: Request, next: Next) -> Response {
    let known = |segment: &str| {
        let number = segment
            .strip_prefix("cluster")
            .and_then(|rest| rest.strip_suffix('s'))?;
        number.parse::<usize>().ok().map(|_| "clusters".to_owned())
    };
    let path = request.uri().to_string();
    let path: Vec<String> = path
        .split('/')
        .map(|segment| known(segment).unwrap_or_else(|| segment.to_owned()))
        .collect();
    match path.join("/").parse() {
        Ok(uri) => *request.uri_mut() = uri,
        Err(_) => return StatusCode::BAD_REQUEST.into_response(),
    }
    next.run(request).await
}

/// Tells a subject's kind.
async fn named(kinds: usize, request: Request, next: Next) -> Response {
    let is_subject = !request.uri().path().ends_with("/statuses");
    let answer = next.run(request).await;
    if !is_subject || !answer.status().is_success() {
        return answer;
    }
    let (mut head, body) = answer.into_parts();
    let subject = to_bytes(body, 1 << 20).await.ok();
    let subject = subject.and_then(|body| serde_json::from_slice::<Value>(&body).ok());
    let Some(mut subject) = subject else {
        return StatusCode::BAD_GATEWAY.into_response();
    };
    let number = subject["name"]
        .as_str()
        .and_then(|name| name.strip_prefix(NAME)?.parse().ok());
    if let Some(number) = number {
        subject["kind"] = json!(kind_of(number, kinds));
    }
    head.headers.remove(CONTENT_LENGTH);
    Response::from_parts(head, Body::from(subject.to_string()))
}
