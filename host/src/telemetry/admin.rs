//! The administration endpoint: health, readiness, metrics, how adapters and plugins stand, and
//! a retry by hand.
//!
//! It must not be reachable from outside of the cluster's network. Whoever reaches it can make
//! berth work, but not do anything that berth would not do by itself: nothing here changes a
//! document, deletes an object or names an identity.

mod state;

use std::sync::Arc;

use async_trait::async_trait;
use axum::{
    Json, Router,
    extract::{Path, State, rejection::JsonRejection},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::Metrics;
pub use state::{AdapterState, PluginState, Scope, Standing};

/// One thing that must be so for berth to be ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// Its name, such as `kubernetes`.
    pub name: &'static str,
    /// Why it is not so, if it is not.
    pub trouble: Option<String>,
}

/// Asks for a reconcile by hand: the body of `POST /retry`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retry {
    /// The adapter.
    pub adapter: String,
    /// The subject's kind.
    pub kind: String,
    /// The subject's identifier.
    pub id: String,
}

/// The answer to [`Retry`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Retried {
    /// It runs as soon as its turn comes.
    Queued,
    /// There is no such adapter, or it does not take this kind.
    UnknownAdapter,
    /// Where the subject is found is not known: no event and no object spoke of it yet.
    UnknownSubject,
}

/// What the endpoint asks of the host.
#[async_trait]
pub trait Host: Send + Sync + 'static {
    /// What must be so to be ready, and whether it is.
    async fn checks(&self) -> Vec<Check>;

    /// Runs a reconcile by hand.
    async fn retry(&self, retry: Retry) -> Retried;

    /// How every adapter stands, with its plugins; and problems of documents that name none.
    async fn adapters(&self) -> Adapters;

    /// Asks every registry for newer plugins, and waits for what comes of it.
    async fn refresh(&self);
}

/// The body of `GET /adapters`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Adapters {
    /// By name; removed ones last.
    pub adapters: Vec<AdapterState>,
    /// What is wrong with files of which nobody can say whose document they are.
    pub problems: Vec<String>,
}

impl Adapters {
    /// All plugins, but those of removed adapters and the one inside of berth.
    fn plugins(self) -> Plugins {
        let plugins = self.adapters.into_iter().flat_map(|one| one.plugins);
        Plugins {
            plugins: plugins.filter(|one| one.source != "embedded").collect(),
        }
    }
}

/// The body of `GET /plugins`, and of the answer to `POST /plugins/refresh`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plugins {
    /// By adapter, in the order of its document.
    pub plugins: Vec<PluginState>,
}

/// `/healthz`, `/readyz`, `/metrics`, `/adapters`, `/plugins`, `POST /plugins/refresh` and
/// `POST /retry`.
pub fn router(host: Arc<dyn Host>, metrics: Arc<Metrics>) -> Router {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/retry", post(retry))
        .route("/adapters", get(adapters))
        .route("/adapters/{name}", get(adapter))
        .route("/plugins", get(plugins))
        .route("/plugins/refresh", post(refresh))
        .with_state(host)
        .merge(Router::new().route("/metrics", get(scrape)).with_state(metrics))
}

async fn healthz() -> Json<Value> {
    Json(json!({"status": "ok"}))
}

async fn readyz(State(host): State<Arc<dyn Host>>) -> Response {
    let checks = host.checks().await;
    let ready = checks.iter().all(|check| check.trouble.is_none());
    let told: Map<String, Value> = checks
        .into_iter()
        .map(|check| {
            (
                check.name.to_owned(),
                Value::String(check.trouble.unwrap_or_else(|| "ok".to_owned())),
            )
        })
        .collect();
    let (code, status) = if ready {
        (StatusCode::OK, "ok")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "unavailable")
    };
    (code, Json(json!({"status": status, "checks": told}))).into_response()
}

async fn adapters(State(host): State<Arc<dyn Host>>) -> Json<Adapters> {
    Json(host.adapters().await)
}

