//! `berth serve` as it is deployed: the program, on a real control plane, beside a simulated HyperFleet API.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests: a panic fails them"
)]

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use berth::{
    fleet::SystemClock,
    simulate::fleet::{FleetState, Kind, Server, Simulation},
};
use berth_tests::control_plane::{ControlPlane, User, everything};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::mpsc;

mod serve {
    mod pull_secrets;
    mod registries;
    mod reload;
    mod secrets;
}
#[path = "live/guest.rs"]
mod guest;
#[path = "registry_access/registry.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod running;
#[path = "registry/world.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod world;

const PATIENCE: Duration = Duration::from_secs(120);

/// An adapter whose work is one Job.
fn adapter(namespace: &str) -> String {
    format!(
        r#"
apiVersion: berth.hyperfleet.io/v1alpha1
kind: Adapter
metadata: {{name: validation}}
spec:
  subjects: [Cluster]
  namespace: {namespace}
  serviceAccount: validation
  permits: [{{apiVersion: batch/v1, kind: Job}}]
  resources:
    - name: validate
      manifest:
        apiVersion: batch/v1
        kind: Job
        metadata: {{name: "validate-{{{{ .subject.id }}}}"}}
        spec:
          template:
            spec:
              restartPolicy: Never
              containers:
                - {{name: validate, image: "registry.example.com/validator:1"}}
  postconditions:
    - name: validated
      expression: 'objects.validate.status.succeeded > 0'
      message: the request is being validated
"#
    )
}

/// The program, which is built before these tests; free of the developer's settings.
fn berth(arguments: &[&str]) -> Command {
    let test = std::env::current_exe().unwrap();
    let program = test.ancestors().nth(2).unwrap().join("berth");
    assert!(
        program.exists(),
        "{} is missing: run `cargo build -p berth`, or `cargo xtask test`",
        program.display()
    );
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("BERTH_") {
            command.env_remove(name);
        }
    }
    command.args(arguments);
    command
}

/// A running host, and what is around it.
struct Deployed {
    process: Child,
    lines: mpsc::UnboundedReceiver<String>,
    log: Vec<Value>,
    events: String,
    admin: String,
    http: reqwest::Client,
    hyperfleet: Arc<Simulation>,
    namespace: String,
    folder: TempDir,
    _server: Server,
}

impl Deployed {
    /// Starts the program with one good document, and one that is broken.
    async fn start() -> Self {
        Self::start_with(|_, _, _| {}).await
    }

    /// The same once `change` has had its way with the folder, whose documents may use the namespace, and the settings.
    async fn start_with(change: impl FnOnce(&Path, &str, &mut Value)) -> Self {
        drop(rustls::crypto::ring::default_provider().install_default());
        let plane = ControlPlane::shared().await;
        let namespace = format!("serve-{}", &uuid::Uuid::new_v4().to_string()[..8]);
        plane.namespace(&namespace).await.unwrap();
        plane
            .service_account(&namespace, "validation", everything())
            .await
            .unwrap();

        let hyperfleet = Simulation::new(FleetState::new(&["validation"], &[]), Arc::new(SystemClock::new()));
        let server = Server::spawn(Arc::clone(&hyperfleet)).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let kubeconfig = plane.kubeconfig(User::Berth);
        let mut settings = Self::write_documents(folder.path(), &namespace, server.url().as_str(), &kubeconfig);
        change(folder.path(), &namespace, &mut settings);
        // JSON is YAML.
        std::fs::write(folder.path().join("berth.yaml"), settings.to_string()).unwrap();
        let (process, lines) = Self::spawn(folder.path());
        let mut deployed = Self {
            process,
            lines,
            log: Vec::new(),
            events: String::new(),
            admin: String::new(),
            http: berth_tests::stage::client(),
            hyperfleet,
            namespace,
            folder,
            _server: server,
        };
        deployed.is_ready().await;
        deployed
    }

