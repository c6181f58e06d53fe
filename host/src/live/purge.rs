//! What an adapter leaves behind when it is removed, and how it is deleted.
//!
//! It is not done by a running host: whoever reaches its administration endpoint could delete
//! what is somebody else's. It is done with the rights of whoever asks for it. Each object is deleted as
//! the adapter's service account, and only as it was seen: its uid and version must still match.

use berth_engine::{
    adapter::Adapter,
    contract::{Propagation, Reference},
    effect::{ClusterCause, ClusterFault, Delete, KindScope, Observed},
    manifest,
};

use crate::world::{Cluster, Identity};

/// How often an object that changes meanwhile is looked at again.
const ATTEMPTS: usize = 5;

/// Where the objects of an adapter are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftovers {
    /// The adapter.
    pub adapter: String,
    /// The namespace of its service account.
    pub namespace: String,
    /// As whom its objects are deleted.
    pub service_account: String,
    /// Kinds that it may have created.
    pub kinds: Vec<KindScope>,
}

impl Leftovers {
    /// By its last document.
    #[must_use]
    pub fn of(adapter: &Adapter) -> Self {
        Self {
            adapter: adapter.name.clone(),
            namespace: adapter.namespace.clone(),
            service_account: adapter.service_account.clone(),
            kinds: manifest::kinds(adapter),
        }
    }

