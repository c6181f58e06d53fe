#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{Response, StatusCode},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::*;
use crate::registry::{
    access::{Access, CredentialSource, PerRegistry, Proxy, Settings},
    remote::MANIFEST,
};

/// What a server was asked: method, path with query, and the credentials that came along.
type Seen = Arc<Mutex<Vec<(String, Option<String>)>>>;
type Answering = Arc<dyn Fn(&str, Option<&str>, usize) -> Response<Body> + Send + Sync>;

/// A server that answers as a function says: of the question, the credentials, and how often it was asked.
struct Server {
    address: String,
    seen: Seen,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn handle(State((seen, answering)): State<(Seen, Answering)>, request: Request) -> Response<Body> {
    let question = format!("{} {}", request.method(), request.uri());
    let credentials = request
        .headers()
        .get("authorization")
        .or_else(|| request.headers().get("proxy-authorization"))
        .map(|value| value.to_str().unwrap().to_owned());
    let body = axum::body::to_bytes(request.into_body(), 1 << 20).await.unwrap();
    let question = match std::str::from_utf8(&body) {
        Ok("") | Err(_) => question,
        Ok(body) => format!("{question} {body}"),
    };
    let times = {
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.push((question.clone(), credentials.clone()));
        seen.len()
    };
    answering(&question, credentials.as_deref(), times)
}

impl Server {
    async fn start(answering: impl Fn(&str, Option<&str>, usize) -> Response<Body> + Send + Sync + 'static) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let seen = Seen::default();
        let answering: Answering = Arc::new(answering);
        let router = Router::new()
            .fallback(handle)
            .with_state((Arc::clone(&seen), answering));
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, seen, task }
    }

    fn seen(&self) -> Vec<(String, Option<String>)> {
        self.seen.lock().unwrap().clone()
    }

    fn asked(&self) -> usize {
        self.seen().len()
    }
}

fn reply(status: u16, headers: &[(&str, &str)], body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::builder().status(StatusCode::from_u16(status).unwrap());
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    response.body(body.into()).unwrap()
}

fn quick() -> Settings {
    Settings {
        limits: Limits {
            // The machine of a test may be busy.
            connect: Duration::from_secs(60),
            answer: Duration::from_secs(60),
            total: Duration::from_secs(120),
        },
        retries: Retries {
            attempts: 3,
            base: Duration::from_millis(1),
            longest: Duration::from_millis(2),
            patience: Duration::from_secs(60),
        },
        ..Settings::default()
    }
}

struct Keys {
    folder: tempfile::TempDir,
}

impl Keys {
    fn new(auths: &serde_json::Value) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let text = serde_json::json!({ "auths": auths }).to_string();
        std::fs::write(folder.path().join("config.json"), text).unwrap();
        Self { folder }
    }

    fn for_registry(registry: &str) -> Self {
        Self::new(&serde_json::json!({registry: {"username": "robot", "password": "hunter2"}}))
    }

    fn source(&self) -> CredentialSource {
        CredentialSource::File(self.folder.path().join("config.json"))
    }
}

fn listed(servers: &[&Server]) -> BTreeSet<String> {
    servers.iter().map(|server| server.address.clone()).collect()
}

fn access(settings: Settings, servers: &[&Server]) -> Access {
    Access::new(Settings {
        insecure: listed(servers),
        ..settings
    })
}

fn repository(server: &Server) -> Repository {
    format!("{}/lz", server.address).parse().unwrap()
}

/// Asks the server for this blob, at most 64 bytes of it.
async fn blob(access: &Access, server: &Server, bytes: &[u8]) -> Result<Vec<u8>, Fault> {
    let remote = access.open(&server.address).unwrap();
    remote.blob(&repository(server), &Digest::of(bytes), 64).await
}

#[tokio::test]
async fn a_registry_that_is_not_listed_is_never_spoken_to_in_plain_http() {
    let server = Server::start(|_, _, _| reply(200, &[], "x")).await;

    let fault = blob(&access(quick(), &[]), &server, b"x").await.unwrap_err();

    assert_eq!(fault.reason(), "Tls", "{fault:?}");
    assert_eq!(server.asked(), 0);
}

#[tokio::test]
async fn bytes_with_another_digest_are_refused() {
    let server = Server::start(|_, _, _| reply(200, &[], "tampered")).await;
    let fault = blob(&access(quick(), &[&server]), &server, b"genuine")
        .await
        .unwrap_err();
    assert_eq!(fault.reason(), "DigestMismatch");
}

#[tokio::test]
async fn a_length_over_the_limit_is_refused_before_a_byte_is_read() {
    let server = Server::start(|_, _, _| {
        // The body never comes: whoever waits for it waits for ever.
        let body = Body::from_stream(futures::stream::pending::<Result<Vec<u8>, std::io::Error>>());
        reply(200, &[("content-length", "65")], body)
    })
    .await;
    let fault = blob(&access(quick(), &[&server]), &server, b"x").await.unwrap_err();
    assert!(matches!(fault, Fault::TooLarge { limit: 64, .. }), "{fault:?}");
}