    fn spawn(folder: &Path) -> (Child, mpsc::UnboundedReceiver<String>) {
        let config = folder.join("berth.yaml");
        let mut process = berth(&["serve", "--config", config.to_str().unwrap()])
            // Documents give their plugins as much: the machine of a test may be busy.
            .env("BERTH_LIMITS_PLUGINS_DEADLINE", "60s")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (read, lines) = mpsc::unbounded_channel();
        let stderr = BufReader::new(process.stderr.take().unwrap());
        std::thread::spawn(move || {
            stderr
                .lines()
                .map_while(Result::ok)
                .try_for_each(|line| read.send(line))
        });
        (process, lines)
    }

    async fn is_ready(&mut self) {
        let ready = self.logged(|line| line["message"] == "berth is ready").await;
        self.events = format!("http://{}", ready["events"].as_str().unwrap());
        self.admin = format!("http://{}", ready["admin"].as_str().unwrap());
    }

    /// Ends the program and waits for it; `meanwhile` something happens, then another one starts in the same folder.
    /// Answers with how long that one took to be ready.
    async fn restart(&mut self, meanwhile: impl FnOnce(&Path)) -> Duration {
        self.terminate();
        assert_eq!(self.ended().await.code(), Some(0));
        meanwhile(self.folder.path());
        let began = Instant::now();
        (self.process, self.lines) = Self::spawn(self.folder.path());
        self.log.clear();
        self.is_ready().await;
        let took = began.elapsed();
        let (ready, checks) = self.ask("/readyz").await;
        assert_eq!(ready, 200, "{checks}");
        took
    }

    fn write_documents(folder: &Path, namespace: &str, fleet: &str, kubeconfig: &Path) -> Value {
        let adapters = folder.join("adapters");
        std::fs::create_dir(&adapters).unwrap();
        std::fs::write(adapters.join("validation.yaml"), adapter(namespace)).unwrap();
        let broken = adapter(namespace)
            .replace("name: validation}", "name: broken}")
            .replace("permits:", "permitz:");
        std::fs::write(adapters.join("broken.yaml"), broken).unwrap();
        json!({
            "fleet": {"url": fleet},
            "kubernetes": {"kubeconfig": kubeconfig},
            "adapters": adapters,
            "sources": {"http": {"listen": "127.0.0.1:0"}},
            "admin": {"listen": "127.0.0.1:0"},
            "cache": folder.join("cache"),
            "log": {"format": "json", "level": "info,berth=debug"},
        })
    }

    /// Waits for a log line; every line must be a JSON object.
    async fn logged(&mut self, is: impl Fn(&Value) -> bool) -> Value {
        if let Some(line) = self.log.iter().find(|line| is(line)) {
            return line.clone();
        }
        self.next_logged(is).await
    }

