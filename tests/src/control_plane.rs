//! A real Kubernetes control plane as child processes: etcd, kube-apiserver,
//! kube-controller-manager, kube-scheduler, and kwok in the place of kubelets.
//!
//! Owns the processes, their ports and their folder. Never needs a container, root or a
//! cluster; several can run side by side. Everything listens on loopback only.
//!
//! # Guarantees
//! - [`ControlPlane::start`] returns when a Job would run: the API server is ready, the
//!   controllers create service accounts, and a node is there.
//! - The processes end with the value, and with the test process, however it ends.
//!
//! A pod's fate is told by annotations of its template: `test/outcome` is `ok` (the
//! default), `fail`, `hang`, `image-pull-backoff` or another that `kwok.yaml` lists;
//! `test/exit-code` and `test/message` say how a failing container ends.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a harness may panic: it runs in tests only"
)]

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Mutex,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use base64::Engine as _;
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::OnceCell;

mod gate;

pub use gate::{Gate, Path as NetworkPath};

/// The folders below the tools' folder, by `cargo xtask setup`.
const KUBERNETES: &str = "kubernetes-v1.34.4";
const ETCD: &str = "etcd-v3.6.7";
const KWOK: &str = "kwok-v0.7.0";

/// How long any one condition is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running control plane.
#[derive(Debug)]
pub struct ControlPlane {
    folder: TempDir,
    tools: PathBuf,
    address: String,
    ports: Ports,
    /// By binary. Locked only for the moment of a start or stop.
    processes: Mutex<BTreeMap<&'static str, Process>>,
    /// Removes the folder after this process, for a value that is shared is never dropped.
    _sweeper: Child,
}

/// As whom a test talks to the API server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum User {
    /// May do everything (`system:masters`).
    Admin,
    /// What berth itself may do: read everything, impersonate service accounts, write events.
    Berth,
}

impl User {
    fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Berth => "berth",
        }
    }
}

impl ControlPlane {
    /// Starts a control plane of its own. Takes about five seconds.
    ///
    /// # Errors
    /// When a tool is missing, a process ends early, or a condition is not reached in a minute.
    pub async fn start() -> Result<Self> {
        let tools = tools()?;
        let plane = tokio::task::spawn_blocking(move || Self::spawn(tools)).await??;
        tokio::select! {
            error = plane.breaks() => Err(error),
            settled = plane.settle() => settled.map(|()| plane),
        }
    }

    /// Comes to an end when a process of it does, and says which and why.
    async fn breaks(&self) -> anyhow::Error {
        loop {
            if let Err(error) = self.all_run() {
                return error;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// The control plane that all tests of this process share. Tests keep out of each
    /// other's way by namespaces of their own. Do not stop its API server.
    pub async fn shared() -> &'static Self {
        static SHARED: OnceCell<ControlPlane> = OnceCell::const_new();
        SHARED
            .get_or_init(|| async { Self::start().await.unwrap_or_else(|error| panic!("{error:#}")) })
            .await
    }

    /// The file that tells how to connect as `user`.
    #[must_use]
    pub fn kubeconfig(&self, user: User) -> PathBuf {
        self.path(&format!("{}.kubeconfig", user.name()))
    }

    /// The API server's URL.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.address
    }

    /// A new client. Clients belong to the runtime that they were made in, so each test makes its own.
    ///
    /// # Errors
    /// When the kubeconfig cannot be read.
    pub async fn client(&self, user: User) -> Result<Client> {
        let file = Kubeconfig::read_from(self.kubeconfig(user))?;
        let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?;
        Ok(Client::try_from(config)?)
    }

    /// A network path to the API server that the test can cut, for `user`. Belongs to the
    /// runtime that it was made in.
    ///
    /// # Errors
    /// When its kubeconfig cannot be written.
    pub fn gate(&self, user: User) -> Result<Gate> {
        let [port] = free_ports();
        let kubeconfig = self.path(&format!("gate-{port}.kubeconfig"));
        let text = std::fs::read_to_string(self.kubeconfig(user))?;
        std::fs::write(
            &kubeconfig,
            text.replace(&self.address, &format!("https://127.0.0.1:{port}")),
        )?;
        Ok(Gate::new(port, self.ports.api, kubeconfig))
    }

    /// POSTs an object as admin, as it is written in a YAML file.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub async fn create_yaml(&self, collection: &str, yaml: &str) -> Result<Value> {
        let request = http::Request::post(collection)
            .header("content-type", "application/yaml")
            .body(yaml.as_bytes().to_vec())?;
        let created = self.client(User::Admin).await?.request(request).await;
        created.with_context(|| format!("cannot create in {collection}"))
    }