async fn adapter(State(host): State<Arc<dyn Host>>, Path(name): Path<String>) -> Response {
    let found = host.adapters().await.adapters.into_iter().find(|one| one.name == name);
    match found {
        Some(found) => Json(found).into_response(),
        None => {
            let detail = format!("there is no adapter `{name}`");
            problem(StatusCode::NOT_FOUND, "AdapterUnknown", &detail)
        }
    }
}

async fn plugins(State(host): State<Arc<dyn Host>>) -> Json<Plugins> {
    Json(host.adapters().await.plugins())
}

async fn refresh(State(host): State<Arc<dyn Host>>) -> Json<Plugins> {
    host.refresh().await;
    plugins(State(host)).await
}

async fn scrape(State(metrics): State<Arc<Metrics>>) -> Response {
    match metrics.encode() {
        Ok(text) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, kind)], text).into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn retry(State(host): State<Arc<dyn Host>>, body: Result<Json<Retry>, JsonRejection>) -> Response {
    let retry = match body {
        Ok(Json(retry)) => retry,
        Err(rejection) => return problem(rejection.status(), "RequestInvalid", &rejection.body_text()),
    };
    let told = retry.clone();
    match host.retry(retry).await {
        Retried::Queued => StatusCode::ACCEPTED.into_response(),
        Retried::UnknownAdapter => {
            let detail = format!("there is no adapter `{}` for the kind {}", told.adapter, told.kind);
            problem(StatusCode::NOT_FOUND, "AdapterUnknown", &detail)
        }
        Retried::UnknownSubject => {
            let detail = format!("nothing is known of {}/{} yet", told.kind, told.id);
            problem(StatusCode::NOT_FOUND, "SubjectUnknown", &detail)
        }
    }
}

