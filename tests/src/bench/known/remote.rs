//! The simulated Kubernetes in another process, so that what it takes is not the host's.
//!
//! Calls and answers are JSON with their length before them, over a Unix socket. Only what a
//! reconcile of a Job needs is let through.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::Result;
use async_trait::async_trait;
use berth::{
    simulate::cluster::{Kubernetes, Pace, Rule, SystemClock},
    world::{Change, Cluster, Identity},
};
use berth_engine::{
    adapter::Adapter,
    contract::Query,
    effect::{Apply, ClusterCause, ClusterFault, Delete, Deleted, KindScope, Observed, Ownership},
    subject::{SubjectKey, SubjectRef},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{UnixListener, UnixStream},
    sync::mpsc,
    task::JoinHandle,
};

/// The namespace and the service account of all adapters.
pub(super) const NAMESPACE: &str = "bench";
/// A cluster that keeps nobody waiting.
const PACE: Pace = Pace {
    control: Duration::from_millis(1),
    start: Duration::from_millis(1),
    run: Duration::from_millis(1),
    stop: Duration::from_millis(1),
    retry: Duration::from_millis(100),
};

/// A call.
#[derive(Debug, Serialize, Deserialize)]
enum Call {
    Observe(Ownership),
    Apply {
        namespace: String,
        service_account: String,
        apply: Box<Apply>,
    },
    /// How many Jobs have not succeeded.
    Unfinished,
}

/// The simulated Kubernetes, served. It ends with this value.
pub(super) struct Served {
    socket: PathBuf,
    tasks: [JoinHandle<()>; 2],
    _folder: tempfile::TempDir,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Served {
    /// An empty cluster in which Jobs end at once.
    pub(super) fn begin() -> Result<Self> {
        let kubernetes = Kubernetes::with_pace(SystemClock, PACE);
        kubernetes.namespace(NAMESPACE);
        kubernetes.node("large", "100000", "100000Gi", 100_000);
        kubernetes.grant(NAMESPACE, NAMESPACE, vec![Rule::all_of("batch", &["jobs"], NAMESPACE)]);
        let folder = tempfile::tempdir()?;
        let socket = folder.path().join("kubernetes");
        let listener = UnixListener::bind(&socket)?;
        let running = kubernetes.clone();
        let listening = tokio::spawn(async move {
            while let Ok((line, _)) = listener.accept().await {
                let kubernetes = kubernetes.clone();
                // It ends with its client.
                tokio::spawn(async move { drop(serve(line, &kubernetes).await) });
            }
        });
        Ok(Self {
            socket,
            tasks: [listening, tokio::spawn(async move { running.run().await })],
            _folder: folder,
        })
    }

    /// Where it is found.
    pub(super) fn socket(&self) -> &Path {
        &self.socket
    }
}

async fn serve(mut line: UnixStream, kubernetes: &Kubernetes) -> io::Result<()> {
    loop {
        let answer = match serde_json::from_slice(&receive(&mut line).await?)? {
            Call::Observe(ownership) => serde_json::to_vec(&kubernetes.observe(&ownership).await)?,
            Call::Apply {
                namespace,
                service_account,
                apply,
            } => {
                let identity = Identity {
                    namespace,
                    service_account,
                };
                serde_json::to_vec(&kubernetes.apply(&identity, &apply).await)?
            }
            Call::Unfinished => {
                let jobs = kubernetes.objects("batch/v1", "Job", Some(NAMESPACE));
                let unfinished = jobs.iter().filter(|job| job["status"]["succeeded"] != 1).count();
                serde_json::to_vec(&Ok::<_, ClusterFault>(unfinished))?
            }
        };
        send(&mut line, &answer).await?;
    }
}

async fn send(line: &mut UnixStream, text: &[u8]) -> io::Result<()> {
    let length = u32::try_from(text.len()).map_err(io::Error::other)?;
    let whole = [&length.to_be_bytes(), text].concat();
    line.write_all(&whole).await
}

async fn receive(line: &mut UnixStream) -> io::Result<Vec<u8>> {
    let length = line.read_u32().await?;
    let mut text = vec![0; usize::try_from(length).map_err(io::Error::other)?];
    line.read_exact(&mut text).await?;
    Ok(text)
}

/// Kubernetes as the host sees it.
pub(super) struct Remote {
    socket: PathBuf,
    /// Lines that nobody uses now.
    idle: Mutex<Vec<UnixStream>>,
}

impl Remote {
    /// Connects when it is called.
    pub(super) fn new(socket: &Path) -> Arc<Self> {
        Arc::new(Self {
            socket: socket.to_owned(),
            idle: Mutex::default(),
        })
    }

