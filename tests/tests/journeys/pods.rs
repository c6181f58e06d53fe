//! How many pods there were at once.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

use berth_tests::{control_plane::User, stage::Stage};
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, ResourceExt as _,
    runtime::watcher::{self, Event},
};

/// Watches the pods of a stage and remembers how many were there at once.
pub(crate) struct Pods {
    most: Arc<Mutex<usize>>,
    watching: tokio::task::JoinHandle<()>,
}

impl Pods {
    pub(crate) async fn of(stage: &Stage) -> Self {
        let client = stage.plane.client(User::Admin).await.unwrap();
        let pods: Api<Pod> = Api::namespaced(client, &stage.namespace);
        let most = Arc::new(Mutex::new(0));
        let known = Arc::clone(&most);
        let (listed, first) = tokio::sync::oneshot::channel();
        let mut listed = Some(listed);
        let watching = tokio::spawn(async move {
            let mut events = std::pin::pin!(kube::runtime::watcher(pods, watcher::Config::default()));
            let mut there = BTreeSet::new();
            while let Some(event) = events.next().await {
                match event.expect("the watch goes on") {
                    Event::Init => {}
                    Event::InitDone => drop(listed.take().map(|listed| listed.send(()))),
                    Event::InitApply(pod) | Event::Apply(pod) => drop(there.insert(pod.uid())),
                    Event::Delete(pod) => drop(there.remove(&pod.uid())),
                }
                let mut most = known.lock().unwrap();
                *most = there.len().max(*most);
            }
        });
        first.await.expect("the pods can be listed");
        Self { most, watching }
    }

    pub(crate) fn most_at_once(self) -> usize {
        self.watching.abort();
        *self.most.lock().unwrap()
    }
}