#[tokio::test]
async fn bytes_over_the_limit_are_refused_while_they_are_read() {
    let server = Server::start(|_, _, _| {
        let endless = futures::stream::repeat_with(|| Ok::<_, std::io::Error>(vec![b'x'; 16]));
        reply(200, &[], Body::from_stream(endless))
    })
    .await;
    let fault = blob(&access(quick(), &[&server]), &server, b"x").await.unwrap_err();
    assert!(matches!(fault, Fault::TooLarge { limit: 64, .. }), "{fault:?}");
}

#[tokio::test]
async fn a_registry_that_hangs_ends_by_the_time_limit() {
    let server = Server::start(|_, _, _| {
        let body = Body::from_stream(futures::stream::pending::<Result<Vec<u8>, std::io::Error>>());
        reply(200, &[("content-length", "1")], body)
    })
    .await;
    let mut settings = quick();
    settings.limits.total = Duration::from_millis(100);
    let fault = blob(&access(settings, &[&server]), &server, b"x").await.unwrap_err();
    assert_eq!(fault.reason(), "TimedOut");
}

#[tokio::test]
async fn a_body_that_ends_early_is_told_as_truncated() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let task = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).await.unwrap();
            let answer = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf";
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    let server = Server {
        address,
        seen: Seen::default(),
        task,
    };
    let fault = blob(&access(quick(), &[&server]), &server, b"x").await.unwrap_err();
    assert!(
        matches!(
            fault,
            Fault::Truncated {
                expected: 10,
                got: 4,
                ..
            }
        ),
        "{fault:?}"
    );
}

#[tokio::test]
async fn what_may_mend_is_asked_again_and_nothing_else() {
    for (status, times) in [(500, 3), (503, 3), (408, 3), (400, 1), (403, 1), (404, 1)] {
        let server = Server::start(move |_, _, _| reply(status, &[], "")).await;
        blob(&access(quick(), &[&server]), &server, b"x").await.unwrap_err();
        assert_eq!(server.asked(), times, "{status}");
    }
    let server = Server::start(|_, _, times| reply(if times < 3 { 502 } else { 200 }, &[], "x")).await;
    assert_eq!(blob(&access(quick(), &[&server]), &server, b"x").await.unwrap(), b"x");
}

#[tokio::test]
async fn a_rate_limit_is_obeyed_and_one_that_is_too_long_is_told() {
    let server = Server::start(|_, _, times| match times {
        1 => reply(429, &[("retry-after", "1")], ""),
        _ => reply(200, &[], "x"),
    })
    .await;
    // How long it waits is shown beside `retry::again`.
    assert_eq!(blob(&access(quick(), &[&server]), &server, b"x").await.unwrap(), b"x");
    assert_eq!(server.asked(), 2);

    let server = Server::start(|_, _, _| reply(429, &[("retry-after", "3600")], "")).await;
    let fault = blob(&access(quick(), &[&server]), &server, b"x").await.unwrap_err();
    assert!(matches!(&fault, Fault::RateLimited { retry_after: Some(wish), .. } if wish.as_secs() == 3600));
    assert_eq!(server.asked(), 1);
}

/// Asks for `Basic`, then answers by another function.
fn guarded(
    then: impl Fn(&str) -> Response<Body> + Send + Sync,
) -> impl Fn(&str, Option<&str>, usize) -> Response<Body> {
    let expected = format!("Basic {}", STANDARD.encode("robot:hunter2"));
    move |question, credentials, _| {
        if credentials == Some(expected.as_str()) {
            then(question)
        } else {
            reply(401, &[("www-authenticate", "Basic realm=\"registry\"")], "")
        }
    }
}

#[tokio::test]
async fn a_redirect_to_another_host_takes_no_credentials_along() {
    let other = Server::start(|_, _, _| reply(200, &[], "x")).await;
    let to = format!("http://{}/cdn?signature=1", other.address);
    let server = Server::start(guarded(move |_| reply(307, &[("location", &to)], ""))).await;
    let keys = Keys::for_registry(&server.address);
    let mut settings = quick();
    settings.credentials = vec![keys.source()];

    let bytes = blob(&access(settings, &[&server, &other]), &server, b"x")
        .await
        .unwrap();

    assert_eq!(bytes, b"x");
    assert_eq!(other.seen(), [("GET /cdn?signature=1".to_owned(), None)]);
    assert!(server.seen().last().unwrap().1.is_some());
}