    /// The same, but only lines that were not read yet.
    async fn next_logged(&mut self, is: impl Fn(&Value) -> bool) -> Value {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let line = match tokio::time::timeout_at(deadline, self.lines.recv()).await {
                Ok(Some(line)) => line,
                Ok(None) => panic!("the program ended: {:#?}", self.log),
                Err(_) => panic!("it was not logged: {:#?}", self.log),
            };
            let line: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
            self.log.push(line.clone());
            if is(&line) {
                return line;
            }
        }
    }

    fn cluster(&self, name: &str) -> String {
        let create = self.hyperfleet.with(|state, now| {
            let spec = json!({"provider": "gcp", "region": "europe-west1"});
            state.create(now, Kind::Cluster, None, name, &spec)
        });
        create.unwrap()["href"].as_str().unwrap().to_owned()
    }

    fn look(&self, path: &str) -> Value {
        let response = self
            .hyperfleet
            .with(|state, now| state.handle(now, "GET", path, None, b""));
        serde_json::from_slice(&response.body).unwrap()
    }

    /// Posts an event about a cluster.
    fn post(&self, path: &str, id: &str) -> impl Future<Output = reqwest::Response> + Send + 'static {
        let cluster = self.look(path);
        let event = json!({
            "specversion": "1.0", "id": id, "source": "hyperfleet-sentinel",
            "type": "com.redhat.hyperfleet.cluster.reconcile", "datacontenttype": "application/json",
            "data": {
                "id": cluster["id"], "kind": cluster["kind"], "href": cluster["href"],
                "generation": cluster["generation"],
            },
        });
        let request = self
            .http
            .post(&self.events)
            .header("content-type", "application/cloudevents+json");
        let sent = request.body(event.to_string()).send();
        async move { sent.await.unwrap() }
    }

    async fn ask(&self, path: &str) -> (u16, String) {
        let response = self.http.get(format!("{}{path}", self.admin)).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    fn terminate(&self) {
        let told = Command::new("kill")
            .args(["-TERM", &self.process.id().to_string()])
            .status()
            .unwrap();
        assert!(told.success());
    }

    /// Waits for the end of the program.
    async fn ended(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "the program does not end");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Deployed {
    fn drop(&mut self) {
        // It may have ended.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

fn id(path: &str) -> &str {
    path.rsplit('/').next().unwrap()
}

#[tokio::test]
async fn an_event_becomes_a_status_and_is_told_of() {
    let mut host = Deployed::start().await;
    let cluster = host.cluster("east-1");
    let id = id(&cluster);

    let refused = host.logged(|line| line["level"] == "ERROR").await.to_string();
    assert!(refused.contains("broken.yaml:9:3"), "{refused}");
    assert!(refused.contains("permitz"), "{refused}");

    let answer = host.post(&cluster, "event-1").await;
    assert!(answer.status().is_success(), "{answer:?}");
    let rows = host.look(&format!("{cluster}/statuses"));
    assert_eq!(
        (&rows["items"][0]["adapter"], &rows["total"]),
        (&json!("validation"), &json!(1)),
        "{rows}"
    );

    let told = host.logged(|line| line["message"] == "reported").await;
    let subject = format!("Cluster/{id}");
    assert_eq!(
        (
            &told["span"]["adapter"],
            &told["span"]["subject"],
            &told["span"]["event"]
        ),
        (&json!("validation"), &json!(subject), &json!("event-1")),
        "{told}"
    );
    // The Job runs by itself; its end is seen, without another event.
    host.logged(|line| line["message"] == "reported" && line["journey"] == "achieved")
        .await;
    let rows = host.look(&format!("{cluster}/statuses"));
    let available = rows["items"][0]["conditions"]
        .as_array()
        .unwrap()
        .iter()
        .find(|one| one["type"] == "Available");
    assert_eq!(available.unwrap()["status"], "True", "{rows}");

    assert_eq!(host.ask("/healthz").await, (200, r#"{"status":"ok"}"#.to_owned()));
    let (ready, checks) = host.ask("/readyz").await;
    assert_eq!(ready, 200, "{checks}");
    let (status, metrics) = host.ask("/metrics").await;
    assert_eq!(status, 200);
    for line in [
        r#"berth_events_received_total{source="http"} 1"#,
        r#"berth_events_settled_total{result="done"} 1"#,
        r#"berth_reconcile_duration_seconds_count{adapter="validation",journey="achieved"}"#,
    ] {
        assert!(metrics.contains(line), "{line} is missing: {metrics}");
    }
    assert!(!metrics.contains(id), "a subject is no label: {metrics}");

    let retry = |subject: &str| {
        berth(&["retry", subject, "--adapter", "validation", "--admin", &host.admin])
            .output()
            .unwrap()
    };
    let known = retry(&subject);
    assert_eq!(
        known.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&known.stderr)
    );
    let unknown = retry("Cluster/unknown");
    let told = String::from_utf8_lossy(&unknown.stderr).into_owned();
    assert_eq!(unknown.status.code(), Some(1), "{told}");
    assert!(told.contains("nothing is known of Cluster/unknown yet"), "{told}");
    let again = host.next_logged(|line| line["message"] == "reported").await;
    assert_eq!(
        (&again["span"]["subject"], &again["span"]["event"]),
        (&json!(subject), &Value::Null),
        "{again}"
    );

    host.terminate();
    assert_eq!(host.ended().await.code(), Some(0));
}

#[tokio::test]
async fn a_clean_journey_warns_of_nothing() {
    let mut host = Deployed::start_with(|folder, _, _| {
        std::fs::remove_file(folder.join("adapters/broken.yaml")).unwrap();
    })
    .await;
    let cluster = host.cluster("east-1");
    assert!(host.post(&cluster, "event-1").await.status().is_success());
    for journey in ["in-progress", "achieved"] {
        host.logged(|line| line["message"] == "reported" && line["journey"] == journey)
            .await;
    }
    host.terminate();
    assert_eq!(host.ended().await.code(), Some(0));
    while let Some(line) = host.lines.recv().await {
        host.log.push(serde_json::from_str(&line).unwrap());
    }
    let loud = host
        .log
        .iter()
        .filter(|line| line["level"] == "WARN" || line["level"] == "ERROR");
    assert_eq!(loud.collect::<Vec<_>>(), [&Value::Null; 0]);
}

#[tokio::test]
async fn a_host_that_is_told_to_end_finishes_what_it_began() {
    let mut host = Deployed::start_with(|_, _, settings| settings["fleet"]["timeout"] = json!("30s")).await;
    let (first, second) = (host.cluster("east-1"), host.cluster("east-2"));
    host.hyperfleet.take_requests();
    // What the host works on does not end before all is seen that must be seen meanwhile.
    host.hyperfleet.set_down(true);
    let begun = tokio::spawn(host.post(&first, "begun"));
    let deadline = Instant::now() + PATIENCE;
    while host.hyperfleet.take_requests().is_empty() {
        assert!(Instant::now() < deadline, "the host does not read the cluster");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }

    let told = Instant::now();
    host.terminate();
    host.logged(|line| line["message"] == "berth stops").await;
    let late = host.post(&second, "late").await;
    assert_eq!(late.status().as_u16(), 503);
    assert!(late.headers().contains_key("retry-after"), "{late:?}");
    let (ready, checks) = host.ask("/readyz").await;
    assert_eq!(ready, 503, "{checks}");

    host.hyperfleet.set_down(false);
    let begun = begun.await.unwrap();
    assert!(begun.status().is_success(), "{begun:?}");
    assert_eq!(host.look(&format!("{first}/statuses"))["total"], 1);
    assert_eq!(host.look(&format!("{second}/statuses"))["total"], 0);
    assert_eq!(host.ended().await.code(), Some(0));
    assert!(told.elapsed() < Duration::from_secs(20), "it took {:?}", told.elapsed());
}

#[test]
fn a_bad_configuration_is_refused_where_it_is_bad() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("berth.yaml");
    std::fs::write(
        &config,
        "fleet:\n  url: http://fleet.example\n  timeout: 10 parsecs\nadapters: .\n",
    )
    .unwrap();
    let output = berth(&["serve", "--config", config.to_str().unwrap()])
        .output()
        .unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(64), "{told}");
    assert!(
        told.starts_with(&format!("error: {}:3:12: fleet.timeout", config.display())),
        "{told}"
    );
}

#[test]
fn a_bad_level_of_the_log_is_refused_where_it_is_written() {
    const HINT: &str =
        "hint: write `error`, `warn`, `info`, `debug` or `trace`, or directives such as `info,berth=debug`";
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("berth.yaml");
    let told = |level: &str, variable: Option<&str>| {
        let text = format!("fleet:\n  url: http://fleet.example\nadapters: .\nlog:\n  level: {level}\n");
        std::fs::write(&config, text).unwrap();
        let mut command = berth(&["serve", "--config", config.to_str().unwrap()]);
        if let Some(level) = variable {
            command.env("BERTH_LOG_LEVEL", level);
        }
        let output = command.output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(64), "{told}");
        told
    };

    for level in ["loud", "info,berth=loud"] {
        let expected = format!(
            "error: {}:5:10: log.level: `{level}` is not a log level\n  {HINT}\n",
            config.display()
        );
        assert_eq!(told(level, None), expected);
        let expected = format!("error: environment: BERTH_LOG_LEVEL: `{level}` is not a log level\n  {HINT}\n");
        assert_eq!(told("info", Some(level)), expected);
    }
    // An empty text would let nothing but errors through, and nobody meant that.
    let expected = format!("error: {}:5:10: log.level: must not be empty", config.display());
    assert!(told("''", None).starts_with(&expected), "{}", told("''", None));
}