    /// And by an earlier document, which could create other kinds, or elsewhere.
    pub fn add(&mut self, earlier: &Adapter) {
        for kind in manifest::kinds(earlier) {
            if !self.kinds.contains(&kind) {
                self.kinds.push(kind);
            }
        }
    }
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Found {
    /// These are to be deleted, what lies in namespaces first.
    pub delete: Vec<Observed>,
    /// The deletion of these has begun before.
    pub leaving: Vec<Reference>,
    /// These outlive their subject by their own annotation.
    pub retained: Vec<Reference>,
}

/// Why an object was not deleted.
#[derive(Debug, thiserror::Error)]
pub enum PurgeError {
    /// Kubernetes refuses.
    #[error("{0}")]
    Refused(ClusterFault),
    /// It was made again meanwhile.
    #[error("it is another object than the one that was found: is the adapter live in another host?")]
    MadeAgain,
    /// It does not come to rest.
    #[error("it changes all the time: is the adapter live in another host?")]
    Restless,
}

/// Lists what is left.
///
/// # Errors
/// When the API server does not answer, or does not let us list.
pub async fn find(cluster: &dyn Cluster, leftovers: &Leftovers) -> Result<Found, ClusterFault> {
    let owned = cluster.owned(&leftovers.adapter, &leftovers.kinds).await?;
    Ok(sorted(owned))
}

fn sorted(owned: Vec<Observed>) -> Found {
    let mut found = Found::default();
    for object in owned {
        if manifest::is_retained(&object) {
            found.retained.push(object.reference);
        } else if object.deleting {
            found.leaving.push(object.reference);
        } else {
            found.delete.push(object);
        }
    }
    // A namespace takes with it what lies inside, so that it would be missed.
    found
        .delete
        .sort_by_key(|object| (object.reference.namespace.is_none(), object.reference.clone()));
    found
}

/// Begins to delete one object.
///
/// # Errors
/// See [`PurgeError`].
pub async fn delete(cluster: &dyn Cluster, leftovers: &Leftovers, object: &Observed) -> Result<(), PurgeError> {
    let identity = Identity {
        namespace: leftovers.namespace.clone(),
        service_account: leftovers.service_account.clone(),
    };
    let mut delete = Delete {
        reference: object.reference.clone(),
        uid: object.uid.clone(),
        resource_version: object.resource_version.clone(),
        propagation: Propagation::Background,
    };
    for _ in 0..ATTEMPTS {
        match cluster.delete(&identity, &delete).await {
            Ok(_) => return Ok(()),
            Err(fault) if fault.cause == ClusterCause::Stale => {}
            Err(fault) => return Err(PurgeError::Refused(fault)),
        }
        let owned = cluster.owned(&leftovers.adapter, &leftovers.kinds).await;
        let owned = owned.map_err(PurgeError::Refused)?;
        match owned.into_iter().find(|one| one.reference == delete.reference) {
            None => return Ok(()),
            Some(now) if now.uid != delete.uid => return Err(PurgeError::MadeAgain),
            Some(now) => delete.resource_version = now.resource_version,
        }
    }
    Err(PurgeError::Restless)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use berth_engine::{
        effect::{Apply, Expect},
        manifest::{ANNOTATION_RETAIN, LABEL_ADAPTER, LABEL_SUBJECT_ID, LABEL_SUBJECT_KIND},
    };
    use serde_json::{Value, json};

    use super::*;
    use crate::simulate::cluster::{Kubernetes, Rule, SystemClock};

    fn config_map(name: &str, adapter: &str, annotations: Value) -> Value {
        json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {
                "name": name, "namespace": "work", "annotations": annotations,
                "labels": {LABEL_ADAPTER: adapter, LABEL_SUBJECT_KIND: "Cluster", LABEL_SUBJECT_ID: "c-1"},
            },
        })
    }

    fn leftovers(account: &str) -> Leftovers {
        Leftovers {
            adapter: "dns".to_owned(),
            namespace: "work".to_owned(),
            service_account: account.to_owned(),
            kinds: vec![KindScope {
                api_version: "v1".to_owned(),
                kind: "ConfigMap".to_owned(),
                namespace: Some("work".to_owned()),
            }],
        }
    }

    fn stage() -> Kubernetes {
        let kubernetes = Kubernetes::new(SystemClock);
        kubernetes.namespace("work");
        kubernetes.grant("work", "dns", vec![Rule::all_of("", &["configmaps"], "work")]);
        kubernetes.create("test", config_map("a", "dns", json!({}))).unwrap();
        kubernetes.create("test", config_map("b", "dns", json!({}))).unwrap();
        kubernetes.create("test", config_map("other", "lz", json!({}))).unwrap();
        let retained = config_map("kept", "dns", json!({ANNOTATION_RETAIN: "true"}));
        kubernetes.create("test", retained).unwrap();
        kubernetes
    }

    fn names(kubernetes: &Kubernetes) -> Vec<String> {
        let objects = kubernetes.objects("v1", "ConfigMap", Some("work"));
        let name = |object: &Value| object["metadata"]["name"].as_str().unwrap().to_owned();
        objects.iter().map(name).collect()
    }

    #[tokio::test]
    async fn what_an_adapter_made_is_deleted_as_its_own_account_and_nothing_else_is() {
        let kubernetes = stage();
        let found = find(&kubernetes, &leftovers("nobody")).await.unwrap();
        assert_eq!(found.delete.len(), 2);
        assert_eq!(found.retained.len(), 1);
        for object in &found.delete {
            let refused = delete(&kubernetes, &leftovers("nobody"), object).await;
            assert!(matches!(refused, Err(PurgeError::Refused(_))), "{refused:?}");
        }
        assert_eq!(names(&kubernetes), ["a", "b", "kept", "other"]);
        for object in &found.delete {
            delete(&kubernetes, &leftovers("dns"), object).await.unwrap();
        }
        assert_eq!(names(&kubernetes), ["kept", "other"]);
    }

    #[tokio::test]
    async fn an_object_that_changed_is_looked_at_again_and_one_that_was_made_again_is_left() {
        let kubernetes = stage();
        let found = find(&kubernetes, &leftovers("dns")).await.unwrap();
        let (a, b) = (&found.delete[0], &found.delete[1]);
        kubernetes
            .edit(&a.reference, "somebody", |object| object["data"] = json!({"x": "y"}))
            .unwrap();
        delete(&kubernetes, &leftovers("dns"), a).await.unwrap();
        kubernetes.remove(&b.reference, Propagation::Background).unwrap();
        let again = Apply {
            reference: b.reference.clone(),
            document: config_map("b", "dns", json!({})),
            field_manager: "berth/dns".to_owned(),
            force: false,
            expect: Expect::Absent,
        };
        let dns = Identity {
            namespace: "work".to_owned(),
            service_account: "dns".to_owned(),
        };
        kubernetes.apply(&dns, &again).await.unwrap();
        let refused = delete(&kubernetes, &leftovers("dns"), b).await;
        assert!(matches!(refused, Err(PurgeError::MadeAgain)), "{refused:?}");
        assert_eq!(names(&kubernetes), ["b", "kept", "other"]);
    }
}