#[tokio::test]
async fn a_redirect_that_comes_back_from_elsewhere_gets_no_credentials_either() {
    let back = Arc::new(Mutex::new(String::new()));
    let to = Arc::clone(&back);
    let other = Server::start(move |_, _, _| {
        let to = to.lock().unwrap().clone();
        reply(307, &[("location", &to)], "")
    })
    .await;
    let away = format!("http://{}/", other.address);
    let server = Server::start(guarded(move |question| {
        assert!(!question.contains("/private"));
        reply(307, &[("location", &away)], "")
    }))
    .await;
    *back.lock().unwrap() = format!("http://{}/private", server.address);
    let keys = Keys::for_registry(&server.address);
    let mut settings = quick();
    settings.credentials = vec![keys.source()];

    let fault = blob(&access(settings, &[&server, &other]), &server, b"x")
        .await
        .unwrap_err();

    assert_eq!(fault.reason(), "Unauthorized");
    assert_eq!(
        server.seen().last().unwrap(),
        &("GET /private".to_owned(), None),
        "the last question has no credentials"
    );
}

#[tokio::test]
async fn redirects_in_a_ring_end() {
    let server = Server::start(|question, _, _| {
        let to = if question.contains("/a") { "/b" } else { "/a" };
        reply(302, &[("location", to)], "")
    })
    .await;
    let fault = blob(&access(quick(), &[&server]), &server, b"x").await.unwrap_err();
    assert_eq!(fault.reason(), "RedirectLoop");
    assert_eq!(server.asked(), 3);
}

#[tokio::test]
async fn redirects_without_end_end() {
    let server = Server::start(|_, _, times| reply(302, &[("location", &format!("/{times}"))], "")).await;
    let fault = blob(&access(quick(), &[&server]), &server, b"x").await.unwrap_err();
    assert_eq!(fault.reason(), "RedirectLoop");
    assert_eq!(server.asked(), MAX_REDIRECTS + 1);
}

#[tokio::test]
async fn a_redirect_to_a_host_that_is_not_listed_is_not_followed_in_plain_http() {
    let other = Server::start(|_, _, _| reply(200, &[], "x")).await;
    let to = format!("http://{}/", other.address);
    let server = Server::start(move |_, _, _| reply(307, &[("location", &to)], "")).await;
    let fault = blob(&access(quick(), &[&server]), &server, b"x").await.unwrap_err();
    assert_eq!(fault.reason(), "BadRedirect");
    assert_eq!(other.asked(), 0);
}

