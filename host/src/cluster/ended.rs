//! What was found out about Jobs that have ended.
//!
//! It changes only with the Job and its pods, and an event about a Job that is done long since is the most common of
//! all: so their pods need not be read again. Guarantees that what is told is what would be found out now.

use std::sync::Arc;

use berth_engine::{contract::Diagnosis, effect::Observed};
use quick_cache::sync::Cache;
use serde_json::Value;

use super::{objects::is_over, packed::Packed, store::Kept};

/// Of how many Jobs it is remembered; about 700 bytes each.
const MOST: usize = 4096;

/// Diagnoses by the Job's uid.
pub(super) struct Ended(Cache<String, Arc<Known>>);

struct Known {
    resource_version: String,
    pods: Vec<Packed>,
    diagnosis: Diagnosis,
}

/// The pods of a holder as the watches keep them, if they keep all of each.
pub(super) fn pods(kept: Vec<Kept>) -> Option<Vec<Packed>> {
    let whole = kept.into_iter().map(|kept| match kept {
        Kept::Whole(packed) => Some(packed),
        Kept::Metadata(_) => None,
    });
    whole.collect()
}

impl Ended {
    pub(super) fn new() -> Self {
        Self(Cache::new(MOST))
    }

    /// What is known of an object, whose holder has these pods.
    pub(super) fn get(&self, object: &Observed, pods: &[Packed]) -> Option<Diagnosis> {
        let known = self.0.get(&object.uid)?;
        let is_same = known.resource_version == object.resource_version
            && known.pods.len() == pods.len()
            && known.pods.iter().zip(pods).all(|(one, other)| one.is(other));
        is_same.then(|| known.diagnosis.clone())
    }

    /// Remembers what was found out about an object, if that is a Job that has ended.
    pub(super) fn put(&self, object: &Observed, pods: &[Packed]) {
        if let Some(diagnosis) = object
            .diagnosis
            .clone()
            .filter(|_| has_ended(object.document.outline()))
        {
            let resource_version = object.resource_version.clone();
            let known = Known {
                resource_version,
                pods: pods.to_vec(),
                diagnosis,
            };
            self.0.insert(object.uid.clone(), Arc::new(known));
        }
    }
}

fn has_ended(document: &Value) -> bool {
    document["kind"] == "Job" && is_over(document)
}

#[cfg(test)]
mod tests {
    use berth_engine::{diagnose::diagnose, document::Document};
    use jiff::Timestamp;
    use serde_json::json;

    use super::{super::objects::observed, *};

    fn job(version: &str, condition: &str) -> Observed {
        let document = json!({
            "apiVersion": "batch/v1", "kind": "Job",
            "metadata": {"name": "j", "uid": "u", "resourceVersion": version},
            "status": {"conditions": [{"type": condition, "status": "True"}]},
        });
        Observed {
            diagnosis: diagnose(&document, &[], &[], Timestamp::UNIX_EPOCH),
            ..observed(Document::from(document))
        }
    }

    #[test]
    fn what_is_known_is_of_this_version_of_the_job_and_of_these_pods() {
        let pod = || Packed::of(&json!({"kind": "Pod"}));
        let (first, second) = (pod(), pod());
        let ended = Ended::new();
        let one = job("1", "Complete");
        let pods = || vec![first.clone(), second.clone()];
        assert_eq!(ended.get(&one, &pods()), None);
        ended.put(&one, &pods());
        assert_eq!(ended.get(&one, &pods()), one.diagnosis);
        assert_eq!(ended.get(&job("2", "Complete"), &pods()), None, "the Job changed");
        assert_eq!(ended.get(&one, &pods()[..1]), None, "a pod is gone");
        assert_eq!(ended.get(&one, &[first.clone(), pod()]), None, "a pod changed");
        assert_eq!(ended.get(&one, &[]), None);
        ended.put(&job("2", "Failed"), &pods());
        assert_eq!(ended.get(&one, &pods()), None, "of each Job the newest is known");
    }

    #[test]
    fn nothing_is_remembered_of_a_job_that_runs_or_of_pods_that_are_not_kept_whole() {
        let ended = Ended::new();
        let running = job("1", "Suspended");
        ended.put(&running, &[]);
        assert_eq!(ended.get(&running, &[]), None);
        let packed = Packed::of(&json!({}));
        assert_eq!(pods(vec![Kept::Whole(packed.clone())]), Some(vec![packed.clone()]));
        assert_eq!(pods(vec![Kept::Whole(packed.clone()), Kept::Metadata(packed)]), None);
    }
}
