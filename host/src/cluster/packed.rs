//! Documents in little room.
//!
//! A parsed document takes several times the room of its text, and most of the text is the same
//! in all workloads: names of fields, and what the API server fills in. So the compact text is
//! compressed, with a text that all have in common.

use std::sync::Arc;

use berth_engine::{canonical, document::Document};
use lz4_flex::block::{compress_prepend_size_with_dict, decompress_size_prepended_with_dict};
use serde_json::Value;

/// What workloads have in common, with their fields in the order of the texts. Nothing is written
/// with it that another program reads: where it does not fit, only room is lost.
const COMMON: &[u8] = br#"{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"annotations":{"berth.hyperfleet.io/generation":"1","berth.hyperfleet.io/href":"/api/hyperfleet/v1/clusters/","berth.hyperfleet.io/manifest-hash":"","berth.hyperfleet.io/name":"","berth.hyperfleet.io/owner":"NodePool","berth.hyperfleet.io/retain":"","deployment.kubernetes.io/revision":"1"},"creationTimestamp":"2026-01-01T00:00:00Z","deletionTimestamp":"2026-","finalizers":["foregroundDeletion"],"generation":1,"labels":{"berth.hyperfleet.io/adapter":"landing-zone","berth.hyperfleet.io/subject-id":"","berth.hyperfleet.io/subject-kind":"Cluster"},"name":"","namespace":"hyperfleet-adapters","ownerReferences":[{"apiVersion":"v1","blockOwnerDeletion":true,"controller":true,"kind":"","name":"","uid":""}],"resourceVersion":"","uid":""},"spec":{"progressDeadlineSeconds":600,"replicas":1,"revisionHistoryLimit":10,"selector":{"matchLabels":{"app":""}},"strategy":{"rollingUpdate":{"maxSurge":"25%","maxUnavailable":"25%"},"type":"RollingUpdate"},"template":{"metadata":{"labels":{"app.kubernetes.io/name":""}},"spec":{"containers":[{"livenessProbe":{"failureThreshold":3,"httpGet":{"path":"/","port":8080,"scheme":"HTTP"},"periodSeconds":10,"successThreshold":1,"timeoutSeconds":1},"ports":[{"containerPort":8080,"name":"http","protocol":"TCP"}],"volumeMounts":[{"mountPath":"/","name":"","readOnly":true}]}],"restartPolicy":"Always"}}},"status":{"availableReplicas":1,"conditions":[{"lastTransitionTime":"2026-01-01T00:00:00Z","lastUpdateTime":"2026-01-01T00:00:00Z","message":"Deployment has minimum availability.","reason":"MinimumReplicasAvailable","status":"True","type":"Available"},{"message":"ReplicaSet \"\" has successfully progressed.","reason":"NewReplicaSetAvailable","status":"True","type":"Progressing"}],"observedGeneration":1,"readyReplicas":1,"replicas":1,"updatedReplicas":1}}{"apiVersion":"batch/v1","kind":"Job","metadata":{"uid":""},"spec":{"activeDeadlineSeconds":600,"backoffLimit":2,"completionMode":"NonIndexed","completions":1,"manualSelector":false,"parallelism":1,"podReplacementPolicy":"TerminatingOrFailed","selector":{"matchLabels":{"batch.kubernetes.io/controller-uid":""}},"suspend":false,"template":{"metadata":{"labels":{"batch.kubernetes.io/controller-uid":"","batch.kubernetes.io/job-name":"","controller-uid":"","job-name":""}},"spec":{"containers":[{"args":[""],"command":["/bin/sh","-c",""],"env":[{"name":"","value":""},{"name":"","valueFrom":{"secretKeyRef":{"key":"","name":""}}}],"image":"","imagePullPolicy":"IfNotPresent","name":"","resources":{"limits":{"cpu":"1","memory":"128Mi"},"requests":{"cpu":"100m","memory":"64Mi"}},"securityContext":{"allowPrivilegeEscalation":false,"capabilities":{"drop":["ALL"]},"readOnlyRootFilesystem":true},"terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File"}],"dnsPolicy":"ClusterFirst","restartPolicy":"Never","schedulerName":"default-scheduler","securityContext":{"runAsNonRoot":true},"serviceAccount":"","serviceAccountName":"","terminationGracePeriodSeconds":30}}},"status":{"completionTime":"2026-01-01T00:00:00Z","conditions":[{"lastProbeTime":"2026-01-01T00:00:00Z","lastTransitionTime":"2026-01-01T00:00:00Z","message":"Job suspended","reason":"JobSuspended","status":"True","type":"Suspended"},{"message":"Reached expected number of succeeded pods","reason":"CompletionsReached","status":"True","type":"SuccessCriteriaMet"},{"status":"True","type":"Complete"}],"ready":0,"startTime":"2026-01-01T00:00:00Z","succeeded":1,"terminating":0,"uncountedTerminatedPods":{}}}"#;

/// A document that is kept. Clones share it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Packed(Arc<[u8]>);

impl Packed {
    /// Packs a document.
    pub(super) fn of(document: &Value) -> Self {
        Self(compress_prepend_size_with_dict(canonical::text(document).as_bytes(), COMMON).into())
    }

    /// The document as it was. It is unpacked when it is read.
    pub(super) fn document(&self) -> Document {
        let packed = self.clone();
        Document::kept(move || packed.text())
    }

    /// The canonical text of the document.
    pub(super) fn text(&self) -> String {
        // Only `of` makes them, so that nothing else is in here.
        let text = decompress_size_prepended_with_dict(&self.0, COMMON).unwrap_or_default();
        String::from_utf8(text).unwrap_or_default()
    }

    /// Whether it is this one, and no other of equal content.
    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// How many bytes it takes.
    pub(super) fn bytes(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_document_comes_back_as_it_was() {
        let long: String = (0..100_000).map(|number| format!("{number} ü ")).collect();
        for document in [
            json!(null),
            json!({}),
            json!({"kind": "Job", "metadata": {"name": "a"}, "status": {"succeeded": 1}}),
            json!({"data": long}),
            serde_json::Deserializer::from_slice(COMMON)
                .into_iter::<Value>()
                .map(Result::unwrap)
                .collect(),
        ] {
            assert_eq!(*Packed::of(&document).document(), document);
        }
    }

    #[test]
    fn what_the_api_server_fills_in_takes_little_room() {
        for document in serde_json::Deserializer::from_slice(COMMON).into_iter::<Value>() {
            let document = document.unwrap();
            let (packed, whole) = (Packed::of(&document).bytes(), document.to_string().len());
            assert!(packed * 10 < whole, "{packed} of {whole} bytes");
        }
    }
}