/// Asks for a token of its own token server, and takes `t1` only. `HOST` in the realm is its own address.
async fn tokened(realm: &str) -> Server {
    let address = Arc::new(Mutex::new(String::new()));
    let (own, realm) = (Arc::clone(&address), realm.to_owned());
    let server = Server::start(move |question, credentials, _| match credentials {
        Some(sent) if question.starts_with("GET /token?") && sent.starts_with("Basic ") => {
            reply(200, &[], r#"{"token": "t1", "expires_in": 300}"#)
        }
        None if question.starts_with("POST /token") && question.contains("refresh_token=hunter2") => {
            reply(200, &[], r#"{"access_token": "t1"}"#)
        }
        Some("Bearer t1") => reply(200, &[], "x"),
        Some(_) | None => {
            let realm = realm.replace("HOST", &own.lock().unwrap());
            reply(401, &[("www-authenticate", &realm)], "")
        }
    })
    .await;
    address.lock().unwrap().clone_from(&server.address);
    server
}

const REALM: &str = "Bearer realm=\"http://HOST/token\",service=\"s\"";

#[tokio::test]
async fn a_token_is_fetched_once_and_used_again() {
    let server = tokened(REALM).await;
    let keys = Keys::for_registry(&server.address);
    let mut settings = quick();
    settings.credentials = vec![keys.source()];
    let access = access(settings, &[&server]);

    for _ in 0..3 {
        assert_eq!(blob(&access, &server, b"x").await.unwrap(), b"x");
    }

    let tokens: Vec<String> = server
        .seen()
        .into_iter()
        .map(|(question, _)| question)
        .filter(|question| question.contains("/token"))
        .collect();
    assert_eq!(tokens, ["GET /token?scope=repository%3Alz%3Apull&service=s"]);
}

#[tokio::test]
async fn an_identity_token_is_exchanged() {
    let server = tokened(REALM).await;
    let keys = Keys::new(&serde_json::json!({ (server.address.clone()): {"identitytoken": "hunter2"} }));
    let mut settings = quick();
    settings.credentials = vec![keys.source()];
    assert_eq!(blob(&access(settings, &[&server]), &server, b"x").await.unwrap(), b"x");
}

#[tokio::test]
async fn a_token_server_elsewhere_gets_no_credentials_unless_it_is_listed() {
    let elsewhere = Server::start(|_, _, _| reply(200, &[], r#"{"token": "t1"}"#)).await;
    let server = tokened(&REALM.replace("HOST", &elsewhere.address)).await;
    let keys = Keys::for_registry(&server.address);
    let mut settings = quick();
    settings.credentials = vec![keys.source()];

    let both = [&server, &elsewhere];
    let fault = blob(&access(settings.clone(), &both), &server, b"x").await.unwrap_err();
    assert_eq!(fault.reason(), "Misconfigured");
    assert_eq!(elsewhere.asked(), 0);

    let per_registry = PerRegistry {
        token_servers: vec![elsewhere.address.clone()],
        ..PerRegistry::default()
    };
    settings.registries = BTreeMap::from([(server.address.clone(), per_registry)]);
    assert_eq!(blob(&access(settings, &both), &server, b"x").await.unwrap(), b"x");
    assert_eq!(elsewhere.asked(), 1);
}

#[tokio::test]
async fn credentials_that_are_not_accepted_are_told_and_in_no_text() {
    let server = Server::start(|_, credentials, _| {
        let echo = format!("you sent {}", credentials.unwrap_or_default());
        match credentials {
            Some(_) => reply(400, &[], echo),
            None => reply(401, &[("www-authenticate", "Basic realm=\"x\"")], ""),
        }
    })
    .await;
    let keys = Keys::for_registry(&server.address);
    let mut settings = quick();
    settings.credentials = vec![keys.source()];
    let access = access(settings, &[&server]);

    let fault = blob(&access, &server, b"x").await.unwrap_err();

    let session = access.session(&server.address).unwrap();
    let texts = format!("{fault} {fault:?} {access:?} {session:?} {:?}", session.passes);
    for secret in ["hunter2", &STANDARD.encode("robot:hunter2")] {
        assert!(!texts.contains(secret), "{texts}");
    }
}

#[tokio::test]
async fn credentials_of_one_registry_are_not_sent_to_another() {
    let server = Server::start(guarded(|_| reply(200, &[], "x"))).await;
    let keys = Keys::for_registry("registry.example.com");
    let mut settings = quick();
    settings.credentials = vec![keys.source()];
    let fault = blob(&access(settings, &[&server]), &server, b"x").await.unwrap_err();
    assert_eq!(fault.reason(), "Unauthorized");
    assert!(server.seen().iter().all(|(_, credentials)| credentials.is_none()));
}

#[tokio::test]
async fn a_mirror_is_asked_first_and_the_registry_where_the_mirror_fails() {
    let mirror = Server::start(|question, _, _| match question.contains("/copies/lz/blobs/") {
        true => reply(200, &[], "x"),
        false => reply(404, &[], ""),
    })
    .await;
    let origin = Server::start(|_, _, _| reply(200, &[], "y")).await;
    let mut settings = quick();
    settings.mirrors = BTreeMap::from([(origin.address.clone(), vec![format!("{}/copies", mirror.address)])]);
    let access = access(settings, &[&mirror, &origin]);

    assert_eq!(blob(&access, &origin, b"x").await.unwrap(), b"x");
    assert_eq!(origin.asked(), 0);
    // What the mirror has is not what was asked for.
    assert_eq!(blob(&access, &origin, b"y").await.unwrap(), b"y");
    assert_eq!(origin.asked(), 1);
}

/// A clock that tells what it is told, and moves it on.
fn told_time() -> (crate::registry::access::Clock, impl Fn(u64)) {
    let begun = std::time::Instant::now();
    let passed = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let told = Arc::clone(&passed);
    let clock = move || begun + Duration::from_secs(told.load(std::sync::atomic::Ordering::SeqCst));
    let pass = move |seconds| {
        passed.fetch_add(seconds, std::sync::atomic::Ordering::SeqCst);
    };
    (Arc::new(clock), pass)
}

/// Access by this clock, with a mirror in front of a registry.
fn mirrored(settings: Settings, mirror: &Server, origin: &Server, clock: crate::registry::access::Clock) -> Access {
    let settings = Settings {
        insecure: listed(&[mirror, origin]),
        mirrors: BTreeMap::from([(origin.address.clone(), vec![mirror.address.clone()])]),
        ..settings
    };
    Access::with_clock(settings, clock)
}

#[tokio::test]
async fn a_mirror_that_does_not_answer_costs_one_try_and_is_left_alone_for_a_minute() {
    type Answer = fn() -> Response<Body>;
    let silent = || {
        let body = Body::from_stream(futures::stream::pending::<Result<Vec<u8>, std::io::Error>>());
        reply(200, &[("content-length", "1")], body)
    };
    let cases: [(&str, u64, Answer); 4] = [
        ("fails", 60, || reply(502, &[], "")),
        ("limits our rate", 60, || reply(429, &[], "")),
        ("wants to be left alone for long", 600, || {
            reply(503, &[("retry-after", "600")], "")
        }),
        ("is silent", 60, silent),
    ];
    for (name, rest, answer) in cases {
        let mirror = Server::start(move |_, _, _| answer()).await;
        let origin = Server::start(|_, _, _| reply(200, &[], "x")).await;
        let mut settings = quick();
        // Long enough for a registry on a busy machine: only the silent mirror is waited for.
        settings.limits.answer = Duration::from_secs(3);
        let (clock, pass) = told_time();
        let access = mirrored(settings, &mirror, &origin, clock);
        for asked in 1..=3 {
            assert_eq!(blob(&access, &origin, b"x").await.unwrap(), b"x", "{name}");
            assert_eq!((mirror.asked(), origin.asked()), (1, asked), "{name}");
        }
        pass(rest - 1);
        blob(&access, &origin, b"x").await.unwrap();
        assert_eq!(mirror.asked(), 1, "{name}");
        pass(1);
        blob(&access, &origin, b"x").await.unwrap();
        // One that says that it wants to be left alone is by the session, too, which has a clock of its own.
        let again = if name == "wants to be left alone for long" {
            1
        } else {
            2
        };
        assert_eq!(mirror.asked(), again, "{name}");
    }
}

#[tokio::test]
async fn nobody_at_the_address_of_a_mirror_is_left_alone_too_and_whoever_answers_is_asked_again() {
    let origin = Server::start(|_, _, _| reply(200, &[], "x")).await;
    let gone = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().to_string()
    };
    let (clock, pass) = told_time();
    let settings = Settings {
        insecure: BTreeSet::from([origin.address.clone(), gone.clone()]),
        mirrors: BTreeMap::from([(origin.address.clone(), vec![gone.clone()])]),
        ..quick()
    };
    let access = Access::with_clock(settings, clock);
    assert!(access.mirror(&gone).is_some());
    assert_eq!(blob(&access, &origin, b"x").await.unwrap(), b"x");
    assert!(access.mirror(&gone).is_none());
    // Also for who has credentials of their own, and not for what it is itself.
    assert!(access.holding("one", Vec::new()).mirror(&gone).is_none());
    assert!(access.session(&gone).is_ok());
    pass(60);
    assert!(access.mirror(&gone).is_some());

    // What answers is there, even where it has something else, or nothing for us.
    for (status, body) in [(404, ""), (401, ""), (403, ""), (200, "another")] {
        let mirror = Server::start(move |_, _, _| reply(status, &[], body)).await;
        let origin = Server::start(|_, _, _| reply(200, &[], "x")).await;
        let (clock, _) = told_time();
        let access = mirrored(quick(), &mirror, &origin, clock);
        for asked in 1..=2 {
            assert_eq!(blob(&access, &origin, b"x").await.unwrap(), b"x", "{status}");
            assert_eq!((mirror.asked(), origin.asked()), (asked, asked), "{status}");
        }
    }
}

#[tokio::test]
async fn a_tag_is_resolved_by_its_header_or_by_its_bytes() {
    let digest = Digest::of(b"manifest");
    for (header, times) in [(Some(digest.clone()), 1), (None, 2)] {
        let header = header.map(|digest| digest.to_string());
        let server = Server::start(move |_, _, _| match &header {
            Some(header) => reply(200, &[("docker-content-digest", header)], "manifest"),
            None => reply(200, &[], "manifest"),
        })
        .await;
        let remote = access(quick(), &[&server]).open(&server.address).unwrap();
        let reference = format!("{}/lz:1", server.address).parse().unwrap();
        assert_eq!(remote.resolve(&reference).await.unwrap(), digest);
        assert_eq!(server.asked(), times);
    }
}

#[tokio::test]
async fn what_refers_to_a_manifest_is_found_under_the_fallback_tag_and_bounded() {
    let subject = Digest::of(b"subject");
    let entry = serde_json::json!({"mediaType": MANIFEST, "digest": Digest::of(b"x"), "size": 1, "annotations": null});
    let entries = vec![entry; MAX_REFERRERS + 50];
    let index = serde_json::json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}).to_string();
    let tag = subject.tag();
    let server = Server::start(move |question, _, _| match question {
        fallback if fallback.ends_with(&tag) => reply(200, &[("content-type", INDEX)], index.clone()),
        _ => reply(404, &[], ""),
    })
    .await;
    let remote = access(quick(), &[&server]).open(&server.address).unwrap();
    let found = remote.referrers(&repository(&server), &subject).await.unwrap();
    assert_eq!(found.len(), MAX_REFERRERS);
    let none = remote
        .referrers(&repository(&server), &Digest::of(b"other"))
        .await
        .unwrap();
    assert_eq!(none, []);
}

/// A registry that keeps no list of referrers: under the fallback tag of `subject` it has this.
async fn without_referrers(subject: &Digest, status: u16, kind: &'static str, listed: String) -> Server {
    let tag = format!("/manifests/{}", subject.tag());
    Server::start(move |question, _, _| match question {
        get if get.starts_with("GET") && get.ends_with(&tag) => {
            reply(status, &[("content-type", kind)], listed.clone())
        }
        put if put.starts_with("PUT") => reply(201, &[], ""),
        _ => reply(404, &[], ""),
    })
    .await
}

/// What was put under the fallback tag of `subject`.
fn put_under(server: &Server, subject: &Digest) -> Vec<String> {
    let begin = format!("PUT /v2/lz/manifests/{} ", subject.tag());
    let seen = server.seen().into_iter();
    seen.filter_map(|(question, _)| Some(question.strip_prefix(&begin)?.to_owned()))
        .collect()
}

async fn refer(server: &Server, subject: &Digest) -> Result<Digest, Fault> {
    let manifest = serde_json::json!({"schemaVersion": 2, "mediaType": MANIFEST, "artifactType": "a/signature",
        "subject": {"mediaType": MANIFEST, "digest": subject, "size": 1}})
    .to_string();
    let at = At::Digest(Digest::of(manifest.as_bytes()));
    let remote = access(quick(), &[server]).open(&server.address).unwrap();
    let repository = repository(server);
    remote
        .push_manifest(&repository, &at, MANIFEST, manifest.as_bytes())
        .await
}

#[tokio::test]
async fn a_long_list_of_referrers_is_added_to_and_nothing_is_lost_from_it() {
    let subject = Digest::of(b"subject");
    let entries: Vec<_> = (0..2 * MAX_REFERRERS)
        .map(|number| {
            serde_json::json!({"mediaType": MANIFEST, "digest": Digest::of(number.to_string().as_bytes()), "size": 1,
                "platform": {"os": "linux"}})
        })
        .collect();
    let listed = serde_json::json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries,
        "annotations": {"kept": "too"}});
    let server = without_referrers(&subject, 200, INDEX, listed.to_string()).await;

    let digest = refer(&server, &subject).await.unwrap();

    let put = put_under(&server, &subject);
    assert_eq!(put.len(), 1);
    let mut put: serde_json::Value = serde_json::from_str(&put[0]).unwrap();
    let new = put["manifests"].as_array_mut().unwrap().pop().unwrap();
    assert_eq!(
        (&new["digest"], &new["artifactType"]),
        (&digest.as_str().into(), &"a/signature".into())
    );
    assert_eq!(put, listed);

    // What is listed is not written again.
    let listed = serde_json::json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [new]});
    let server = without_referrers(&subject, 200, INDEX, listed.to_string()).await;
    refer(&server, &subject).await.unwrap();
    assert_eq!(put_under(&server, &subject), Vec::<String>::new());

    let server = without_referrers(&subject, 404, INDEX, String::new()).await;
    refer(&server, &subject).await.unwrap();
    assert!(put_under(&server, &subject)[0].contains(digest.as_str()));
}

