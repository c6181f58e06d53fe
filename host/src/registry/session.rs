//! A session with one registry, by the OCI distribution protocol.
//!
//! Spoken with reqwest and not with oci-client. That one has no limit for the bytes of a manifest, an
//! error or a token; follows redirects by the library's rules, and a client certificate with
//! them; sends the password to any token server that the registry names, over plain HTTP too;
//! knows no identity tokens; never asks again; and puts addresses with their signatures into
//! errors. With those calls made here, nothing is left that it would do.
//!
//! # Guarantees
//! - Every answer is bounded in bytes before and while it is read, and every question in time,
//!   with all its redirects, log-ins and retries.
//! - Bytes that are handed out have the digest that was asked for.
//! - Credentials go to the registry's own address, and to a token server at home with it. Once a
//!   redirect has left the registry, they are not sent again, not even back to it.
//! - No credential is in an error, a log or debug output, even if the registry or its token server repeats it.
//! - What the registry redirects to is not on this machine or its link, unless the registry is, and is not quoted.
//! - When the registry wants to be asked again is obeyed by every question of the session.

mod exchange;
mod login;
mod place;
mod push;
mod retry;
mod upload;

use std::{collections::HashSet, fmt, future::Future, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use reqwest::{
    Method,
    header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE, LINK, LOCATION},
};
use serde::Deserialize;
use url::Url;

use super::{
    access::{Authenticate, Clients, Credentials, Limits, Secret, Secrets},
    check::Check,
    remote::{At, Descriptor, Digest, Fault, INDEX, MAX_REFERRERS, Manifest, Reference, Remote, Repository, Sent},
};
use exchange::{Answer, Whose};
use login::{Pass, Passes, Scope};
pub(crate) use place::{Place, authority};
pub use retry::Retries;
use retry::Wish;
use upload::Outgoing;

/// Manifests that are asked for. Lists of docker's older kind are told apart from them by their type.
const ACCEPTED: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, \
     application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json";
/// So often a question is redirected at most.
const MAX_REDIRECTS: usize = 5;
/// No list of what refers to a manifest is longer, in bytes.
const MAX_INDEX: u64 = 4 << 20;
/// At most so many pages of such a list are read.
const MAX_PAGES: usize = 32;
/// All pages of such a list together, in bytes.
const MAX_PAGES_BYTES: u64 = 16 << 20;
/// Where a registry tells the digest of what it sends.
const DIGEST_HEADER: &str = "docker-content-digest";

/// A session with one registry.
pub(crate) struct Session {
    place: Place,
    clients: Clients,
    purse: Arc<dyn Authenticate>,
    passes: Passes,
    limits: Limits,
    retries: Retries,
    wish: Wish,
}

impl fmt::Debug for Session {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.debug_struct("Session")
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

/// One question to the registry.
#[derive(Clone)]
struct Question<'a> {
    repository: &'a Repository,
    method: Method,
    url: Url,
    accept: Option<&'static str>,
    content_type: Option<&'a str>,
    body: Option<Bytes>,
    /// Is told how much of the body is on its way.
    sent: Option<Sent>,
    /// The most bytes of the answer.
    max: u64,
    /// What is asked for, for errors.
    what: String,
}

impl<'a> Question<'a> {
    fn get(repository: &'a Repository, url: Url, max: u64, what: String) -> Self {
        Self {
            repository,
            method: Method::GET,
            url,
            accept: None,
            content_type: None,
            body: None,
            sent: None,
            max,
            what,
        }
    }

    fn scope(&self) -> Scope {
        let reads = matches!(self.method, Method::GET | Method::HEAD);
        Scope {
            path: self.repository.path.clone(),
            actions: if reads { "pull" } else { "pull,push" },
        }
    }
}

impl Session {
    pub(crate) fn new(
        place: Place,
        clients: Clients,
        purse: Arc<dyn Authenticate>,
        limits: Limits,
        retries: Retries,
    ) -> Self {
        Self {
            place,
            clients,
            purse,
            passes: Passes::default(),
            limits,
            retries,
            wish: Wish::default(),
        }
    }

    /// The registry's address.
    pub(crate) fn base(&self) -> &Url {
        &self.place.base
    }

