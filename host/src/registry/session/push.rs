//! Uploads.

use bytes::Bytes;
use reqwest::{Method, header::LOCATION};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{DIGEST_HEADER, INDEX, MAX_INDEX, Question, Session};
use crate::registry::{
    access::Secrets,
    reference::shortened,
    remote::{At, Descriptor, Digest, Fault, MANIFEST, Manifest, Repository, Sent},
};

/// What a manifest says of itself, as far as a list of referrers repeats it.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Referring {
    artifact_type: Option<String>,
    config: Option<Typed>,
    subject: Option<Subject>,
    #[serde(deserialize_with = "crate::registry::remote::or_default")]
    annotations: std::collections::BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Typed {
    media_type: String,
}

#[derive(Debug, Deserialize)]
struct Subject {
    digest: Digest,
}

impl Session {
    /// Uploads a blob in one piece, unless it is there.
    pub(super) async fn upload(
        &self,
        repository: &Repository,
        bytes: &[u8],
        sent: Option<Sent>,
    ) -> Result<Digest, Fault> {
        let digest = Digest::of(bytes);
        let url = self.url(&format!("v2/{}/blobs/{digest}", repository.path))?;
        let what = format!("blob `{digest}` in `{repository}`");
        // The length is told of what is not sent.
        let mut question = Question::get(repository, url, u64::MAX, what);
        question.method = Method::HEAD;
        match self.ask(&question).await {
            Ok(_) => return Ok(digest),
            Err(Fault::NotFound { .. } | Fault::Refused { .. }) => {}
            Err(fault) => return Err(fault),
        }
        let mut begin = question.clone();
        begin.method = Method::POST;
        begin.max = MAX_INDEX;
        begin.url = self.url(&format!("v2/{}/blobs/uploads/", repository.path))?;
        begin.what = format!("repository `{repository}`");
        begin.body = Some(Bytes::new());
        let begun = self.ask(&begin).await?;
        let location = begun.header(LOCATION.as_str()).ok_or_else(|| Fault::Malformed {
            message: "it begins an upload and does not say where".to_owned(),
        })?;
        let mut place = self.place.redirect(&begin.url, location, &Secrets::default())?;
        place.query_pairs_mut().append_pair("digest", digest.as_str());
        let mut put = question;
        put.method = Method::PUT;
        put.max = MAX_INDEX;
        put.url = place;
        put.content_type = Some("application/octet-stream");
        put.body = Some(Bytes::copy_from_slice(bytes));
        put.sent = sent;
        self.ask(&put).await?;
        Ok(digest)
    }

    /// Uploads a manifest. Where it refers to another and the registry does not keep a list of
    /// such manifests, the list under the fallback tag is brought up to date, as clients must.
    /// What is in that list stays as it is; where it cannot be read whole, it is not written.
    pub(super) async fn publish(
        &self,
        repository: &Repository,
        at: &At,
        media_type: &str,
        bytes: &[u8],
    ) -> Result<Digest, Fault> {
        let digest = Digest::of(bytes);
        if let At::Digest(expected) = at
            && *expected != digest
        {
            return Err(Fault::DigestMismatch {
                what: "the manifest to push".to_owned(),
                expected: expected.clone(),
                got: digest,
            });
        }
        let referring: Referring = serde_json::from_slice(bytes).unwrap_or_default();
        let lists = self.put_manifest(repository, at, media_type, bytes).await?;
        if let Some(subject) = referring.subject.as_ref().filter(|_| !lists) {
            let tag = subject.digest.tag();
            let kept = |why: String| Fault::ListKept { tag: tag.clone(), why };
            let listed = match self.fallback(repository, &subject.digest).await {
                Err(Fault::TooLarge { limit, .. }) => {
                    return Err(kept(format!("it has more than {limit} bytes and cannot be read whole")));
                }
                listed => listed?,
            };
            let descriptor = descriptor(&referring, media_type, &digest, bytes.len());
            if let Some(index) = with(listed.as_ref(), &descriptor).map_err(kept)? {
                self.put_manifest(repository, &At::Tag(tag.clone()), INDEX, &index)
                    .await?;
            }
        }
        Ok(digest)
    }

    /// Tells whether the registry lists the manifest with those that refer to the same.
    async fn put_manifest(
        &self,
        repository: &Repository,
        at: &At,
        media_type: &str,
        bytes: &[u8],
    ) -> Result<bool, Fault> {
        let url = self.url(&format!("v2/{}/manifests/{at}", repository.path))?;
        let what = format!("manifest `{at}` in `{repository}`");
        let mut put = Question::get(repository, url, MAX_INDEX, what);
        put.method = Method::PUT;
        put.content_type = Some(media_type);
        put.body = Some(Bytes::copy_from_slice(bytes));
        let answer = self.ask(&put).await?;
        let got = Digest::of(bytes);
        match answer
            .header(DIGEST_HEADER)
            .and_then(|told| told.parse::<Digest>().ok())
        {
            Some(told) if told != got => Err(Fault::DigestMismatch {
                what: format!("what the registry stored as {}", put.what),
                expected: got,
                got: told,
            }),
            Some(_) | None => Ok(answer.header("oci-subject").is_some()),
        }
    }
}

fn descriptor(referring: &Referring, media_type: &str, digest: &Digest, length: usize) -> Descriptor {
    let config = referring.config.as_ref().map(|config| config.media_type.clone());
    Descriptor {
        media_type: media_type.to_owned(),
        digest: digest.clone(),
        size: i64::try_from(length).unwrap_or(i64::MAX),
        artifact_type: referring
            .artifact_type
            .clone()
            .or(config)
            .filter(|_| media_type == MANIFEST),
        annotations: referring.annotations.clone(),
    }
}

/// The list with one more entry, and all that it has; none if it has that one.
///
/// # Errors
/// Why the list cannot be kept whole.
fn with(listed: Option<&Manifest>, new: &Descriptor) -> Result<Option<Vec<u8>>, String> {
    let mut index = match listed {
        None => json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": []}),
        Some(listed) if listed.media_type != INDEX => {
            let kind = shortened(&listed.media_type);
            return Err(format!("it is no list of referrers, but of type `{kind}`"));
        }
        Some(listed) => serde_json::from_slice(&listed.bytes).unwrap_or_default(),
    };
    // Not as our own types: what they do not know would be lost.
    let Some(entries) = index.get_mut("manifests").and_then(Value::as_array_mut) else {
        return Err("it cannot be read".to_owned());
    };
    if entries.iter().any(|entry| entry["digest"] == new.digest.as_str()) {
        return Ok(None);
    }
    entries.push(json!(new));
    let index = index.to_string().into_bytes();
    if index.len() as u64 > MAX_INDEX {
        return Err(format!(
            "it would have more than {MAX_INDEX} bytes, and nobody would read it"
        ));
    }
    Ok(Some(index))
}