    /// How many Jobs have not succeeded.
    pub(super) async fn unfinished(&self) -> Result<usize, ClusterFault> {
        self.ask(&Call::Unfinished).await
    }

    async fn ask<T: DeserializeOwned>(&self, call: &Call) -> Result<T, ClusterFault> {
        self.exchange(call).await.map_err(|error| refused(&error.to_string()))?
    }

    async fn exchange<T: DeserializeOwned>(&self, call: &Call) -> io::Result<Result<T, ClusterFault>> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut line = match idle {
            Some(line) => line,
            None => UnixStream::connect(&self.socket).await?,
        };
        send(&mut line, &serde_json::to_vec(call)?).await?;
        let answer = receive(&mut line).await?;
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        Ok(serde_json::from_slice(&answer)?)
    }
}

fn refused(why: &str) -> ClusterFault {
    ClusterFault {
        cause: ClusterCause::Other,
        message: why.to_owned(),
        retry_after: None,
    }
}

fn unexpected<T>(what: &str) -> Result<T, ClusterFault> {
    Err(refused(&format!("{what} is not expected of a Job that nobody removes")))
}

#[async_trait]
impl Cluster for Remote {
    async fn observe(&self, ownership: &Ownership) -> Result<Vec<Observed>, ClusterFault> {
        self.ask(&Call::Observe(ownership.clone())).await
    }

    async fn apply(&self, identity: &Identity, apply: &Apply) -> Result<Observed, ClusterFault> {
        let call = Call::Apply {
            namespace: identity.namespace.clone(),
            service_account: identity.service_account.clone(),
            apply: Box::new(apply.clone()),
        };
        self.ask(&call).await
    }

    async fn find(&self, _: &Identity, _: &Query) -> Result<Vec<Value>, ClusterFault> {
        unexpected("a search")
    }

    async fn delete(&self, _: &Identity, _: &Delete) -> Result<Deleted, ClusterFault> {
        unexpected("a delete")
    }

    async fn owned(&self, _: &str, _: &[KindScope]) -> Result<Vec<Observed>, ClusterFault> {
        unexpected("a list of everything")
    }

    async fn watch(&self, _: &[KindScope]) {}

    fn await_namespace(&self, _: &str, _: &str, _: &SubjectRef) {}

    fn await_nothing(&self, _: &str, _: Option<&SubjectKey>) {}

    fn changes(&self) -> Option<mpsc::Receiver<Change>> {
        None
    }

    async fn announce(&self, _: &Adapter, _: &SubjectKey, _: &str, _: &str) {}

    async fn reachable(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use berth_engine::{
        contract::Reference,
        effect::Expect,
        manifest::{LABEL_ADAPTER, LABEL_SUBJECT_ID, LABEL_SUBJECT_KIND},
    };
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn a_job_is_made_and_seen_through_the_socket_as_in_the_simulation() {
        let served = Served::begin().unwrap();
        let remote = Remote::new(served.socket());
        let job = Reference {
            api_version: "batch/v1".to_owned(),
            kind: "Job".to_owned(),
            namespace: Some(NAMESPACE.to_owned()),
            name: "work".to_owned(),
        };
        let labels = json!({LABEL_ADAPTER: "a", LABEL_SUBJECT_KIND: "Cluster", LABEL_SUBJECT_ID: "c-1"});
        let container = json!({"name": "work", "image": "registry.example.com/work:1"});
        let apply = Apply {
            reference: job.clone(),
            document: json!({
                "apiVersion": "batch/v1", "kind": "Job",
                "metadata": {"name": "work", "namespace": NAMESPACE, "labels": labels},
                "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [container]}}},
            }),
            field_manager: "a".to_owned(),
            force: false,
            expect: Expect::Absent,
        };
        let ours = |account: &str| Identity {
            namespace: NAMESPACE.to_owned(),
            service_account: account.to_owned(),
        };
        let refused = remote.apply(&ours("nobody"), &apply).await.unwrap_err();
        assert_eq!(refused.cause, ClusterCause::Forbidden, "faults come through: {refused}");
        remote.apply(&ours(NAMESPACE), &apply).await.unwrap();
        while remote.unfinished().await.unwrap() > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let ownership = Ownership {
            adapter: "a".to_owned(),
            subject: SubjectKey {
                kind: "Cluster".to_owned(),
                id: "c-1".to_owned(),
            },
            kinds: vec![KindScope {
                api_version: "batch/v1".to_owned(),
                kind: "Job".to_owned(),
                namespace: Some(NAMESPACE.to_owned()),
            }],
        };
        let observed = remote.observe(&ownership).await.unwrap();
        assert_eq!(observed.len(), 1);
        assert_eq!(observed[0].reference, job);
        assert_eq!(observed[0].document["status"]["succeeded"], 1);
    }
}