    /// Asks for nothing but an answer, with a log-in for the repository if the registry wants one.
    pub(crate) async fn greet(&self, repository: &Repository) -> Result<(), Fault> {
        let url = self.url("v2/")?;
        let question = Question::get(repository, url, MAX_INDEX, "version 2 of the protocol".to_owned());
        self.bounded(async { self.ask(&question).await.map(drop) }).await
    }

    fn url(&self, path: &str) -> Result<Url, Fault> {
        // Paths are made of parts that `Repository`, `At` and `Digest` have checked.
        self.place.base.join(path).map_err(|_| Fault::Malformed {
            message: "an address cannot be made".to_owned(),
        })
    }

    /// Ends whatever takes longer than a question may.
    async fn bounded<T>(&self, work: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
        self.bounded_for(0, work).await
    }

    /// The same where so many bytes are uploaded.
    async fn bounded_for<T>(&self, bytes: usize, work: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
        let limit = self.limits.total + Limits::uploading(bytes);
        match tokio::time::timeout(limit, work).await {
            Ok(done) => done,
            Err(_) => Err(Fault::TimedOut {
                registry: self.place.registry.clone(),
                limit,
            }),
        }
    }

    /// Asks until there is a welcome answer, or no hope for one.
    async fn ask(&self, question: &Question<'_>) -> Result<Answer, Fault> {
        let registry = self.place.registry.as_str();
        retry::again(&self.retries, registry, &question.what, || async {
            self.wish.obeyed(registry, self.retries.patience).await?;
            self.attempt(question).await.inspect_err(|fault| self.wish.note(fault))
        })
        .await
    }

    /// Asks once: with redirects, and a log-in if one is asked for.
    async fn attempt(&self, question: &Question<'_>) -> Result<Answer, Fault> {
        let scope = question.scope();
        let mut pass = self.passes.get(&scope).await;
        let mut secrets = Secrets::default();
        let uploaded = question.body.as_ref().map_or(0, Bytes::len);
        let limit = self.limits.answer + Limits::uploading(uploaded);
        let mut logged_in = false;
        let mut url = question.url.clone();
        let mut been = HashSet::new();
        let mut at_home = self.place.is_own(&url);
        loop {
            if let Some(pass) = &pass {
                secrets.extend(&pass.secrets);
            }
            let shown_pass = pass.as_ref().filter(|_| at_home).map(|pass| &pass.header);
            let request = self.request(question, url.clone(), at_home, shown_pass);
            let what = question.what.as_str();
            let mut answer =
                exchange::read(request, &self.place, question.max, what, limit, self.limits.answer).await?;
            match answer.status.as_u16() {
                200..=299 => {
                    answer.forget_type_that_repeats(&secrets);
                    return Ok(answer);
                }
                401 if at_home && !logged_in => {
                    logged_in = true;
                    self.passes.forget(&scope).await;
                    pass = Some(self.log_in(question.repository, &answer, &scope).await?);
                }
                301 | 302 | 303 | 307 | 308 if matches!(question.method, Method::GET | Method::HEAD) => {
                    let location = answer.header(LOCATION.as_str());
                    if Check::RedirectGiven.finds(location.is_none()) {
                        return Err(Fault::Malformed {
                            message: "a redirect leads nowhere".to_owned(),
                        });
                    }
                    let to = self.place.redirect(&url, location.unwrap_or_default(), &secrets)?;
                    let looped = !been.insert(std::mem::replace(&mut url, to)) || been.contains(&url);
                    if Check::RedirectsEnd.finds(looped || been.len() > MAX_REDIRECTS) {
                        return Err(Fault::RedirectLoop {
                            registry: self.place.registry.clone(),
                        });
                    }
                    at_home &= self.place.is_own(&url);
                }
                _ => {
                    let whose = if at_home { Whose::Own } else { Whose::Others };
                    return Err(exchange::fault(&answer, &self.place, what, &secrets, whose));
                }
            }
        }
    }

