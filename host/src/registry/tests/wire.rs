//! Registries that misbehave on the wire: through the real session and the whole chain.

use axum::{Router, body::Body, extract::State, http::Request, response::Response};
use futures::{StreamExt as _, stream};

use super::{checks::check, *};
use crate::registry::{
    access::{self, Access, Limits},
    layout::Packed,
    session::Retries,
};

/// What the registry answers instead of what it should; none where it behaves.
type Misbehave = fn(&Artifact, &str) -> Option<Response>;

/// A good plugin, and how the registry that has it misbehaves.
struct Artifact {
    packed: Packed,
    layer: Vec<u8>,
    misbehave: Misbehave,
}

impl Artifact {
    fn answer(&self, question: &str) -> Response {
        if let Some(response) = (self.misbehave)(self, question) {
            return response;
        }
        let manifest = [format!("manifests/{}", self.packed.digest), "manifests/1".to_owned()];
        if manifest.iter().any(|path| question.ends_with(path)) {
            let digest = self.packed.digest.as_str();
            reply(
                200,
                &[("content-type", MANIFEST), ("docker-content-digest", digest)],
                self.packed.manifest.clone(),
            )
        } else if question.ends_with(Digest::of(&self.packed.config).as_str()) {
            reply(200, &[], self.packed.config.clone())
        } else if self.is_layer(question) {
            reply(200, &[], self.layer.clone())
        } else {
            reply(404, &[], "")
        }
    }

    fn is_layer(&self, question: &str) -> bool {
        question.ends_with(self.packed.component.as_str())
    }
}

fn reply(status: u16, headers: &[(&str, &str)], body: impl Into<Body>) -> Response {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    response.body(body.into()).unwrap()
}

/// Bytes without end, of no announced length.
fn endless() -> Body {
    Body::from_stream(stream::repeat_with(|| Ok::<_, std::io::Error>(vec![b' '; 64 << 10])))
}

/// Some bytes, then none, and no end.
fn stuck(bytes: &[u8]) -> Body {
    let first = stream::iter([Ok::<_, std::io::Error>(bytes.to_vec())]);
    Body::from_stream(first.chain(stream::pending()))
}

const CASES: &[(&str, &str, Misbehave)] = &[
    ("behaves", "", |_, _| None),
    ("hangs with the manifest", "time", |_, question| {
        question.contains("manifests").then(|| reply(200, &[], stuck(b"{")))
    }),
    ("hangs in the middle of the layer", "time", |artifact, question| {
        let half = &artifact.layer[..artifact.layer.len() / 2];
        artifact.is_layer(question).then(|| reply(200, &[], stuck(half)))
    }),
    ("redirects in a ring", "redirects end", |artifact, question| {
        let to = format!("/v2/partners/lz/blobs/{}", artifact.packed.component);
        artifact
            .is_layer(question)
            .then(|| reply(307, &[("location", &to)], ""))
    }),
    (
        "redirects to a host of its choice",
        "redirects lead to where we go",
        |artifact, question| {
            let to = "http://127.0.0.2:1/latest/meta-data";
            artifact.is_layer(question).then(|| reply(307, &[("location", to)], ""))
        },
    ),
    ("sends a layer without end", "bytes of a blob", |artifact, question| {
        artifact.is_layer(question).then(|| reply(200, &[], endless()))
    }),
    (
        "sends a manifest without end",
        "bytes of the manifest",
        |_, question| {
            (question.starts_with("GET") && question.contains("manifests/sha256:"))
                .then(|| reply(200, &[("content-type", MANIFEST)], endless()))
        },
    ),
    ("ends the layer early", "digest of a blob", |artifact, question| {
        let half = artifact.layer[..artifact.layer.len() / 2].to_vec();
        artifact.is_layer(question).then(|| reply(200, &[], half))
    }),
    ("swaps the layer", "digest of a blob", |artifact, question| {
        artifact.is_layer(question).then(|| reply(200, &[], sample("evil")))
    }),
    ("swaps the manifest", "digest of the manifest", |_, question| {
        let evil = pack(&sample("evil")).unwrap().manifest;
        question
            .contains("manifests/sha256:")
            .then(|| reply(200, &[("content-type", MANIFEST)], evil))
    }),
    ("tells another digest than it has", "it is there", |_, question| {
        let digest = Digest::of(b"another");
        let headers = [("content-type", MANIFEST), ("docker-content-digest", digest.as_str())];
        question.starts_with("HEAD").then(|| reply(200, &headers, ""))
    }),
    ("fails", "the registry works", |_, _| Some(reply(503, &[], "down"))),
    (
        "limits the rate for an hour",
        "the rate is not limited for long",
        |_, _| Some(reply(429, &[("retry-after", "3600")], "")),
    ),
    ("does not do it", "the registry does what it is asked for", |_, _| {
        Some(reply(418, &[], "no"))
    }),
    ("wants to know who asks", "we are let in", |_, _| {
        Some(reply(401, &[], ""))
    }),
    (
        "breaks off without a length",
        "the connection holds",
        |artifact, question| {
            let broken = Body::from_stream(stream::iter([Ok(b"a".to_vec()), Err(std::io::Error::other("gone"))]));
            artifact.is_layer(question).then(|| reply(200, &[], broken))
        },
    ),
    (
        "sends a redirect to nowhere",
        "an answer of a registry",
        |artifact, question| artifact.is_layer(question).then(|| reply(307, &[], "")),
    ),
    ("speaks no TLS", "TLS", |_, _| None),
    ("forbids it", "we may pull", |_, _| Some(reply(403, &[], ""))),
];

/// The checks that have a case here.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    CASES
        .iter()
        .map(|(_, check, _)| *check)
        .filter(|check| !check.is_empty())
}

#[tokio::test]
async fn every_registry_that_misbehaves_is_refused_within_its_time() {
    let mut wrong = Vec::new();
    for (name, expected, misbehave) in CASES {
        let layer = sample("good");
        let artifact = Artifact {
            packed: pack(&layer).unwrap(),
            layer,
            misbehave: *misbehave,
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let answer = async |State(artifact): State<Arc<Artifact>>, request: Request<Body>| {
            artifact.answer(&format!("{} {}", request.method(), request.uri()))
        };
        let router = Router::new().fallback(answer).with_state(Arc::new(artifact));
        let server = tokio::spawn(async move { axum::serve(listener, router).await });
        let access = Access::new(access::Settings {
            insecure: [address.clone()].into_iter().filter(|_| *expected != "TLS").collect(),
            limits: Limits {
                total: Duration::from_secs(2),
                answer: Duration::from_secs(1),
                ..Limits::default()
            },
            retries: Retries {
                attempts: 2,
                base: Duration::from_millis(1),
                longest: Duration::from_millis(2),
                patience: Duration::from_secs(1),
            },
            ..access::Settings::default()
        });
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings {
            allow: vec![Allow::Everything],
            deadline: Duration::from_secs(20),
            ..Settings::new(folder.path().to_owned())
        };
        let registry = Registry::new(settings, Arc::new(access)).unwrap();
        let reference: Reference = format!("{address}/partners/lz:1").parse().unwrap();
        let told = match registry.fetch(&reference).await {
            Ok(fetched) => {
                assert_eq!(fetched.plugin.bytes, sample("good"));
                ""
            }
            Err(error) => check(&error),
        };
        if told != *expected {
            wrong.push(format!("a registry that {name}: {told:?}, not {expected:?}"));
        }
        server.abort();
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
