//! What only the client over HTTP can show: credentials, TLS, broken and hostile servers.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::Request,
    http::{Response, header::AUTHORIZATION},
};
use berth::{
    fleet::{BuildError, Client, Settings},
    simulate::fleet::Server,
    world::Fleet,
};
use berth_engine::{contract::HttpAction, effect::FleetFault};
use berth_tests::fleet_contract::{Arranged, report};
use serde_json::json;
use tokio::net::TcpListener;
use tokio_rustls::rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};

const SECRET: &str = "eyJhbGciOiJSUzI1NiJ9.c2VjcmV0.c2lnbmF0dXJl";
const CLUSTER: &str = "/api/hyperfleet/v1/clusters/c-1";

fn client(settings: &Settings, arranged: &Arranged) -> Client {
    Client::with_clock(settings, arranged.client_clock.clone()).unwrap()
}

fn token_file(folder: &tempfile::TempDir, token: &str) -> std::path::PathBuf {
    let path = folder.path().join("token");
    std::fs::write(&path, token).unwrap();
    path
}

/// A server that answers with the next of these, and at last always with the last one.
/// Tells what credentials arrived.
struct Scripted {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Option<String>>>>,
    task: tokio::task::JoinHandle<()>,
}

type Answer = Box<dyn Fn(&str) -> Response<Body> + Send>;