    /// Kills the API server. Its data stays.
    pub fn stop_api_server(&self) {
        self.processes.lock().unwrap().remove("kube-apiserver");
    }

    /// Starts the API server again, on the same port, and waits until it is ready.
    ///
    /// # Errors
    /// When it does not become ready.
    pub async fn start_api_server(&self) -> Result<()> {
        self.run_api_server()?;
        self.api_server_is_ready().await
    }

    /// Kills API server and controllers, as when their machine dies. Their data stays.
    pub fn stop_machine(&self) {
        self.stop_api_server();
        self.processes.lock().unwrap().remove("kube-controller-manager");
    }

    /// Starts API server and controllers again, and waits until the API server is ready.
    ///
    /// # Errors
    /// When it does not become ready.
    pub async fn start_machine(&self) -> Result<()> {
        self.start_api_server().await?;
        self.run_controllers()
    }

    /// Creates a namespace and waits until pods can be created in it.
    ///
    /// # Errors
    /// When it exists, or cannot be created.
    pub async fn namespace(&self, name: &str) -> Result<()> {
        self.create(
            "/api/v1/namespaces",
            &json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}),
        )
        .await?;
        self.wait_for(&format!("/api/v1/namespaces/{name}/serviceaccounts/default"), |_| true)
            .await?;
        Ok(())
    }

    /// Creates a service account that may do what `rules` (of a Role) say, in its own
    /// namespace; afterwards it may. [`everything`] is the rule that allows all.
    ///
    /// # Errors
    /// When one of the objects cannot be created.
    pub async fn service_account(&self, namespace: &str, name: &str, rules: Value) -> Result<()> {
        self.create(
            &format!("/api/v1/namespaces/{namespace}/serviceaccounts"),
            &json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}}),
        )
        .await?;
        let first = json!({
            "namespace": namespace, "group": rules[0]["apiGroups"][0], "resource": rules[0]["resources"][0],
            "verb": rules[0]["verbs"][0],
        });
        self.grant(Some(namespace), name, rules, (namespace, name)).await?;
        self.wait_for_right(&format!("system:serviceaccount:{namespace}:{name}"), &first)
            .await
    }

    /// Grants `rules` to a service account, given by namespace and name: in `namespace`, or
    /// in the whole cluster. `name` is that of the role and of its binding.
    ///
    /// # Errors
    /// When one of the objects cannot be created.
    pub async fn grant(
        &self,
        namespace: Option<&str>,
        name: &str,
        rules: Value,
        (of, service_account): (&str, &str),
    ) -> Result<()> {
        let subject = json!({"kind": "ServiceAccount", "name": service_account, "namespace": of});
        self.bind(namespace, name, rules, subject).await
    }

    /// Waits until `user` has a right, given as the `resourceAttributes` of a SubjectAccessReview:
    /// rights come into force a moment after they were granted.
    ///
    /// # Errors
    /// When that takes longer than a minute.
    pub async fn wait_for_right(&self, user: &str, right: &Value) -> Result<()> {
        let api_version = "authorization.k8s.io/v1";
        let spec = json!({"user": user, "resourceAttributes": right});
        let review = json!({"apiVersion": api_version, "kind": "SubjectAccessReview", "spec": spec});
        let end = Instant::now() + PATIENCE;
        loop {
            let answer = self
                .create(&format!("/apis/{api_version}/subjectaccessreviews"), &review)
                .await?;
            if answer["status"]["allowed"] == true {
                return Ok(());
            }
            ensure!(Instant::now() < end, "{user} did not get the right {right}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// POSTs an object as admin; answers with what was created.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub async fn create(&self, collection: &str, object: &Value) -> Result<Value> {
        let request = http_request("POST", collection, Some(object))?;
        self.client(User::Admin)
            .await?
            .request(request)
            .await
            .with_context(|| format!("cannot create in {collection}"))
    }

    /// GETs a path as admin; none if it is not there.
    ///
    /// # Errors
    /// When the API server fails.
    pub async fn get(&self, path: &str) -> Result<Option<Value>> {
        match self
            .client(User::Admin)
            .await?
            .request(http_request("GET", path, None)?)
            .await
        {
            Ok(value) => Ok(Some(value)),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot get {path}")),
        }
    }

    /// DELETEs a path as admin.
    ///
    /// # Errors
    /// When the API server refuses.
    pub async fn delete(&self, path: &str) -> Result<()> {
        let _: Value = self
            .client(User::Admin)
            .await?
            .request(http_request("DELETE", path, None)?)
            .await
            .with_context(|| format!("cannot delete {path}"))?;
        Ok(())
    }

    /// Applies a merge patch as admin; `path` may end in `/status`.
    ///
    /// # Errors
    /// When the API server refuses.
    pub async fn patch(&self, path: &str, patch: &Value) -> Result<Value> {
        let mut request = http_request("PATCH", path, Some(patch))?;
        request
            .headers_mut()
            .insert("content-type", "application/merge-patch+json".parse()?);
        self.client(User::Admin)
            .await?
            .request(request)
            .await
            .with_context(|| format!("cannot patch {path}"))
    }

    /// Waits until the object at `path` exists and fulfils `condition`.
    ///
    /// # Errors
    /// When that takes longer than a minute; says what the object was at the end.
    pub async fn wait_for(&self, path: &str, condition: impl Fn(&Value) -> bool) -> Result<Value> {
        let client = self.client(User::Admin).await?;
        let end = Instant::now() + PATIENCE;
        loop {
            let last = client.request::<Value>(http_request("GET", path, None)?).await;
            match last {
                Ok(object) if condition(&object) => return Ok(object),
                last if Instant::now() > end => bail!("{path} did not become as awaited; last: {last:?}"),
                _ => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    fn spawn(tools: PathBuf) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("berth-control-plane-").tempdir()?;
        let ports = Ports::find();
        let plane = Self {
            address: format!("https://127.0.0.1:{}", ports.api),
            _sweeper: sweeper(folder.path())?,
            folder,
            tools,
            ports,
            processes: Mutex::default(),
        };
        plane.write_files()?;
        plane.run(
            ETCD,
            "etcd",
            &[
                format!("--data-dir={}", plane.path("etcd").display()),
                format!("--listen-client-urls=http://127.0.0.1:{}", plane.ports.etcd),
                format!("--advertise-client-urls=http://127.0.0.1:{}", plane.ports.etcd),
                format!("--listen-peer-urls=http://127.0.0.1:{}", plane.ports.etcd_peer),
                "--unsafe-no-fsync".to_owned(),
                "--log-level=warn".to_owned(),
            ],
        )?;
        plane.run_api_server()?;
        Ok(plane)
    }

    /// Waits for the API server, then starts what needs it.
    async fn settle(&self) -> Result<()> {
        self.api_server_is_ready().await?;
        let kubeconfig = format!("--kubeconfig={}", self.kubeconfig(User::Admin).display());
        self.run_controllers()?;
        self.run(
            KUBERNETES,
            "kube-scheduler",
            &[
                kubeconfig.clone(),
                "--leader-elect=false".to_owned(),
                "--bind-address=127.0.0.1".to_owned(),
                format!("--secure-port={}", self.ports.scheduler),
            ],
        )?;
        self.run(
            KWOK,
            "kwok",
            &[
                kubeconfig,
                "--manage-all-nodes=true".to_owned(),
                format!("--config={}", self.path("kwok.yaml").display()),
                format!("--server-address=127.0.0.1:{}", self.ports.kwok),
            ],
        )?;
        self.create("/api/v1/nodes", &json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": {"name": "node", "annotations": {"kwok.x-k8s.io/node": "fake"}, "labels": {"kubernetes.io/os": "linux"}},
        }))
        .await?;
        self.bind(
            None,
            "berth",
            json!([
                {"apiGroups": ["*"], "resources": ["*"], "verbs": ["get", "list", "watch"]},
                {"apiGroups": [""], "resources": ["serviceaccounts"], "verbs": ["impersonate"]},
                {"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create"]},
            ]),
            json!({"kind": "User", "name": "berth"}),
        )
        .await?;
        self.wait_for("/api/v1/namespaces/default/serviceaccounts/default", |_| true)
            .await?;
        self.wait_for("/api/v1/nodes/node", |node| {
            node["spec"]["taints"].is_null()
                && node["status"]["conditions"]
                    .as_array()
                    .is_some_and(|all| all.iter().any(|one| one["type"] == "Ready" && one["status"] == "True"))
        })
        .await?;
        Ok(())
    }

    async fn bind(&self, namespace: Option<&str>, name: &str, rules: Value, subject: Value) -> Result<()> {
        let api_version = "rbac.authorization.k8s.io/v1";
        let (role, root) = match namespace {
            Some(namespace) => ("Role", format!("/apis/{api_version}/namespaces/{namespace}/")),
            None => ("ClusterRole", format!("/apis/{api_version}/cluster")),
        };
        let metadata = json!({"name": name});
        self.create(
            &format!("{root}roles"),
            &json!({"apiVersion": api_version, "kind": role, "metadata": metadata, "rules": rules}),
        )
        .await?;
        self.create(
            &format!("{root}rolebindings"),
            &json!({
                "apiVersion": api_version, "kind": format!("{role}Binding"), "metadata": metadata,
                "subjects": [subject],
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": role, "name": name},
            }),
        )
        .await?;
        Ok(())
    }

    fn run_api_server(&self) -> Result<()> {
        let key = self.path("sa.key");
        self.run(
            KUBERNETES,
            "kube-apiserver",
            &[
                format!("--etcd-servers=http://127.0.0.1:{}", self.ports.etcd),
                format!("--cert-dir={}", self.path("certificates").display()),
                format!("--secure-port={}", self.ports.api),
                "--bind-address=127.0.0.1".to_owned(),
                format!("--service-account-key-file={}", key.display()),
                format!("--service-account-signing-key-file={}", key.display()),
                "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
                "--service-cluster-ip-range=10.0.0.0/24".to_owned(),
                "--authorization-mode=RBAC".to_owned(),
                format!("--token-auth-file={}", self.path("tokens.csv").display()),
                "--shutdown-delay-duration=0s".to_owned(),
            ],
        )
    }

    async fn api_server_is_ready(&self) -> Result<()> {
        // Its certificate is its own work; clients can be made once it is there.
        let certificate = self.path("certificates/apiserver.crt");
        let end = Instant::now() + PATIENCE;
        loop {
            self.all_run()?;
            if certificate.exists() {
                let ready = self
                    .client(User::Admin)
                    .await?
                    .request_text(http_request("GET", "/readyz", None)?)
                    .await;
                if ready.is_ok() {
                    return Ok(());
                }
            }
            ensure!(
                Instant::now() < end,
                "kube-apiserver did not become ready; {}",
                self.log("kube-apiserver")
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn run_controllers(&self) -> Result<()> {
        self.run(
            KUBERNETES,
            "kube-controller-manager",
            &[
                format!("--kubeconfig={}", self.kubeconfig(User::Admin).display()),
                format!("--service-account-private-key-file={}", self.path("sa.key").display()),
                "--leader-elect=false".to_owned(),
                "--bind-address=127.0.0.1".to_owned(),
                format!("--secure-port={}", self.ports.controller_manager),
                // Garbage collection and namespaces are waited for in tests.
                "--concurrent-gc-syncs=5".to_owned(),
                // Many Jobs at once are waited for, too: by default it makes 20 requests a second.
                "--kube-api-qps=500".to_owned(),
                "--kube-api-burst=1000".to_owned(),
                "--concurrent-job-syncs=20".to_owned(),
                // Fake kubelets have no heartbeat. Without one a node's pods would be marked as not ready, for good.
                "--node-monitor-grace-period=24h".to_owned(),
            ],
        )
    }

    fn run(&self, set: &str, binary: &'static str, arguments: &[String]) -> Result<()> {
        let program = self.tools.join(set).join(binary);
        let process = Process::spawn(&program, arguments, &self.path(&format!("{binary}.log")))?;
        self.processes.lock().unwrap().insert(binary, process);
        Ok(())
    }

    fn all_run(&self) -> Result<()> {
        for (binary, process) in self.processes.lock().unwrap().iter_mut() {
            if let Some(status) = process.0.try_wait()? {
                bail!("{binary} ended with {status}; {}", self.log(binary));
            }
        }
        Ok(())
    }

    /// The last lines of a log, for a message.
    fn log(&self, binary: &str) -> String {
        let log = std::fs::read_to_string(self.path(&format!("{binary}.log"))).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        format!("its log ends:\n{}", lines[lines.len().saturating_sub(15)..].join("\n"))
    }

    /// Copies the logs into a folder, for whoever looks for a cause; the plane's own folder goes with it.
    ///
    /// # Errors
    /// When one cannot be copied.
    pub fn keep_logs(&self, into: &Path) -> Result<()> {
        for binary in self.processes.lock().unwrap().keys() {
            let name = format!("{binary}.log");
            std::fs::copy(self.path(&name), into.join(name))?;
        }
        Ok(())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write_files(&self) -> Result<()> {
        let tokens: BTreeMap<_, _> = [User::Admin, User::Berth]
            .map(|user| (user.name(), uuid::Uuid::new_v4().to_string()))
            .into();
        std::fs::write(
            self.path("tokens.csv"),
            format!(
                "{},admin,admin,system:masters\n{},berth,berth\n",
                tokens[User::Admin.name()],
                tokens[User::Berth.name()]
            ),
        )?;
        std::fs::write(self.path("sa.key"), private_key())?;
        std::fs::write(self.path("kwok.yaml"), include_str!("../kwok.yaml"))?;
        for user in [User::Admin, User::Berth] {
            let kubeconfig = json!({
                "apiVersion": "v1", "kind": "Config", "current-context": "test",
                "contexts": [{"name": "test", "context": {"cluster": "test", "user": user.name(), "namespace": "default"}}],
                "clusters": [{"name": "test", "cluster": {
                    "server": self.address, "certificate-authority": self.path("certificates/apiserver.crt"),
                }}],
                "users": [{"name": user.name(), "user": {"token": tokens[user.name()]}}],
            });
            std::fs::write(self.kubeconfig(user), serde_json::to_string_pretty(&kubeconfig)?)?;
        }
        Ok(())
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        // Etcd last, so that the others do not fill their logs.
        let mut processes = self.processes.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        processes.retain(|binary, _| *binary == "etcd");
        processes.clear();
    }
}

/// The rule of a Role that allows all.
#[must_use]
pub fn everything() -> Value {
    json!([{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}])
}

/// A child that ends when this value, or this process, does: a shell holds the end of a
/// pipe of ours and kills the child when the pipe closes.
#[derive(Debug)]
pub(crate) struct Process(Child);

impl Process {
    pub(crate) fn spawn(program: &Path, arguments: &[String], log: &Path) -> Result<Self> {
        const WATCHDOG: &str = r#"
            exec 3<&0
            "$@" </dev/null 3<&- &
            child=$!
            { cat <&3 >/dev/null; kill -9 $child; } 2>/dev/null &
            exec 3<&-
            wait $child
        "#;
        let log = std::fs::OpenOptions::new().create(true).append(true).open(log)?;
        Command::new("sh")
            .args(["-c", WATCHDOG, "watchdog"])
            .arg(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .map(Self)
            .with_context(|| format!("cannot start {}", program.display()))
    }
}

impl Process {
    /// Whether it ended.
    pub(crate) fn has_ended(&mut self) -> Result<bool> {
        Ok(self.0.try_wait()?.is_some())
    }

    /// The process that was started, behind the shell that watches it; none if it has ended.
    pub(crate) fn child_id(&self) -> Option<u32> {
        let shell = self.0.id();
        let children = std::fs::read_to_string(format!("/proc/{shell}/task/{shell}/children")).ok()?;
        // The shell's first child; the second reads the pipe.
        children.split_whitespace().next()?.parse().ok()
    }

    /// Asks it to end, by SIGTERM.
    pub(crate) fn terminate(&self) -> Result<()> {
        let id = self.child_id().context("the process has ended")?;
        let told = Command::new("kill").args(["-TERM", &id.to_string()]).status()?;
        ensure!(told.success(), "the process {id} cannot be told to end");
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// Removes a folder after this process has ended.
pub(crate) fn sweeper(folder: &Path) -> Result<Child> {
    Command::new("sh")
        .args(["-c", r#"cat >/dev/null; sleep 1; rm -rf "$1""#, "sweeper"])
        .arg(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("cannot start sh")
}

/// Free ports on loopback, below those that the system gives to outgoing connections.
#[derive(Debug)]
struct Ports {
    etcd: u16,
    etcd_peer: u16,
    api: u16,
    controller_manager: u16,
    scheduler: u16,
    kwok: u16,
}

impl Ports {
    fn find() -> Self {
        let [etcd, etcd_peer, api, controller_manager, scheduler, kwok] = free_ports();
        Self {
            etcd,
            etcd_peer,
            api,
            controller_manager,
            scheduler,
            kwok,
        }
    }
}

/// Ports on loopback that nobody has, all different. They are below those that clients are given.
pub(crate) fn free_ports<const N: usize>() -> [u16; N] {
    let held: Vec<_> =
        std::iter::repeat_with(|| u16::try_from(10_000 + uuid::Uuid::new_v4().as_u128() % 20_000).unwrap())
            .filter_map(|port| {
                std::net::TcpListener::bind(("127.0.0.1", port))
                    .ok()
                    .map(|held| (port, held))
            })
            .take(N)
            .collect();
    std::array::from_fn(|index| held[index].0)
}

/// The folder with the tools; says what to do if one is missing.
fn tools() -> Result<PathBuf> {
    let folder = match std::env::var_os("BERTH_TOOLS") {
        Some(folder) => PathBuf::from(folder),
        None => std::env::home_dir()
            .context("no home directory; set BERTH_TOOLS")?
            .join(".cache/berth/tools"),
    };
    let needed = [
        (ETCD, "etcd"),
        (KUBERNETES, "kube-apiserver"),
        (KUBERNETES, "kube-controller-manager"),
        (KUBERNETES, "kube-scheduler"),
        (KWOK, "kwok"),
    ];
    for (set, binary) in needed {
        let path = folder.join(set).join(binary);
        ensure!(
            path.is_file(),
            "{} is missing. Run `cargo xtask setup`, or run the tests by `cargo xtask test`; \
             BERTH_TOOLS names another folder.",
            path.display()
        );
    }
    Ok(folder)
}

/// A fresh P-256 key, as the API server signs service account tokens with it: any 32 bytes
/// are one, and the readers compute its public half.
fn private_key() -> String {
    let mut der = vec![0x30, 0x31, 0x02, 0x01, 0x01, 0x04, 0x20];
    der.extend(uuid::Uuid::new_v4().as_bytes());
    der.extend(uuid::Uuid::new_v4().as_bytes());
    der.extend([0xa0, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07]);
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
    format!(
        "-----BEGIN EC PRIVATE KEY-----\n{}\n-----END EC PRIVATE KEY-----\n",
        lines.join("\n")
    )
}

fn http_request(method: &str, path: &str, body: Option<&Value>) -> Result<http::Request<Vec<u8>>> {
    let body = body.map(serde_json::to_vec).transpose()?.unwrap_or_default();
    Ok(http::Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", "application/json")
        .body(body)?)
}