#[tokio::test]
async fn a_list_of_referrers_that_cannot_be_read_whole_is_never_written() {
    let subject = Digest::of(b"subject");
    let large = format!("{{\"manifests\": []}}{}", " ".repeat(1 + MAX_INDEX as usize));
    let filler = "x".repeat(MAX_INDEX as usize - 150);
    let full =
        serde_json::json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [], "annotations": {"x": filler}});
    assert!(full.to_string().len() as u64 <= MAX_INDEX);
    for (status, kind, listed, reason, told) in [
        (200, INDEX, large, "ListKept", "cannot be read whole"),
        (200, INDEX, full.to_string(), "ListKept", "would have more than"),
        (200, INDEX, "{".to_owned(), "ListKept", "it cannot be read"),
        (
            200,
            INDEX,
            r#"{"manifests": {}}"#.to_owned(),
            "ListKept",
            "it cannot be read",
        ),
        (200, MANIFEST, "{}".to_owned(), "ListKept", "no list of referrers"),
        (500, INDEX, String::new(), "RegistryFailed", "status 500"),
        (403, INDEX, String::new(), "Forbidden", "forbids"),
    ] {
        let server = without_referrers(&subject, status, kind, listed).await;
        let fault = refer(&server, &subject).await.unwrap_err();
        assert_eq!(fault.reason(), reason, "{fault}");
        assert!(fault.to_string().contains(told), "{fault}");
        assert_eq!(put_under(&server, &subject), Vec::<String>::new(), "{told}");
    }
}