    fn request(
        &self,
        question: &Question<'_>,
        url: Url,
        at_home: bool,
        pass: Option<&Secret>,
    ) -> reqwest::RequestBuilder {
        let client = if at_home {
            &self.clients.own
        } else {
            &self.clients.other
        };
        let mut request = client
            .request(question.method.clone(), url)
            // What was packed for the way would have another digest.
            .header(ACCEPT_ENCODING, "identity");
        if let Some(accept) = question.accept {
            request = request.header(ACCEPT, accept);
        }
        if let Some(content_type) = question.content_type {
            request = request.header(CONTENT_TYPE, content_type);
        }
        if let Some(body) = &question.body {
            request = match &question.sent {
                Some(sent) => request.body(reqwest::Body::wrap(Outgoing::new(body.clone(), Arc::clone(sent)))),
                None => request.body(body.clone()),
            };
        }
        match pass {
            Some(pass) => login::with(request, pass),
            None => request,
        }
    }

    async fn log_in(&self, repository: &Repository, answer: &Answer, scope: &Scope) -> Result<Pass, Fault> {
        let challenge = login::challenge(&answer.headers).ok_or_else(|| Fault::Unauthorized {
            registry: self.place.registry.clone(),
        })?;
        let credentials: Credentials =
            self.purse
                .credentials(repository)
                .await
                .map_err(|error| Fault::Misconfigured {
                    registry: self.place.registry.clone(),
                    source: error.into(),
                })?;
        let limit = self.limits.answer;
        let pass = login::answer(&self.place, &self.clients, challenge, &credentials, scope, limit).await?;
        self.passes.put(scope.clone(), pass.clone()).await;
        Ok(pass)
    }

    async fn read_manifest(&self, repository: &Repository, at: &At, max: u64) -> Result<Manifest, Fault> {
        let url = self.url(&format!("v2/{}/manifests/{at}", repository.path))?;
        let what = format!("manifest `{at}` in `{repository}`");
        let mut question = Question::get(repository, url, max, what);
        question.accept = Some(ACCEPTED);
        let answer = self.ask(&question).await?;
        let digest = Digest::of(&answer.body);
        let told = answer.header(DIGEST_HEADER).and_then(|told| told.parse().ok());
        let expected = match at {
            At::Digest(expected) => Some(expected.clone()),
            At::Tag(_) => told,
        };
        if let Some(expected) = expected.filter(|expected| Check::AnsweredManifest.finds(*expected != digest)) {
            return Err(Fault::DigestMismatch {
                what: question.what,
                expected,
                got: digest,
            });
        }
        let media_type = answer.header(CONTENT_TYPE.as_str()).unwrap_or_default();
        let media_type = media_type.split(';').next().unwrap_or_default().trim().to_owned();
        Ok(Manifest {
            media_type,
            digest,
            bytes: answer.body,
        })
    }

    /// Where a list goes on, if it does: at the registry's own address only.
    fn next_page(&self, from: &Url, answer: &Answer) -> Result<Option<Url>, Fault> {
        let Some(link) = answer.header(LINK.as_str()).and_then(next_of) else {
            return Ok(None);
        };
        let next = from.join(link).ok().filter(|next| self.place.is_own(next));
        next.map(Some).ok_or_else(|| Fault::Malformed {
            message: "a list goes on at another address".to_owned(),
        })
    }

    /// What is under the fallback tag, whole; none if there is nothing.
    async fn fallback(&self, repository: &Repository, digest: &Digest) -> Result<Option<Manifest>, Fault> {
        match self.read_manifest(repository, &At::Tag(digest.tag()), MAX_INDEX).await {
            Ok(manifest) => Ok(Some(manifest)),
            Err(Fault::NotFound { .. }) => Ok(None),
            Err(fault) => Err(fault),
        }
    }
}

