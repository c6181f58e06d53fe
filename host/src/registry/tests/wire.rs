//! Registries that misbehave on the wire: through the real session and the whole chain.

use std::time::Instant;

use axum::{Router, body::Body, extract::State, http::Request, response::Response};
use futures::{StreamExt as _, stream};

use super::{bombs, checks::check, *};
use crate::registry::{
    access::{self, Access, Limits},
    check::Check,
    layout::Packed,
    session::Retries,
};

/// What the registry answers instead of what it should; none where it behaves.
pub(super) type Misbehave = fn(&Artifact, &str) -> Option<Response>;

/// A good plugin, and how the registry that has it misbehaves.
pub(super) struct Artifact {
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

/// Some bytes, then a broken connection.
fn broken(bytes: &[u8]) -> Body {
    let first = stream::iter([Ok(bytes.to_vec())]);
    let gone = stream::once(async {
        // The server sends what it has before it waits.
        tokio::task::yield_now().await;
        Err(std::io::Error::other("gone"))
    });
    Body::from_stream(first.chain(gone))
}

/// Some bytes, then none, and no end.
fn stuck(bytes: &[u8]) -> Body {
    let first = stream::iter([Ok::<_, std::io::Error>(bytes.to_vec())]);
    Body::from_stream(first.chain(stream::pending()))
}

/// What becomes of a plugin whose registry misbehaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// It is pulled.
    Good,
    /// A check refuses it.
    By(Check),
    /// The registry says no, or nothing: told by this reason.
    Told(&'static str),
}

use Outcome::{By, Good, Told};

const CASES: &[(&str, Outcome, Misbehave)] = &[
    ("behaves", Good, |_, _| None),
    // What is checked.
    (
        "announces a layer of more bytes than it should have",
        By(Check::AnswerAnnounced),
        |artifact, question| {
            let long = [artifact.layer.as_slice(), b"more"].concat();
            artifact.is_layer(question).then(|| reply(200, &[], long))
        },
    ),
    (
        "sends a layer of more bytes than it should have",
        By(Check::AnswerBytes),
        |artifact, question| {
            let long = [artifact.layer.as_slice(), b"more"].concat();
            // In pieces, no length is announced.
            let pieces = stream::iter([Ok::<_, std::io::Error>(long)]);
            artifact
                .is_layer(question)
                .then(|| reply(200, &[], Body::from_stream(pieces)))
        },
    ),
    (
        "breaks off before the layer is whole",
        By(Check::AnswerWhole),
        |artifact, question| {
            let length = artifact.layer.len().to_string();
            let headers = [("content-length", length.as_str())];
            artifact
                .is_layer(question)
                .then(|| reply(200, &headers, broken(&artifact.layer[..8])))
        },
    ),
    ("encodes the layer for its way", By(Check::AnswerPlain), bomb),
    ("swaps the manifest", By(Check::AnsweredManifest), |_, question| {
        let evil = pack(&sample("evil")).unwrap().manifest;
        question
            .contains("manifests/sha256:")
            .then(|| reply(200, &[("content-type", MANIFEST)], evil))
    }),
    ("swaps the layer", By(Check::AnsweredBlob), |artifact, question| {
        artifact.is_layer(question).then(|| reply(200, &[], sample("evil")))
    }),
    ("redirects in a ring", By(Check::RedirectsEnd), |artifact, question| {
        let to = format!("/v2/partners/lz/blobs/{}", artifact.packed.component);
        artifact
            .is_layer(question)
            .then(|| reply(307, &[("location", &to)], ""))
    }),
    (
        "sends a redirect to nowhere",
        By(Check::RedirectGiven),
        |artifact, question| artifact.is_layer(question).then(|| reply(307, &[], "")),
    ),
    (
        "redirects to a host of its choice",
        By(Check::RedirectTarget),
        |artifact, question| {
            let to = "http://127.0.0.2:1/latest/meta-data";
            artifact.is_layer(question).then(|| reply(307, &[("location", to)], ""))
        },
    ),
    // What ends by a bound that a case above has with fewer bytes.
    (
        "sends a layer without end",
        By(Check::AnswerBytes),
        |artifact, question| artifact.is_layer(question).then(|| reply(200, &[], endless())),
    ),
    ("sends a manifest without end", By(Check::AnswerBytes), |_, question| {
        (question.starts_with("GET") && question.contains("manifests/sha256:"))
            .then(|| reply(200, &[("content-type", MANIFEST)], endless()))
    }),
    // What a registry says, or that it says nothing.
    ("hangs with the manifest", Told("TimedOut"), |_, question| {
        question.contains("manifests").then(|| reply(200, &[], stuck(b"{")))
    }),
    (
        "hangs in the middle of the layer",
        Told("TimedOut"),
        |artifact, question| {
            let half = &artifact.layer[..artifact.layer.len() / 2];
            artifact.is_layer(question).then(|| reply(200, &[], stuck(half)))
        },
    ),
    ("has no config", Told("NotFound"), |artifact, question| {
        question
            .ends_with(Digest::of(&artifact.packed.config).as_str())
            .then(|| reply(404, &[], ""))
    }),
    ("tells another digest than it has", Told("NotFound"), |_, question| {
        let digest = Digest::of(b"another");
        let headers = [("content-type", MANIFEST), ("docker-content-digest", digest.as_str())];
        question.starts_with("HEAD").then(|| reply(200, &headers, ""))
    }),
    ("fails", Told("RegistryFailed"), |_, _| Some(reply(503, &[], "down"))),
    ("limits the rate for an hour", Told("RateLimited"), |_, _| {
        Some(reply(429, &[("retry-after", "3600")], ""))
    }),
    ("does not do it", Told("RegistryRefused"), |_, _| {
        Some(reply(418, &[], "no"))
    }),
    ("wants to know who asks", Told("Unauthorized"), |_, _| {
        Some(reply(401, &[], ""))
    }),
    ("forbids it", Told("Forbidden"), |_, _| Some(reply(403, &[], ""))),
    (
        "breaks off without a length",
        Told("Unreachable"),
        |artifact, question| artifact.is_layer(question).then(|| reply(200, &[], broken(b"a"))),
    ),
    ("speaks no TLS", Told("Tls"), |_, _| None),
];

/// Sends a bomb for a layer that is encoded for its way. In pieces, no length is announced.
pub(super) fn bomb(artifact: &Artifact, question: &str) -> Option<Response> {
    let pieces = || stream::iter([Ok::<_, std::io::Error>(bombs::LARGE.clone())]);
    let encoded = [("content-encoding", "gzip")];
    artifact
        .is_layer(question)
        .then(|| reply(200, &encoded, Body::from_stream(pieces())))
}

/// Pulls from a registry that misbehaves so. What comes of it is told elsewhere.
pub(super) async fn answers(misbehave: Misbehave) {
    pulled(Good, misbehave, LONG).await;
}

/// The checks that have a case here: the first of each.
pub(super) fn checks() -> impl Iterator<Item = Check> {
    let first = CASES
        .iter()
        .take_while(|(name, _, _)| *name != "sends a layer without end");
    first.filter_map(|(_, outcome, _)| match outcome {
        By(check) => Some(*check),
        Good | Told(_) => None,
    })
}

/// What comes of pulling from such a registry, and in which words.
async fn pulled(outcome: Outcome, misbehave: Misbehave, patience: Duration) -> (Outcome, String) {
    let layer = sample("good");
    let artifact = Artifact {
        packed: pack(&layer).unwrap(),
        layer,
        misbehave,
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let answer = async |State(artifact): State<Arc<Artifact>>, request: Request<Body>| {
        artifact.answer(&format!("{} {}", request.method(), request.uri()))
    };
    let router = Router::new().fallback(answer).with_state(Arc::new(artifact));
    let server = tokio::spawn(async move { axum::serve(listener, router).await });
    let insecure = [address.clone()].into_iter().filter(|_| outcome != Told("Tls"));
    let access = Access::new(access::Settings {
        insecure: insecure.collect(),
        limits: Limits {
            total: 2 * patience,
            answer: patience,
            ..Limits::default()
        },
        retries: Retries {
            attempts: 2,
            base: Duration::from_millis(1),
            longest: Duration::from_millis(2),
            patience,
        },
        ..access::Settings::default()
    });
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings {
        allow: vec![Allow::Everything],
        deadline: DEADLINE,
        ..Settings::new(folder.path().to_owned())
    };
    let registry = Registry::new(settings, Arc::new(access)).unwrap();
    let reference: Reference = format!("{address}/partners/lz:1").parse().unwrap();
    let began = Instant::now();
    let fetched = registry.fetch(&reference).await;
    assert!(began.elapsed() < DEADLINE * 2, "{:?}", began.elapsed());
    server.abort();
    match fetched {
        Ok(fetched) => {
            assert_eq!(fetched.plugin.bytes, sample("good"));
            (Good, String::new())
        }
        Err(error) => {
            let told = chain(&error).replace(&address, "registry");
            (check(&error).map_or(Told(error.reason()), By), told)
        }
    }
}

/// All steps of a pull together.
const DEADLINE: Duration = Duration::from_secs(60);

/// How long an answer is waited for that never comes.
const SHORT: Duration = Duration::from_secs(1);
/// How long any other: the machine of a test may be busy.
const LONG: Duration = Duration::from_secs(20);

#[tokio::test]
async fn every_registry_that_misbehaves_is_refused_within_its_time() {
    let mut wrong = Vec::new();
    for (name, expected, misbehave) in CASES {
        let patience = if *expected == Told("TimedOut") { SHORT } else { LONG };
        let (outcome, told) = pulled(*expected, *misbehave, patience).await;
        if outcome != *expected {
            wrong.push(format!("a registry that {name}: {outcome:?}, not {expected:?}: {told}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Each of these refusals has a check of its own, so no other can be changed by removing one.
#[tokio::test]
async fn every_check_of_an_answer_is_needed() {
    let mut wrong = Vec::new();
    for removed in checks() {
        let of_it = |(_, outcome, _): &&(&str, Outcome, Misbehave)| *outcome == By(removed);
        let (name, outcome, misbehave) = CASES.iter().find(of_it).unwrap();
        let with = pulled(*outcome, *misbehave, LONG).await;
        let _without = removed.removed();
        // What no check ends is ended by time.
        let without = pulled(*outcome, *misbehave, SHORT).await;
        if with == without {
            wrong.push(format!("a registry that {name}: {without:?} without {removed:?} too"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