impl Scripted {
    async fn spawn(answers: Vec<Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let answers = Arc::new(Mutex::new(VecDeque::from(answers)));
        let told = seen.clone();
        let router = Router::new().fallback(move |request: Request| {
            let authorization = request
                .headers()
                .get(AUTHORIZATION)
                .map(|value| value.to_str().unwrap().to_owned());
            told.lock().unwrap().push(authorization.clone());
            let mut answers = answers.lock().unwrap();
            let response = answers.front().unwrap()(authorization.as_deref().unwrap_or_default());
            if answers.len() > 1 {
                answers.pop_front();
            }
            async move { response }
        });
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, seen, task }
    }

    fn settings(&self) -> Settings {
        Arranged::settings(&format!("http://{}", self.address))
    }

    fn seen(&self) -> Vec<Option<String>> {
        std::mem::take(&mut self.seen.lock().unwrap())
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> Response<Body> {
    let mut builder = Response::builder().status(status);
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    builder.body(Body::from(body.to_owned())).unwrap()
}

fn always(status: u16, headers: &'static [(&str, &str)], body: &'static str) -> Vec<Answer> {
    vec![Box::new(move |_| answer(status, headers, body))]
}

#[tokio::test]
async fn a_rotated_token_takes_effect_with_the_next_call() {
    let arranged = Arranged::new();
    let cluster = arranged.cluster("east-1");
    let server = Server::spawn(arranged.simulation.clone()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut settings = Arranged::settings(server.url().as_str());
    settings.token_file = Some(token_file(&folder, "first\n"));
    let client = client(&settings, &arranged);

    arranged.simulation.require_token(Some("first"));
    assert!(client.get(&cluster).await.is_ok());
    arranged.simulation.require_token(Some("second"));
    assert!(matches!(
        client.get(&cluster).await,
        Err(FleetFault::Misconfigured { .. })
    ));
    token_file(&folder, "second\n");
    assert!(client.get(&cluster).await.is_ok());
}

#[tokio::test]
async fn a_token_that_is_rotated_during_a_refusal_is_tried_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = token_file(&folder, "old");
    let rotated = path.clone();
    let rotate: Answer = Box::new(move |_| {
        std::fs::write(&rotated, "new").unwrap();
        answer(401, &[], "{}")
    });
    let rotate_again: Answer = Box::new({
        let path = path.clone();
        move |_| {
            std::fs::write(&path, "newer").unwrap();
            answer(401, &[], "{}")
        }
    });
    let server = Scripted::spawn(vec![rotate, rotate_again]).await;
    let mut settings = server.settings();
    settings.token_file = Some(path);

    let fault = client(&settings, &Arranged::new()).get(CLUSTER).await.unwrap_err();

    assert!(
        matches!(&fault, FleetFault::Misconfigured { message } if message.contains("check the token file")),
        "{fault}"
    );
    assert_eq!(
        server.seen(),
        [Some("Bearer old".to_owned()), Some("Bearer new".to_owned())]
    );
}

#[tokio::test]
async fn a_refused_token_that_did_not_change_is_not_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let server = Scripted::spawn(always(401, &[], "{}")).await;
    let mut settings = server.settings();
    settings.token_file = Some(token_file(&folder, SECRET));

    let result = client(&settings, &Arranged::new()).get(CLUSTER).await;

    assert!(matches!(result, Err(FleetFault::Misconfigured { .. })));
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn without_a_usable_token_nothing_is_sent() {
    let folder = tempfile::tempdir().unwrap();
    let server = Scripted::spawn(always(200, &[], "{}")).await;
    let mut settings = server.settings();
    settings.token_file = Some(folder.path().join("token"));
    let client = client(&settings, &Arranged::new());

    let mut problems = Vec::new();
    let mut attempt = async |client: &Client| match client.get(CLUSTER).await.unwrap_err() {
        FleetFault::Misconfigured { message } => {
            problems.push(message.replace(&folder.path().display().to_string(), ""))
        }
        fault => problems.push(format!("{fault:?}")),
    };
    attempt(&client).await;
    for content in ["", " \n", "two words", "caf\u{e9}"] {
        std::fs::write(folder.path().join("token"), content).unwrap();
        attempt(&client).await;
    }

    assert_eq!(server.seen(), []);
    insta::assert_snapshot!(problems.join("\n"), @"
    the token file `/token` cannot be read: No such file or directory (os error 2); check that it is mounted
    the token file `/token` is empty
    the token file `/token` is empty
    the token file `/token` holds characters that no token has
    the token file `/token` holds characters that no token has
    ");
}

#[tokio::test]
async fn the_token_appears_in_no_error_and_no_debug_text() {
    let folder = tempfile::tempdir().unwrap();
    for (status, leak) in [(400, "detail"), (403, "title"), (404, "detail"), (503, "detail")] {
        let server = Scripted::spawn(vec![Box::new(move |authorization| {
            answer(
                status,
                &[("retry-after", "3600")],
                &json!({leak: format!("got {authorization}")}).to_string(),
            )
        })])
        .await;
        let mut settings = server.settings();
        settings.token_file = Some(token_file(&folder, SECRET));
        // By the machine's clock, as the server's `Date`: else a 400 would be answered with a corrected time.
        let client = Client::new(&settings).unwrap();

        let fault = client.report(CLUSTER, &report("dns", 1)).await.unwrap_err();

        let text = format!("{fault} {fault:?} {client:?} {settings:?}");
        assert!(!text.contains(SECRET) && text.contains("Bearer [token]"), "{text}");
        assert_eq!(server.seen(), [Some(format!("Bearer {SECRET}"))]);
    }
}

#[tokio::test]
async fn a_redirect_is_refused_and_takes_no_token_along() {
    let folder = tempfile::tempdir().unwrap();
    let thief = Scripted::spawn(always(200, &[], "{}")).await;
    let address = thief.address;
    let server = Scripted::spawn(vec![Box::new(move |_| {
        answer(
            307,
            &[("location", &format!("http://{address}/api/hyperfleet/v1/clusters/c-1"))],
            "",
        )
    })])
    .await;
    let mut settings = server.settings();
    settings.token_file = Some(token_file(&folder, SECRET));
    let client = client(&settings, &Arranged::new());
    let action = HttpAction {
        name: "notify".to_owned(),
        method: "POST".to_owned(),
        url: CLUSTER.to_owned(),
        headers: Vec::new(),
        body: None,
    };

    for fault in [
        client.get(CLUSTER).await.unwrap_err(),
        client.statuses(CLUSTER).await.unwrap_err(),
        client.report(CLUSTER, &report("dns", 1)).await.unwrap_err(),
    ] {
        let FleetFault::Misconfigured { message } = fault else {
            unreachable!("{fault:?}")
        };
        assert!(
            message.contains("a redirect to") && message.contains("not followed; check `url`"),
            "{message}"
        );
    }
    assert_eq!(client.send(&action).await.unwrap().0, 307);
    assert_eq!(thief.seen(), []);
}

#[tokio::test]
async fn a_refused_connection_is_named_with_its_address() {
    let arranged = Arranged::new();
    let server = Server::spawn(arranged.simulation.clone()).await.unwrap();
    let cluster = arranged.cluster("east-1");
    let settings = Arranged::settings(server.url().as_str());
    let client = client(&settings, &arranged);
    assert!(client.get(&cluster).await.is_ok());
    let address = server.address();
    drop(server);
    // The port is closed once the server's task has ended.
    while tokio::net::TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }

    let fault = client.get(&cluster).await.unwrap_err();

    let FleetFault::Unreachable {
        message,
        retry_after: None,
    } = fault
    else {
        unreachable!("{fault:?}")
    };
    let message = message
        .replace(&address.to_string(), "ADDRESS")
        .replace(&cluster, "CLUSTER");
    insta::assert_snapshot!(
        message,
        @"GET CLUSTER at http://ADDRESS: cannot connect: tcp connect error: Connection refused (os error 111)"
    );
}

#[tokio::test]
async fn a_silent_server_costs_no_more_than_the_limits() {
    // It accepts connections by its backlog and never reads.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut settings = Arranged::settings(&format!("http://{}", silent.local_addr().unwrap()));
    settings.timeout = Duration::from_millis(400);
    settings.attempt_timeout = Duration::from_millis(40);
    let client = Client::new(&settings).unwrap();

    let fault = client.get(CLUSTER).await.unwrap_err();

    let FleetFault::Unreachable { message, .. } = fault else {
        unreachable!("{fault:?}")
    };
    // The last attempt has what is left of the time. A busy machine may leave nothing of it.
    if message.ends_with("no time was left of 400ms") {
        return;
    }
    let (_, waited) = message.split_once("no answer within ").expect(&message);
    let waited: f64 = waited.strip_suffix("ms").expect(&message).parse().expect(&message);
    assert!(waited <= 40.0, "{message}");
}

#[tokio::test]
async fn an_answer_that_is_not_the_apis_is_a_misconfiguration() {
    let html = Scripted::spawn(always(200, &[("content-type", "text/html")], "<html>Welcome</html>")).await;
    let strange = Scripted::spawn(always(200, &[], r#"{"kind": "List"}"#)).await;
    let arranged = Arranged::new();

    for fault in [
        client(&html.settings(), &arranged).get(CLUSTER).await.unwrap_err(),
        client(&html.settings(), &arranged).statuses(CLUSTER).await.unwrap_err(),
        client(&strange.settings(), &arranged)
            .statuses(CLUSTER)
            .await
            .unwrap_err(),
    ] {
        let FleetFault::Misconfigured { message } = fault else {
            unreachable!("{fault:?}")
        };
        assert!(
            message.contains("not as the HyperFleet API does") && message.contains("check `url`"),
            "{message}"
        );
    }
}

#[tokio::test]
async fn a_success_that_is_not_the_apis_stores_no_report() {
    for body in ["<html>Welcome</html>", r#"{"message": "ok"}"#, "[]"] {
        let server = Scripted::spawn(vec![Box::new(move |_| answer(200, &[], body))]).await;

        let fault = client(&server.settings(), &Arranged::new())
            .report(CLUSTER, &report("dns", 1))
            .await
            .unwrap_err();

        assert!(
            matches!(&fault, FleetFault::Misconfigured { message } if message.contains("check `url`")),
            "{body}: {fault:?}"
        );
    }
}

#[tokio::test]
async fn a_404_of_something_else_is_not_a_resource_that_is_gone() {
    for (kind, body) in [
        ("text/html", "<html>default backend - 404</html>"),
        ("application/json", r#"{"message": "no such route"}"#),
        ("application/json", r#"{"code": "OTHER-NTF-001"}"#),
        ("application/json", ""),
    ] {
        let server = Scripted::spawn(vec![Box::new(move |_| answer(404, &[("content-type", kind)], body))]).await;
        let client = client(&server.settings(), &Arranged::new());

        for fault in [
            client.get(CLUSTER).await.unwrap_err(),
            client.report(CLUSTER, &report("dns", 1)).await.unwrap_err(),
        ] {
            assert!(
                matches!(&fault, FleetFault::Misconfigured { message } if message.contains("check `url`")),
                "{body}: {fault:?}"
            );
        }
    }
}

#[tokio::test]
async fn an_answer_without_end_is_cut_off() {
    let server = Scripted::spawn(vec![Box::new(|_| answer(200, &[], &" ".repeat(9 * 1024 * 1024)))]).await;

    let fault = client(&server.settings(), &Arranged::new())
        .get(CLUSTER)
        .await
        .unwrap_err();

    assert!(
        fault.to_string().contains("the answer is larger than 8388608 bytes"),
        "{fault}"
    );
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn a_success_of_a_report_needs_no_body() {
    let server = Scripted::spawn(always(201, &[], "")).await;

    let result = client(&server.settings(), &Arranged::new())
        .report(CLUSTER, &report("dns", 1))
        .await;

    assert_eq!(result, Ok(berth_engine::effect::Reported::Stored));
}

/// An authority and a certificate of it for `localhost`.
fn authority() -> (String, ServerConfig) {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, "private authority");
    let authority = params.self_signed(&key).unwrap();
    let issuer = rcgen::Issuer::new(params, key);
    let leaf_key = rcgen::KeyPair::generate().unwrap();
    let leaf = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let leaf = leaf.signed_by(&leaf_key, &issuer).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![leaf.der().clone()],
            PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(leaf_key.serialize_der())),
        )
        .unwrap();
    (authority.pem(), config)
}

struct Tls {
    listener: TcpListener,
    acceptor: tokio_rustls::TlsAcceptor,
}

impl axum::serve::Listener for Tls {
    type Io = tokio_rustls::server::TlsStream<tokio::net::TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (stream, address) = axum::serve::Listener::accept(&mut self.listener).await;
            // A caller that does not trust us hangs up here.
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

#[tokio::test]
async fn only_the_configured_authority_is_trusted() {
    let arranged = Arranged::new();
    let cluster = arranged.cluster("east-1");
    let folder = tempfile::tempdir().unwrap();
    let (pem, config) = authority();
    let (other, _) = authority();
    let write = |name: &str, content: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    };
    let (ours, other) = (write("ours.pem", &pem), write("other.pem", &other));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let tls = Tls {
        listener,
        acceptor: Arc::new(config).into(),
    };
    let task = tokio::spawn(axum::serve(tls, Server::router(arranged.simulation.clone())).into_future());
    let with = |path: &Path, host: &str| {
        let mut settings = Arranged::settings(&format!("https://{host}:{port}"));
        settings.ca_file = Some(path.to_owned());
        client(&settings, &arranged)
    };

    assert!(with(&ours, "localhost").get(&cluster).await.is_ok());
    for client in [with(&other, "localhost"), with(&ours, "127.0.0.1")] {
        let fault = client.get(&cluster).await.unwrap_err();
        assert!(
            matches!(&fault, FleetFault::Unreachable { message, .. } if message.contains("invalid peer certificate")),
            "{fault}"
        );
    }
    task.abort();
}

#[tokio::test]
async fn a_server_that_never_answers_in_tls_is_not_connected_to() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ca.pem");
    std::fs::write(&path, authority().0).unwrap();
    let mut settings = Arranged::settings(&format!("https://{}", silent.local_addr().unwrap()));
    settings.ca_file = Some(path);
    // Long enough for one connection, on a busy machine too. What it leaves is no tenth of an attempt, and so too short
    // for a second.
    settings.timeout = Duration::from_secs(8);
    settings.attempt_timeout = Duration::from_secs(60);
    let client = Client::new(&settings).unwrap();

    let fault = client.get(CLUSTER).await.unwrap_err();

    assert!(
        matches!(&fault, FleetFault::Unreachable { message, .. } if message.ends_with("cannot connect: no connection within 2s")),
        "{fault}"
    );
}

#[tokio::test]
async fn an_unusable_authority_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ca.pem");
    let build = || {
        let mut settings = Arranged::settings("https://fleet.example");
        settings.ca_file = Some(path.clone());
        Client::new(&settings).unwrap_err()
    };

    assert!(matches!(build(), BuildError::CaFile { .. }));
    for content in [
        "",
        "no certificate",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    ] {
        std::fs::write(&path, content).unwrap();
        let error = build();
        assert!(matches!(error, BuildError::CaContent { .. }), "{content:?}: {error:?}");
    }
}
