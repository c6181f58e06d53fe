//! The administration endpoint: health, readiness, metrics, and a retry by hand.
//!
//! It must not be reachable from outside of the cluster's network.

use std::sync::Arc;

use async_trait::async_trait;
use axum::{
    Json, Router,
    extract::{State, rejection::JsonRejection},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::Metrics;

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
}

/// `/healthz`, `/readyz`, `/metrics` and `POST /retry`.
pub fn router(host: Arc<dyn Host>, metrics: Arc<Metrics>) -> Router {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/retry", post(retry))
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