/// The target of `<…>; rel="next"` in a `Link` header.
fn next_of(header: &str) -> Option<&str> {
    header.split(',').find_map(|link| {
        let (target, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
        let mut parameters = parameters.split(';').map(str::trim);
        parameters
            .any(|one| one == "rel=next" || one == "rel=\"next\"")
            .then_some(target)
    })
}

#[derive(Deserialize)]
struct Index {
    manifests: Vec<Descriptor>,
}

fn descriptors(index: &[u8]) -> Result<Vec<Descriptor>, Fault> {
    let index: Index = serde_json::from_slice(index).map_err(|error| Fault::Malformed {
        message: format!(
            "the list of what refers to a manifest is no index (line {}, column {})",
            error.line(),
            error.column()
        ),
    })?;
    Ok(index.manifests)
}

#[async_trait]
impl Remote for Session {
    async fn resolve(&self, reference: &Reference) -> Result<Digest, Fault> {
        let at = reference.at();
        let tag = match &at {
            At::Digest(digest) => return Ok(digest.clone()),
            At::Tag(tag) => tag,
        };
        let repository = &reference.repository;
        self.bounded(async {
            let url = self.url(&format!("v2/{}/manifests/{tag}", repository.path))?;
            let what = format!("tag `{tag}` in `{repository}`");
            let mut question = Question::get(repository, url, MAX_INDEX, what);
            question.method = Method::HEAD;
            // The length is told of what is not sent.
            question.max = u64::MAX;
            question.accept = Some(ACCEPTED);
            let told = match self.ask(&question).await {
                Ok(answer) => answer.header(DIGEST_HEADER).and_then(|told| told.parse().ok()),
                // Not every registry, or proxy before one, answers this question.
                Err(Fault::Refused { status: 405, .. }) => None,
                Err(fault) => return Err(fault),
            };
            match told {
                Some(digest) => Ok(digest),
                None => Ok(self.read_manifest(repository, &at, MAX_INDEX).await?.digest),
            }
        })
        .await
    }

    async fn manifest(&self, repository: &Repository, at: &At, max: u64) -> Result<Manifest, Fault> {
        self.bounded(self.read_manifest(repository, at, max)).await
    }

    async fn blob(&self, repository: &Repository, digest: &Digest, max: u64) -> Result<Vec<u8>, Fault> {
        self.bounded(async {
            let url = self.url(&format!("v2/{}/blobs/{digest}", repository.path))?;
            let question = Question::get(repository, url, max, format!("blob `{digest}` in `{repository}`"));
            let bytes = self.ask(&question).await?.body;
            let got = Digest::of(&bytes);
            if Check::AnsweredBlob.finds(got != *digest) {
                return Err(Fault::DigestMismatch {
                    what: question.what,
                    expected: digest.clone(),
                    got,
                });
            }
            Ok(bytes)
        })
        .await
    }

    async fn referrers(&self, repository: &Repository, digest: &Digest) -> Result<Vec<Descriptor>, Fault> {
        self.bounded(async {
            let url = self.url(&format!("v2/{}/referrers/{digest}", repository.path))?;
            let what = format!("list of what refers to `{digest}` in `{repository}`");
            let mut question = Question::get(repository, url, MAX_INDEX, what);
            question.accept = Some(INDEX);
            let mut found = Vec::new();
            let mut budget = MAX_PAGES_BYTES;
            for page in 0..MAX_PAGES {
                question.max = budget.min(MAX_INDEX);
                let answer = match self.ask(&question).await {
                    Ok(answer) => answer,
                    // Registries that do not know this question say so in many ways.
                    Err(Fault::NotFound { .. } | Fault::Refused { .. }) if page == 0 => {
                        found = match self.fallback(repository, digest).await? {
                            Some(manifest) if manifest.media_type == INDEX => descriptors(&manifest.bytes)?,
                            // Somebody may have put something else under that name.
                            Some(_) | None => Vec::new(),
                        };
                        found.truncate(MAX_REFERRERS);
                        return Ok(found);
                    }
                    Err(fault) => return Err(fault),
                };
                budget = budget.saturating_sub(answer.body.len() as u64);
                found.extend(descriptors(&answer.body)?);
                found.truncate(MAX_REFERRERS);
                match self.next_page(&question.url, &answer)? {
                    Some(next) if found.len() < MAX_REFERRERS => question.url = next,
                    Some(_) | None => break,
                }
            }
            Ok(found)
        })
        .await
    }

    async fn push_blob(&self, repository: &Repository, bytes: &[u8]) -> Result<Digest, Fault> {
        self.bounded_for(bytes.len(), self.upload(repository, bytes, None))
            .await
    }

    async fn push_blob_told(&self, repository: &Repository, bytes: &[u8], told: Sent) -> Result<Digest, Fault> {
        self.bounded_for(bytes.len(), self.upload(repository, bytes, Some(told)))
            .await
    }

    async fn push_manifest(
        &self,
        repository: &Repository,
        at: &At,
        media_type: &str,
        bytes: &[u8],
    ) -> Result<Digest, Fault> {
        self.bounded(self.publish(repository, at, media_type, bytes)).await
    }
}

#[cfg(test)]
mod tests;