fn problem(status: StatusCode, reason: &str, detail: &str) -> Response {
    let title = status.canonical_reason().unwrap_or_default();
    let body = json!({
        "type": "about:blank", "title": title, "status": status.as_u16(), "reason": reason, "detail": detail,
    });
    (
        status,
        [(header::CONTENT_TYPE, "application/problem+json")],
        body.to_string(),
    )
        .into_response()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use axum::{body::Body, http::Request};
    use tower::ServiceExt as _;

    use super::*;

    struct Cut;

    #[async_trait]
    impl Host for Cut {
        async fn checks(&self) -> Vec<Check> {
            let trouble = Some("no answer for 30s".to_owned());
            vec![
                Check {
                    name: "fleet",
                    trouble: None,
                },
                Check {
                    name: "kubernetes",
                    trouble,
                },
            ]
        }

        async fn adapters(&self) -> Adapters {
            let plugin = |name: &str, source: &str| PluginState {
                adapter: "lz".into(),
                plugin: name.into(),
                source: source.into(),
                live: Some("sha256:1".into()),
                since: Some("2026-01-01T00:00:00Z".into()),
                signed_by: vec!["platform".into()],
                newer: None,
                why: None,
            };
            Adapters {
                adapters: vec![AdapterState {
                    name: "lz".into(),
                    state: Standing::Outdated,
                    file: Some("lz.yaml".into()),
                    live: Some("1".into()),
                    since: None,
                    wanted: Some("2".into()),
                    problems: vec!["lz.yaml:1:1: it is wrong".into()],
                    subjects: vec!["Cluster".into()],
                    namespace: Some("work".into()),
                    service_account: None,
                    kinds: Vec::new(),
                    plugins: vec![plugin("declarative", "embedded"), plugin("lz", "oci://r.example/lz:1")],
                }],
                problems: vec!["x.yaml: not YAML".into()],
            }
        }

        async fn refresh(&self) {}

        async fn retry(&self, retry: Retry) -> Retried {
            match (retry.adapter.as_str(), retry.id.as_str()) {
                ("lz", "c-1") => Retried::Queued,
                ("lz", _) => Retried::UnknownSubject,
                _ => Retried::UnknownAdapter,
            }
        }
    }

    async fn ask(request: Request<Body>) -> String {
        let router = router(Arc::new(Cut), Arc::new(Metrics::new("1", "48")));
        let response = router.oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
        format!("{status} {}", String::from_utf8(body.to_vec()).unwrap())
    }

    async fn retry(body: &str) -> String {
        ask(Request::post("/retry")
            .header("content-type", "application/json")
            .body(body.to_owned().into())
            .unwrap())
        .await
    }

    #[tokio::test]
    async fn health_readiness_and_metrics_are_served() {
        let get = |path: &str| Request::get(path).body(Body::empty()).unwrap();
        assert_eq!(ask(get("/healthz")).await, r#"200 {"status":"ok"}"#);
        assert_eq!(
            ask(get("/readyz")).await,
            r#"503 {"checks":{"fleet":"ok","kubernetes":"no answer for 30s"},"status":"unavailable"}"#
        );
        assert!(
            ask(get("/metrics"))
                .await
                .contains(r#"berth_build_info{version="1",wasmtime="48"} 1"#)
        );
    }

    #[tokio::test]
    async fn anyone_can_read_how_adapters_and_plugins_stand() {
        let get = |path: &str| Request::get(path).body(Body::empty()).unwrap();
        let refresh = Request::post("/plugins/refresh").body(Body::empty()).unwrap();
        let told = [
            ask(get("/adapters")).await,
            ask(get("/adapters/dns")).await,
            ask(get("/plugins")).await,
            ask(refresh).await,
        ];
        insta::assert_snapshot!(told.join("\n"), @r#"
        200 {"adapters":[{"name":"lz","state":"outdated","file":"lz.yaml","live":"1","since":null,"wanted":"2","problems":["lz.yaml:1:1: it is wrong"],"subjects":["Cluster"],"namespace":"work","serviceAccount":null,"kinds":[],"plugins":[{"adapter":"lz","plugin":"declarative","source":"embedded","live":"sha256:1","since":"2026-01-01T00:00:00Z","signedBy":["platform"],"newer":null,"why":null},{"adapter":"lz","plugin":"lz","source":"oci://r.example/lz:1","live":"sha256:1","since":"2026-01-01T00:00:00Z","signedBy":["platform"],"newer":null,"why":null}]}],"problems":["x.yaml: not YAML"]}
        404 {"detail":"there is no adapter `dns`","reason":"AdapterUnknown","status":404,"title":"Not Found","type":"about:blank"}
        200 {"plugins":[{"adapter":"lz","plugin":"lz","source":"oci://r.example/lz:1","live":"sha256:1","since":"2026-01-01T00:00:00Z","signedBy":["platform"],"newer":null,"why":null}]}
        200 {"plugins":[{"adapter":"lz","plugin":"lz","source":"oci://r.example/lz:1","live":"sha256:1","since":"2026-01-01T00:00:00Z","signedBy":["platform"],"newer":null,"why":null}]}
        "#);
        let one = ask(get("/adapters/lz")).await;
        assert!(one.starts_with(r#"200 {"name":"lz","state":"outdated""#), "{one}");
    }

    #[tokio::test]
    async fn a_retry_is_queued_or_says_what_is_unknown() {
        let told = [
            retry(r#"{"adapter":"lz","kind":"Cluster","id":"c-1"}"#).await,
            retry(r#"{"adapter":"lz","kind":"Cluster","id":"c-2"}"#).await,
            retry(r#"{"adapter":"dns","kind":"Cluster","id":"c-1"}"#).await,
            retry(r#"{"adapter":"lz"}"#).await,
            retry("nothing").await,
        ];
        insta::assert_snapshot!(told.join("\n"), @r#"
        202 
        404 {"detail":"nothing is known of Cluster/c-2 yet","reason":"SubjectUnknown","status":404,"title":"Not Found","type":"about:blank"}
        404 {"detail":"there is no adapter `dns` for the kind Cluster","reason":"AdapterUnknown","status":404,"title":"Not Found","type":"about:blank"}
        422 {"detail":"Failed to deserialize the JSON body into the target type: missing field `kind` at line 1 column 16","reason":"RequestInvalid","status":422,"title":"Unprocessable Entity","type":"about:blank"}
        400 {"detail":"Failed to parse the request body as JSON: expected ident at line 1 column 2","reason":"RequestInvalid","status":400,"title":"Bad Request","type":"about:blank"}
        "#);
    }
}