#[tokio::test]
async fn a_list_of_referrers_is_read_page_by_page_and_not_without_end() {
    let page = |number: usize| {
        let entry = |digest: Digest| serde_json::json!({"mediaType": MANIFEST, "digest": digest, "size": 1});
        let entries: Vec<_> = (0..3)
            .map(|one| entry(Digest::of(format!("{number}-{one}").as_bytes())))
            .collect();
        serde_json::json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}).to_string()
    };
    let subject = Digest::of(b"subject");
    let two = Server::start(move |question, _, times| {
        let link = "</v2/lz/other?n=1>; rel=\"prev\", <?last=3&n=3>; rel=\"next\"";
        match times {
            1 => reply(200, &[("content-type", INDEX), ("link", link)], page(1)),
            _ if question.ends_with("?last=3&n=3") => reply(200, &[("content-type", INDEX)], page(2)),
            _ => reply(500, &[], ""),
        }
    })
    .await;
    let remote = access(quick(), &[&two]).open(&two.address).unwrap();
    let found = remote.referrers(&repository(&two), &subject).await.unwrap();
    let digests: BTreeSet<String> = found.iter().map(|found| found.digest.to_string()).collect();
    assert_eq!((digests.len(), two.asked()), (6, 2));

    let ring = Server::start(move |_, _, _| {
        reply(
            200,
            &[("content-type", INDEX), ("link", "<?again=1>; rel=next")],
            page(1),
        )
    })
    .await;
    let remote = access(quick(), &[&ring]).open(&ring.address).unwrap();
    let found = remote.referrers(&repository(&ring), &subject).await.unwrap();
    assert_eq!((found.len(), ring.asked()), (3 * MAX_PAGES, MAX_PAGES));

    let elsewhere = Server::start(move |_, _, _| {
        let link = [
            ("content-type", INDEX),
            ("link", "<https://elsewhere.invalid/>; rel=\"next\""),
        ];
        reply(200, &link, page(1))
    })
    .await;
    let remote = access(quick(), &[&elsewhere]).open(&elsewhere.address).unwrap();
    let fault = remote.referrers(&repository(&elsewhere), &subject).await.unwrap_err();
    assert_eq!((fault.reason(), elsewhere.asked()), ("Malformed", 1));
}

