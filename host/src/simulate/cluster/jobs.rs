//! The Job controller.

use std::{collections::BTreeMap, time::Duration};

use berth_engine::contract::Propagation;
use serde_json::{Value, json};

use super::{clock::later, document, model::Model, store::Key};

/// Finalizer that keeps a Job's pod until it is counted.
const TRACKING: &str = "batch.kubernetes.io/job-tracking";

impl Model {
    /// One step of a Job.
    pub(super) fn job(&mut self, key: &Key, job: &Value) {
        if document::is_deleting(job) {
            return;
        }
        if document::holds(job, "Complete") || document::holds(job, "Failed") {
            self.expire(key, job);
            return;
        }
        if job["spec"]["suspend"] == true {
            return;
        }
        let started = self.store.mark(key, "start", self.now);
        let now = self.time();
        let mut after = job.clone();
        document::default(&mut after, &["status", "startTime"], json!(now));

        let mut active: Vec<(Key, Value)> = Vec::new();
        for (pod_key, pod) in self.pods_of(job) {
            let phase = document::text(&pod, &["status", "phase"]).unwrap_or("Pending");
            let counter = match phase {
                "Succeeded" => "succeeded",
                "Failed" => "failed",
                _ => {
                    if !document::is_deleting(&pod) {
                        active.push((pod_key, pod));
                    }
                    continue;
                }
            };
            if document::has_finalizer(&pod, TRACKING) {
                let count = document::number(&after, &["status", counter]).unwrap_or(0);
                document::set(&mut after, &["status", counter], json!(count + 1));
                self.store
                    .change(&pod_key, |pod| document::remove_finalizer(pod, TRACKING));
                if counter == "failed" {
                    self.store.unmark(key, "failure");
                    self.store.mark(key, "failure", self.now);
                }
            }
        }
        let count = |document: &Value, counter: &str| document::number(document, &["status", counter]).unwrap_or(0);
        let (succeeded, failed) = (count(&after, "succeeded"), count(&after, "failed"));
        let completions = document::number(job, &["spec", "completions"]).unwrap_or(1);
        let parallelism = document::number(job, &["spec", "parallelism"]).unwrap_or(1);
        let backoff_limit = document::number(job, &["spec", "backoffLimit"]).unwrap_or(6);
        let deadline = document::number(job, &["spec", "activeDeadlineSeconds"])
            .and_then(|seconds| u64::try_from(seconds).ok())
            .map(|seconds| later(started, Duration::from_secs(seconds)));
        let restarts: i64 = active.iter().map(|(_, pod)| restarts(pod)).sum();
        let in_place = document::text(job, &["spec", "template", "spec", "restartPolicy"]) == Some("OnFailure");
        let past_limit = failed > backoff_limit || (in_place && restarts > 0 && restarts >= backoff_limit.max(1));

        if !document::holds(&after, "FailureTarget") && !document::holds(&after, "SuccessCriteriaMet") {
            if past_limit {
                let message = "Job has reached the specified backoff limit";
                document::set_condition(&mut after, "FailureTarget", true, "BackoffLimitExceeded", message, &now);
            } else if deadline.is_some_and(|deadline| deadline <= self.now) {
                let message = "Job was active longer than specified deadline";
                document::set_condition(&mut after, "FailureTarget", true, "DeadlineExceeded", message, &now);
            } else if succeeded >= completions {
                let message = "Reached expected number of succeeded pods";
                document::set_condition(
                    &mut after,
                    "SuccessCriteriaMet",
                    true,
                    "CompletionsReached",
                    message,
                    &now,
                );
            } else {
                if let Some(deadline) = deadline {
                    self.again_at(key, deadline);
                }
                let wanted = parallelism.min(completions - succeeded) - i64::try_from(active.len()).unwrap_or(i64::MAX);
                let until = self
                    .store
                    .marked(key, "failure")
                    .map(|failure| later(failure, self.pace.pause(failed)));
                match until {
                    Some(until) if wanted > 0 && until > self.now => self.again_at(key, until),
                    Some(_) | None => {
                        for _ in 0..wanted.max(0) {
                            match self.create_pod(key, job, &[TRACKING]) {
                                Some(pod) => active.push(pod),
                                None => break,
                            }
                        }
                    }
                }
            }
        }
        self.finish(key, &mut after, &mut active, &now);
        set_count(&mut after, "active", active.len());
        set_count(
            &mut after,
            "ready",
            active.iter().filter(|(_, pod)| document::holds(pod, "Ready")).count(),
        );
        self.store.replace(key, after, None);
    }

    /// Ends a Job whose end is decided, once no pod runs any more.
    fn finish(&mut self, key: &Key, job: &mut Value, active: &mut Vec<(Key, Value)>, now: &str) {
        for (decided, end) in [("FailureTarget", "Failed"), ("SuccessCriteriaMet", "Complete")] {
            if !document::holds(job, decided) {
                continue;
            }
            let condition = document::condition(job, decided).cloned().unwrap_or_default();
            let (reason, message) = (&condition["reason"], &condition["message"]);
            let (reason, message) = (
                reason.as_str().unwrap_or_default(),
                message.as_str().unwrap_or_default(),
            );
            for (pod, _) in active.drain(..) {
                self.begin_deletion(&pod, Propagation::Background);
            }
            let uncounted = self
                .store
                .dependents(document::uid(job))
                .any(|(_, pod)| document::has_finalizer(&pod.document, TRACKING));
            if uncounted {
                continue;
            }
            document::set_condition(job, end, true, reason, message, now);
            if end == "Complete" {
                document::set(job, &["status", "completionTime"], json!(now));
                self.event(key, "Normal", "Completed", "Job completed");
            } else {
                self.event(key, "Warning", reason, message);
            }
        }
    }

