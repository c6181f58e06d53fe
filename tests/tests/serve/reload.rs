//! The program takes changes over while it runs, and the command line tells how things stand.

use std::{os::unix::fs::symlink, path::Path, process::Output};

use berth_tests::control_plane::{ControlPlane, User};
use serde_json::{Value, json};

use crate::{Deployed, adapter, berth, id};

/// Runs the program to its end.
fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = berth(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

/// The link of a mounted ConfigMap to the folder with its files.
const DATA: &str = "..data";

/// The host's own file with a change.
fn changed(file: &Path, change: impl FnOnce(&mut Value)) -> String {
    let mut settings = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    change(&mut settings);
    settings.to_string()
}

impl Deployed {
    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.folder.path().join(name), text).unwrap();
    }

    /// Changes the host's own file.
    fn configure(&self, change: impl FnOnce(&mut Value)) {
        let file = self.folder.path().join("berth.yaml");
        std::fs::write(&file, changed(&file, change)).unwrap();
    }

    /// The same as a kubelet does it with a mounted ConfigMap: a new folder, and one link that is exchanged.
    fn mount(&self, version: &str, change: impl FnOnce(&mut Value)) {
        let path = |name: &str| self.folder.path().join(name);
        let settings = changed(&path("berth.yaml"), change);
        let before = std::fs::read_link(path(DATA)).unwrap();
        std::fs::create_dir(path(version)).unwrap();
        std::fs::write(path(version).join("berth.yaml"), settings).unwrap();
        symlink(version, path("..data_tmp")).unwrap();
        std::fs::rename(path("..data_tmp"), path(DATA)).unwrap();
        std::fs::remove_dir_all(self.folder.path().join(before)).unwrap();
    }

    fn state(&self, name: &str) -> Value {
        let (code, stdout, stderr) = run(&["adapter", "show", name, "--admin", &self.admin, "--output", "json"]);
        assert_eq!(code, Some(0), "{stderr}");
        serde_json::from_str(&stdout).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_and_settings_change_while_the_program_runs() {
    let mut host = Deployed::start().await;
    let cluster = host.cluster("east-1");
    assert!(host.post(&cluster, "first").await.status().is_success());
    let (code, stdout, stderr) = run(&["adapter", "list", "--admin", &host.admin]);
    assert_eq!(code, Some(0), "{stderr}");
    let state = |name: &str| {
        let line = stdout.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().to_owned()
    };
    assert_eq!(
        (state("validation"), state("broken")),
        ("live".to_owned(), "refused".to_owned())
    );
    assert!(stdout.contains("broken.yaml:9:3: spec.permitz"), "{stdout}");

    let broken = adapter(&host.namespace).replace("name: validation}", "name: broken}");
    host.write("adapters/broken.yaml", &broken);
    host.logged(|line| line["message"] == "an adapter is live" && line["adapter"] == "broken")
        .await;
    assert_eq!(host.state("broken")["state"], "live");

    let bad = adapter(&host.namespace).replace("objects.validate.", "objekts.validate.");
    host.write("adapters/validation.yaml", &bad);
    let refused = host
        .logged(|line| line["level"] == "ERROR" && line["problem"].to_string().contains("validation.yaml"))
        .await;
    assert!(
        refused["problem"].as_str().unwrap().contains("spec.postconditions[0]"),
        "{refused}"
    );
    assert_eq!(refused["last_good_stays"], true, "{refused}");
    assert_eq!(host.state("validation")["state"], "outdated");
    assert!(host.post(&cluster, "second").await.status().is_success());

    host.configure(|settings| {
        settings["limits"] = json!({"concurrency": 3});
        settings["log"]["level"] = json!("info");
        settings["fleet"]["timeout"] = json!("7s");
    });
    let changed = host.logged(|line| line["message"] == "the configuration changed").await;
    assert_eq!(changed["keys"], "limits.concurrency, log.level", "{changed}");
    let restart = host
        .logged(|line| line["level"] == "WARN" && line["keys"] == "fleet.timeout")
        .await;
    assert!(
        restart["message"].as_str().unwrap().contains("need a restart"),
        "{restart}"
    );
    host.configure(|settings| settings["limits"] = json!({"concurency": 4}));
    let refused = host
        .logged(|line| line["level"] == "ERROR" && line["problem"].to_string().contains("concurency"))
        .await;
    assert!(
        refused["problem"]
            .as_str()
            .unwrap()
            .contains("did you mean `concurrency`"),
        "{refused}"
    );
    assert!(host.post(&cluster, "third").await.status().is_success());
    let (_, metrics) = host.ask("/metrics").await;
    for line in [
        r#"berth_last_reload_success{what="configuration"} 0"#,
        r#"berth_adapter_state{adapter="validation",state="refused"} 1"#,
        "berth_restart_needed_settings 1",
    ] {
        assert!(metrics.contains(line), "{line} is missing: {metrics}");
    }
    host.terminate();
    assert_eq!(host.ended().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_hosts_own_file_as_a_mounted_configmap_goes_live_and_a_bad_one_is_refused() {
    let mut host = Deployed::start_with(|folder, _, _| {
        std::fs::create_dir(folder.join("..1")).unwrap();
        symlink("..1", folder.join(DATA)).unwrap();
        symlink(Path::new(DATA).join("berth.yaml"), folder.join("berth.yaml")).unwrap();
    })
    .await;
    let cluster = host.cluster("east-1");
    let written = host.folder.path().join("..1/berth.yaml");
    assert!(written.is_file(), "the file is behind the links");
    let is_good = async |host: &Deployed, good: u8| {
        let (_, metrics) = host.ask("/metrics").await;
        let line = format!(r#"berth_last_reload_success{{what="configuration"}} {good}"#);
        assert!(metrics.contains(&line), "{line} is missing: {metrics}");
    };

    host.mount("..2", |settings| settings["limits"] = json!({"concurrency": 3}));
    let changed = host.logged(|line| line["message"] == "the configuration changed").await;
    assert_eq!(changed["keys"], "limits.concurrency", "{changed}");
    is_good(&host, 1).await;

    host.mount("..3", |settings| settings["limits"] = json!({"concurency": 4}));
    let refused = host
        .logged(|line| line["level"] == "ERROR" && line["problem"].to_string().contains("concurency"))
        .await;
    let problem = refused["problem"].as_str().unwrap();
    assert!(problem.contains("did you mean `concurrency`"), "{refused}");
    is_good(&host, 0).await;
    assert!(host.post(&cluster, "meanwhile").await.status().is_success());

    // What runs is the last good one: only what differs from that is told.
    host.mount("..4", |settings| {
        settings["limits"] = json!({"concurrency": 3});
        settings["log"]["level"] = json!("info");
    });
    let changed = host
        .next_logged(|line| line["message"] == "the configuration changed")
        .await;
    assert_eq!(changed["keys"], "log.level", "{changed}");
    is_good(&host, 1).await;
    host.terminate();
    assert_eq!(host.ended().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_removed_adapter_made_is_purged_and_nothing_of_a_live_one() {
    let mut host = Deployed::start().await;
    let cluster = host.cluster("east-1");
    assert!(host.post(&cluster, "first").await.status().is_success());
    let plane = ControlPlane::shared().await;
    let job = format!(
        "/apis/batch/v1/namespaces/{}/jobs/validate-{}",
        host.namespace,
        id(&cluster)
    );
    assert!(plane.get(&job).await.unwrap().is_some());

    let kubeconfig = plane.kubeconfig(User::Admin);
    let admin = host.admin.clone();
    let purge = |more: &[&str]| {
        let mut arguments = vec!["adapter", "purge", "validation", "--admin", &admin];
        arguments.extend(["--kubeconfig", kubeconfig.to_str().unwrap()]);
        arguments.extend(more);
        run(&arguments)
    };
    let (code, _, told) = purge(&["--yes"]);
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("the adapter `validation` is live"), "{told}");

    std::fs::remove_file(host.folder.path().join("adapters/validation.yaml")).unwrap();
    host.logged(|line| line["level"] == "WARN" && line["adapter"] == "validation" && line["file"].is_string())
        .await;
    assert!(plane.get(&job).await.unwrap().is_some(), "its objects stay");
    let (code, _, told) = purge(&[]);
    assert_eq!(code, Some(1), "{told}");
    assert!(
        told.contains("These objects will be deleted") && told.contains("--yes"),
        "{told}"
    );
    assert!(plane.get(&job).await.unwrap().is_some(), "nobody said yes");

    let (code, stdout, told) = purge(&["--yes"]);
    assert_eq!(code, Some(0), "{told}");
    assert_eq!(
        stdout,
        format!("Job {}/validate-{} deleted\n", host.namespace, id(&cluster))
    );
    let deadline = std::time::Instant::now() + crate::PATIENCE;
    while plane.get(&job).await.unwrap().is_some() {
        assert!(std::time::Instant::now() < deadline, "the Job stays");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let (code, _, told) = run(&["adapter", "show", "none", "--admin", &host.admin]);
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("there is no adapter `none`"), "{told}");
}

#[test]
fn a_check_loads_plugins_and_tries_them() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("adapter.yaml");
    let text = adapter("work")
        .replace("  resources:\n", "  plugins: {guest: {source: 'file:guest.wasm', config: {v: 1}, limits: {deadline: 5s}}}\n  preconditions: [{plugin: guest}]\n  resources:\n");
    std::fs::write(&file, text).unwrap();
    let check = |more: &[&str]| {
        let mut arguments = vec!["adapter", "check", file.to_str().unwrap()];
        arguments.extend(more);
        run(&arguments)
    };
    assert_eq!(check(&[]).0, Some(0), "without --plugins the file is not looked at");
    let (code, _, told) = check(&["--plugins"]);
    assert_eq!(code, Some(64), "{told}");
    assert!(told.contains("spec.plugins.guest.source: cannot read"), "{told}");
    std::fs::write(folder.path().join("guest.wasm"), berth_test_guests::component("traps")).unwrap();
    let (code, _, told) = check(&["--plugins"]);
    assert_eq!(code, Some(64), "{told}");
    assert!(
        told.contains("adapter.yaml:10:20: spec.plugins.guest") && told.contains("failed in `preconditions`"),
        "{told}"
    );
    std::fs::write(
        folder.path().join("guest.wasm"),
        berth_test_guests::component("all-phases"),
    )
    .unwrap();
    let (code, stdout, told) = check(&["--plugins"]);
    assert_eq!(code, Some(0), "{told}");
    assert!(stdout.starts_with("validation: ok"), "{stdout}");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(
        &file,
        text.replace("file:guest.wasm", "oci://registry.example.com/guest:1"),
    )
    .unwrap();
    let (code, _, told) = check(&["--plugins"]);
    assert_eq!(code, Some(0), "{told}");
    assert!(
        told.contains("the plugin `guest` is not fetched and not tried: oci://"),
        "{told}"
    );
}

/// A folder with a configuration whose APIs do not answer, and these documents.
fn alone(documents: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("adapters")).unwrap();
    for (name, text) in documents {
        std::fs::write(folder.path().join("adapters").join(name), text).unwrap();
    }
    let named = |name: &str, key: &str, value: Value| json!([{"name": name, key: value}]);
    let kubeconfig = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "none",
        "clusters": named("none", "cluster", json!({"server": "http://127.0.0.1:1"})),
        "users": named("none", "user", json!({})),
        "contexts": named("none", "context", json!({"cluster": "none", "user": "none"})),
    });
    std::fs::write(folder.path().join("kubeconfig"), kubeconfig.to_string()).unwrap();
    let settings = json!({
        "fleet": {"url": "http://127.0.0.1:1"},
        "kubernetes": {"kubeconfig": "kubeconfig"},
        "adapters": "adapters",
        "sources": {"http": {"listen": "127.0.0.1:0"}},
        "admin": {"listen": "127.0.0.1:0"},
        "log": {"format": "json"},
    });
    std::fs::write(folder.path().join("berth.yaml"), settings.to_string()).unwrap();
    folder
}

#[test]
fn a_host_whose_documents_are_all_wrong_ends_at_once() {
    let missing = adapter("work").replace(
        "  resources:\n",
        "  plugins: {guest: {source: 'file:none.wasm'}}\n  preconditions: [{plugin: guest}]\n  resources:\n",
    );
    for (wrong, told) in [
        ("a: [", "not YAML"),
        (missing.as_str(), "spec.plugins.guest.source: cannot read"),
    ] {
        let folder = alone(&[("wrong.yaml", wrong)]);
        let (code, _, stderr) = run(&["serve", "--config", folder.path().join("berth.yaml").to_str().unwrap()]);
        assert_eq!(code, Some(64), "{stderr}");
        assert!(
            stderr.contains(told) && stderr.contains("no adapter is live"),
            "{stderr}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_without_documents_waits_for_them_and_is_not_ready() {
    use std::io::BufRead as _;

    drop(rustls::crypto::ring::default_provider().install_default());
    let folder = alone(&[]);
    let process = berth(&["serve", "--config", folder.path().join("berth.yaml").to_str().unwrap()])
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut process = Killed(process);
    let mut lines = std::io::BufReader::new(process.0.stderr.take().unwrap())
        .lines()
        .map_while(Result::ok);
    let ready: Value = lines
        .by_ref()
        .map(|line| serde_json::from_str::<Value>(&line).unwrap())
        .find(|line| line["message"] == "berth is ready")
        .unwrap();
    let http = berth_tests::stage::client();
    let url = format!("http://{}/readyz", ready["admin"].as_str().unwrap());
    let is_ready = async || http.get(&url).send().await.unwrap().status().as_u16();
    assert_eq!(is_ready().await, 503);
    std::fs::write(folder.path().join("adapters/validation.yaml"), adapter("work")).unwrap();
    let live = lines.any(|line| line.contains("an adapter is live"));
    assert!(live);
    let deadline = std::time::Instant::now() + crate::PATIENCE;
    while is_ready().await != 200 {
        assert!(std::time::Instant::now() < deadline, "it does not become ready");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

/// Ended with the test.
struct Killed(std::process::Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // It may have ended.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