#[tokio::test]
async fn a_proxy_is_asked_for_what_it_is_not_spared_from() {
    let proxy = Server::start(|_, _, _| reply(200, &[], "x")).await;
    let direct = Server::start(|_, _, _| reply(200, &[], "x")).await;
    let folder = tempfile::tempdir().unwrap();
    let credentials_file = folder.path().join("proxy");
    std::fs::write(&credentials_file, "robot:hunter2\n").unwrap();
    let settings = Settings {
        insecure: BTreeSet::from(["registry.invalid".to_owned(), direct.address.clone()]),
        proxy: Some(Proxy {
            url: format!("http://{}", proxy.address).parse().unwrap(),
            except: vec!["127.0.0.1".to_owned()],
            credentials_file: Some(credentials_file),
        }),
        ..quick()
    };
    let access = Access::new(settings);
    assert!(!format!("{access:?}").contains("hunter2"));

    let digest = Digest::of(b"x");
    let remote = access.open("registry.invalid").unwrap();
    let repository = "registry.invalid/lz".parse().unwrap();
    assert_eq!(remote.blob(&repository, &digest, 64).await.unwrap(), b"x");
    let question = format!("GET http://registry.invalid/v2/lz/blobs/{digest}");
    let credentials = format!("Basic {}", STANDARD.encode("robot:hunter2"));
    assert_eq!(proxy.seen(), [(question, Some(credentials))]);

    assert_eq!(blob(&access, &direct, b"x").await.unwrap(), b"x");
    assert_eq!((proxy.asked(), direct.asked()), (1, 1));
}

/// Takes an upload; the request is answered after `pause`.
async fn taking(pause: Duration) -> Server {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let seen = Seen::default();
    let answering: Answering = Arc::new(|question, _, _| match question {
        head if head.starts_with("HEAD") => reply(404, &[], ""),
        post if post.starts_with("POST") => reply(202, &[("location", "/v2/lz/blobs/uploads/1")], ""),
        put if put.starts_with("PUT /v2/lz/blobs/uploads/1?digest=sha256") => reply(201, &[], ""),
        _ => reply(400, &[], "?"),
    });
    let state = (Arc::clone(&seen), answering);
    let slow = move |request: Request| {
        let state = state.clone();
        async move {
            if request.method() == "PUT" {
                tokio::time::sleep(pause).await;
            }
            handle(State(state), request).await
        }
    };
    let router = Router::new().fallback(slow);
    let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    Server { address, seen, task }
}

#[tokio::test]
async fn an_upload_tells_how_far_it_is() {
    let server = taking(Duration::ZERO).await;
    let remote = access(quick(), &[&server]).open(&server.address).unwrap();
    let told = Arc::new(Mutex::new(Vec::new()));
    let tell: crate::registry::remote::Sent = {
        let told = Arc::clone(&told);
        Arc::new(move |sent| told.lock().unwrap().push(sent))
    };
    let bytes = vec![b'x'; 1_000_000];
    let digest = remote.push_blob_told(&repository(&server), &bytes, tell).await.unwrap();
    assert_eq!(digest, Digest::of(&bytes));
    assert_eq!(*told.lock().unwrap(), [262_144, 524_288, 786_432, 1_000_000]);
    let (put, _) = server.seen().pop().unwrap();
    assert!(
        put.ends_with(std::str::from_utf8(&bytes).unwrap()),
        "it came as a whole"
    );
}

#[test]
fn an_upload_has_the_time_that_a_slow_line_needs() {
    assert_eq!(Limits::uploading(0), Duration::ZERO);
    let seconds = Limits::uploading(35 << 20).as_secs();
    assert!(seconds >= 500, "{seconds}");
}