    /// Deletes a finished Job when its time to live is over.
    fn expire(&mut self, key: &Key, job: &Value) {
        let seconds = document::number(job, &["spec", "ttlSecondsAfterFinished"]);
        let Some(seconds) = seconds.and_then(|seconds| u64::try_from(seconds).ok()) else {
            return;
        };
        let end = later(self.store.mark(key, "end", self.now), Duration::from_secs(seconds));
        if end <= self.now {
            self.begin_deletion(key, Propagation::Background);
        } else {
            self.again_at(key, end);
        }
    }

    /// Creates a pod from its owner's template; a refusal becomes an Event of the owner, and the
    /// owner is looked at again after a pause, not earlier.
    pub(super) fn create_pod(&mut self, owner: &Key, document: &Value, finalizers: &[&str]) -> Option<(Key, Value)> {
        if let Some(again) = self.store.marked(owner, "refused").filter(|again| *again > self.now) {
            self.again_at(owner, again);
            return None;
        }
        let kind = self.kinds.get("v1", "Pod").cloned()?;
        let name = format!("{}-{}", owner.name, suffix(self.store.next()));
        let key = Key::new("v1", "Pod", &owner.namespace, &name);
        let template = &document["spec"]["template"];
        let mut pod =
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": template["metadata"], "spec": template["spec"]});
        document::set(&mut pod, &["metadata", "name"], json!(name));
        document::set(&mut pod, &["metadata", "namespace"], json!(owner.namespace));
        document::set(
            &mut pod,
            &["metadata", "generateName"],
            json!(format!("{}-", owner.name)),
        );
        document::set(
            &mut pod,
            &["metadata", "ownerReferences"],
            json!([{
                "apiVersion": document["apiVersion"], "kind": document["kind"], "name": owner.name,
                "uid": document["metadata"]["uid"], "controller": true, "blockOwnerDeletion": true,
            }]),
        );
        if !finalizers.is_empty() {
            document::set(&mut pod, &["metadata", "finalizers"], json!(finalizers));
        }
        let admitted = self
            .check_namespace(&kind, &owner.namespace, &name)
            .and_then(|()| self.admit_new(&kind, &key, pod, BTreeMap::new()));
        match admitted {
            Ok(()) => {
                self.event(owner, "Normal", "SuccessfulCreate", &format!("Created pod: {name}"));
                self.store.document(&key).cloned().map(|document| (key, document))
            }
            Err(fault) => {
                // Every try has another name: the message says the same, so that the Event counts up.
                let message = fault
                    .message
                    .replace(&format!("\"{name}\""), &format!("\"{}-\"", owner.name));
                self.event(owner, "Warning", "FailedCreate", &format!("Error creating: {message}"));
                let again = later(self.now, self.pace.retry);
                self.store.unmark(owner, "refused");
                self.store.mark(owner, "refused", again);
                self.again_at(owner, again);
                None
            }
        }
    }

    /// Lets a pod go whose Job does not count it any more.
    pub(super) fn stop_tracking(&mut self, key: &Key, pod: &Value) {
        let counted = document::items(pod, &["metadata", "ownerReferences"])
            .iter()
            .any(|owner| {
                let job = owner["uid"]
                    .as_str()
                    .and_then(|uid| self.store.key_of(uid))
                    .and_then(|key| self.store.document(key));
                job.is_some_and(|job| {
                    let over = document::holds(job, "Complete") || document::holds(job, "Failed");
                    !document::is_deleting(job) && !over
                })
            });
        if document::has_finalizer(pod, TRACKING) && !counted {
            self.store.change(key, |pod| document::remove_finalizer(pod, TRACKING));
        }
    }
}

fn restarts(pod: &Value) -> i64 {
    document::items(pod, &["status", "containerStatuses"])
        .iter()
        .filter_map(|status| document::number(status, &["restartCount"]))
        .sum()
}

fn set_count(job: &mut Value, counter: &str, count: usize) {
    if count == 0 && counter == "active" {
        document::remove(job, &["status", counter]);
    } else {
        document::set(job, &["status", counter], json!(count));
    }
}

/// Five characters that look like those of Kubernetes and differ for numbers that differ.
pub(super) fn suffix(number: u64) -> String {
    const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
    // A factor that shares no divisor with 27^5 visits every suffix once before one comes again.
    let mut rest = number.wrapping_mul(8_675_309) % 14_348_907;
    (0..5)
        .map(|_| {
            let letter = usize::try_from(rest % 27).map_or('b', |at| char::from(ALPHABET[at]));
            rest /= 27;
            letter
        })
        .collect()
}
