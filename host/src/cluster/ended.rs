//! What was found out about Jobs that have ended.
//!
//! It changes only with the Job and its pods, and an event about a Job that is done long since is the most common of
//! all: so neither need be read again. Guarantees that what is told is what would be found out now.

use std::sync::Arc;

use berth_engine::{
    document::{Document, DocumentHash},
    effect::Observed,
    job::Job,
    manifest::runs_once,
};
use quick_cache::sync::Cache;

use super::{
    found::Found,
    packed::Packed,
    store::{Kept, Key},
};

/// Of how many Jobs it is remembered; about 1 KB each.
const MOST: usize = 4096;

/// What is known of Jobs, by where they are.
pub(super) struct Ended {
    known: Cache<Arc<Key>, Arc<Known>>,
    /// Stands in for documents.
    nothing: Document,
}

/// What is known of a Job.
pub(super) struct Known {
    /// Its document, as it was kept.
    document: Packed,
    hash: DocumentHash,
    job: Job,
    /// Its pods, as they were kept.
    pods: Vec<Packed>,
    /// The Job and its diagnosis, without its document.
    object: Observed,
}

impl Known {
    /// Whether these are its pods.
    pub(super) fn has(&self, pods: &[Packed]) -> bool {
        self.pods.len() == pods.len() && self.pods.iter().zip(pods).all(|(one, other)| one.is(other))
    }
}

/// The pods of a holder as the watches keep them, if they keep all of each.
pub(super) fn pods(kept: Vec<(Arc<Key>, Kept)>) -> Option<Vec<Packed>> {
    let whole = kept.into_iter().map(|(_, kept)| match kept {
        Kept::Whole(packed) => Some(packed),
        Kept::Metadata(_) => None,
    });
    whole.collect()
}

impl Ended {
    pub(super) fn new() -> Self {
        Self {
            known: Cache::new(MOST),
            nothing: Document::default(),
        }
    }

    /// A Job of ours by its place and its document, if that is known. Its diagnosis is of the pods that it had.
    pub(super) fn recall(&self, place: &Arc<Key>, document: &Packed) -> Option<Found> {
        let known = self.known.get(place)?;
        known.document.is(document).then(|| {
            let packed = document.clone();
            let read = Document::known(known.hash, Some(known.job.clone()), move || packed.text());
            Found {
                object: Observed {
                    document: read,
                    ..known.object.clone()
                },
                kept: Some((Arc::clone(place), document.clone())),
                known: Some(known),
            }
        })
    }

    /// Remembers what was found out about an object, if that is a Job that has ended.
    pub(super) fn remember(&self, object: &Observed, place: &Arc<Key>, document: &Packed, pods: &[Packed]) {
        let read = &object.document;
        if runs_once(&object.reference) && read.job().is_over() {
            let known = Known {
                document: document.clone(),
                hash: *read.hash(),
                job: read.job().clone(),
                pods: pods.to_vec(),
                object: Observed {
                    document: self.nothing.clone(),
                    ..object.clone()
                },
            };
            self.known.insert(Arc::clone(place), Arc::new(known));
        }
    }
}

#[cfg(test)]
mod tests {
    use berth_engine::diagnose::diagnose;
    use jiff::Timestamp;
    use serde_json::{Value, json};

    use super::{super::objects::observed, *};

    fn job(condition: &str) -> Value {
        json!({
            "apiVersion": "batch/v1", "kind": "Job",
            "metadata": {"name": "j", "uid": "u", "resourceVersion": "1"},
            "spec": {"template": {"spec": {"containers": []}}},
            "status": {"conditions": [{"type": condition, "status": "True"}], "startTime": "2026-01-01T00:00:00Z"},
        })
    }

    /// As it is found without what is known.
    fn found(packed: &Packed) -> Observed {
        let document = packed.document();
        Observed {
            diagnosis: diagnose(document.outline(), &[], &[], Timestamp::UNIX_EPOCH),
            ..observed(document)
        }
    }

    fn place() -> Arc<Key> {
        Arc::new((None, "j".to_owned()))
    }

    #[test]
    fn what_is_known_is_of_this_document_and_of_these_pods() {
        let pod = || Packed::of(&json!({"kind": "Pod"}));
        let (first, second) = (pod(), pod());
        let ended = Ended::new();
        let packed = Packed::of(&job("Complete"));
        assert!(ended.recall(&place(), &packed).is_none());
        let pods = [first.clone(), second.clone()];
        ended.remember(&found(&packed), &place(), &packed, &pods);
        let recalled = ended.recall(&place(), &packed).unwrap();
        let known = recalled.known.unwrap();
        assert!(known.has(&pods));
        assert!(!known.has(&pods[..1]), "a pod is gone");
        assert!(!known.has(&[first.clone(), pod()]), "a pod changed");
        assert!(!known.has(&[]));
        let again = found(&packed);
        let (one, other) = (&recalled.object.document, &again.document);
        assert_eq!((one.hash(), one.job()), (other.hash(), other.job()));
        assert_eq!(recalled.object, again, "as it would be found now");

        let written = Packed::of(&job("Complete"));
        assert!(ended.recall(&place(), &written).is_none(), "the Job was written again");
        ended.remember(&found(&written), &place(), &written, &[]);
        assert!(ended.recall(&place(), &written).is_some());
        assert!(
            ended.recall(&place(), &packed).is_none(),
            "of each Job the newest is known"
        );
    }

    #[test]
    fn nothing_is_remembered_of_what_may_still_change_or_of_pods_that_are_not_kept_whole() {
        let ended = Ended::new();
        let mut other = job("Complete");
        other["kind"] = json!("Deployment");
        for document in [job("Suspended"), other] {
            let packed = Packed::of(&document);
            ended.remember(&found(&packed), &place(), &packed, &[]);
            assert!(ended.recall(&place(), &packed).is_none(), "{document}");
        }
        let packed = Packed::of(&json!({}));
        let whole = || (place(), Kept::Whole(packed.clone()));
        assert_eq!(pods(vec![whole()]), Some(vec![packed.clone()]));
        assert_eq!(pods(vec![whole(), (place(), Kept::Metadata(packed.clone()))]), None);
    }
}