#[tokio::test]
async fn a_registry_that_wants_to_be_left_alone_is_not_asked_by_other_questions_either() {
    for status in [429, 503] {
        let server = Server::start(move |_, _, _| reply(status, &[("retry-after", "3600")], "")).await;
        let access = access(quick(), &[&server]);
        for _ in 0..3 {
            let fault = blob(&access, &server, b"x").await.unwrap_err();
            let wish = fault.retry_after().unwrap().as_secs();
            assert!((3000..=3600).contains(&wish), "{fault:?}");
        }
        assert_eq!(server.asked(), 1, "{status}");
    }
}

#[tokio::test]
async fn a_credential_that_a_registry_or_its_token_server_repeats_is_in_no_text_whatever_its_form() {
    let forms = [
        "hunter2",
        "robot:hunter2",
        &STANDARD.encode("robot:hunter2"),
        "t0p-s3cret",
    ];
    for form in forms {
        // A registry that asks for a token, and repeats what the token was got with, or the token.
        let said = form.to_owned();
        let address = Arc::new(Mutex::new(String::new()));
        let own = Arc::clone(&address);
        let server = Server::start(move |question, credentials, _| match credentials {
            Some(_) if question.starts_with("GET /token?") => {
                reply(200, &[], r#"{"token": "t0p-s3cret", "expires_in": 300}"#)
            }
            Some(_) => reply(400, &[], format!("you sent {said}")),
            None => {
                let realm = REALM.replace("HOST", &own.lock().unwrap());
                reply(401, &[("www-authenticate", &realm)], "")
            }
        })
        .await;
        address.lock().unwrap().clone_from(&server.address);
        let keys = Keys::for_registry(&server.address);
        let mut settings = quick();
        settings.credentials = vec![keys.source()];
        let access_of = access(settings.clone(), &[&server]);
        let mut texts = Vec::new();
        // By a fresh token, and by the one that is known.
        for _ in 0..2 {
            let fault = blob(&access_of, &server, b"x").await.unwrap_err();
            assert!(fault.to_string().contains("repeats a credential"), "{form}: {fault}");
            texts.push(format!("{fault} {fault:?} {access_of:?}"));
        }

        // A token server that repeats what it was sent.
        let said = form.to_owned();
        let address = Arc::new(Mutex::new(String::new()));
        let own = Arc::clone(&address);
        let server = Server::start(move |question, _, _| {
            if question.starts_with("GET /token?") {
                return reply(418, &[], format!("you sent {said}"));
            }
            let realm = REALM.replace("HOST", &own.lock().unwrap());
            reply(401, &[("www-authenticate", &realm)], "")
        })
        .await;
        address.lock().unwrap().clone_from(&server.address);
        let keys = Keys::for_registry(&server.address);
        settings.credentials = vec![keys.source()];
        let access = access(settings, &[&server]);
        let fault = blob(&access, &server, b"x").await.unwrap_err();
        assert!(matches!(fault, Fault::Refused { status: 418, .. }), "{fault:?}");
        texts.push(format!("{fault} {fault:?}"));
        // It never had the token.
        for text in texts {
            assert!(form == "t0p-s3cret" || !text.contains(form), "{text}");
            assert!(!text.contains("hunter2"), "{text}");
        }
    }
}

#[tokio::test]
async fn a_redirect_that_repeats_a_credential_does_not_tell_where_it_leads() {
    let server = Server::start(guarded(|_| {
        reply(302, &[("location", "http://hunter2.example.com/")], "")
    }))
    .await;
    let keys = Keys::for_registry(&server.address);
    let mut settings = quick();
    settings.credentials = vec![keys.source()];
    let fault = blob(&access(settings, &[&server]), &server, b"x").await.unwrap_err();
    assert_eq!(fault.reason(), "BadRedirect");
    assert!(!fault.to_string().contains("hunter2"), "{fault}");
}

#[tokio::test]
async fn what_a_registry_redirects_to_is_not_quoted() {
    let other = Server::start(|_, _, _| reply(400, &[], "the key of the cloud is hunter2")).await;
    let to = format!("http://{}/", other.address);
    let server = Server::start(move |_, _, _| reply(307, &[("location", &to)], "")).await;
    let fault = blob(&access(quick(), &[&server, &other]), &server, b"x")
        .await
        .unwrap_err();
    assert!(matches!(fault, Fault::Refused { status: 400, .. }), "{fault:?}");
    assert!(!fault.to_string().contains("hunter2"), "{fault}");
}

#[tokio::test]
async fn a_slow_upload_succeeds_where_an_answer_would_be_given_up() {
    let server = taking(Duration::from_secs(3)).await;
    let mut settings = quick();
    settings.limits.answer = Duration::from_secs(2);
    let remote = access(settings, &[&server]).open(&server.address).unwrap();
    let bytes = vec![b'x'; 1_000_000];
    remote.push_blob(&repository(&server), &bytes).await.unwrap();
    let puts = server
        .seen()
        .iter()
        .filter(|(question, _)| question.starts_with("PUT"))
        .count();
    assert_eq!(puts, 1, "the first try succeeds");
}
