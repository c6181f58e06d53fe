//! The program with plugins of a real registry, signed by itself and by cosign.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::{
    Deployed, PATIENCE, berth,
    guest::{guest, with_guest},
    running::Guard,
    world::{PASSWORD, World},
};

/// Writes a document below the host's folder, for its namespace and the account that tests have.
pub(super) fn write(folder: &Path, namespace: &str, name: &str, text: &str) {
    let text = text
        .replace("namespace: work", &format!("namespace: {namespace}"))
        .replace("serviceAccount: adapter", "serviceAccount: validation")
        .replace("hyperfleet-adapters", namespace)
        .replace("serviceAccount: landing-zone", "serviceAccount: validation")
        .replace("deadline: 250ms", "deadline: 60s");
    std::fs::write(folder.join("adapters").join(name), text).unwrap();
}

/// Has the host load from this registry what one of these keys signed.
fn trust(settings: &mut Value, world: &World, keys: &[&str]) {
    let keys: Vec<PathBuf> = keys.iter().map(|key| world.file(&format!("{key}.pub"))).collect();
    settings["registries"] = json!({
        "allow": [format!("{}/*", world.repository().registry)],
        "insecure": world.running.insecure(),
        "keys": keys,
        // What is looked for here happens at the start.
        "refresh": "1h",
    });
}

/// Runs a command of the program that must succeed.
fn succeeds(arguments: &[&str]) {
    let output = berth(arguments).env("COSIGN_PASSWORD", PASSWORD).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {told}");
}

impl Deployed {
    /// The adapters that have reported on a cluster, each with what its plugin says of itself.
    fn reporters(&self, cluster: &str) -> Vec<String> {
        let rows = self.look(&format!("{cluster}/statuses"));
        let rows = rows["items"].as_array().unwrap();
        rows.iter()
            .map(|row| row["adapter"].as_str().unwrap().to_owned())
            .collect()
    }

    /// Creates a cluster and has its event settled; all of these adapters must report.
    pub(super) async fn reports(&mut self, name: &str, adapters: &[&str]) -> String {
        // What is not compiled in time becomes live after the start.
        for adapter in adapters {
            let live = |line: &Value| line["message"] == "an adapter is live" && line["adapter"] == *adapter;
            self.logged(live).await;
        }
        let cluster = self.cluster(name);
        let answer = self.post(&cluster, &format!("event-of-{name}")).await;
        assert!(answer.status().is_success(), "{answer:?}");
        let mut reporters = self.reporters(&cluster);
        reporters.sort_unstable();
        assert_eq!(reporters, adapters);
        cluster
    }

    /// What is live of the plugin of an adapter: its digest, and who signed it.
    async fn plugin(&self, adapter: &str) -> (String, Value) {
        let (status, told) = self.ask("/plugins").await;
        assert_eq!(status, 200, "{told}");
        let told: Value = serde_json::from_str(&told).unwrap();
        let plugins = told["plugins"].as_array().unwrap();
        let found = plugins
            .iter()
            .find(|one| one["adapter"] == adapter && one["plugin"] != "declarative");
        let found = found.unwrap_or_else(|| panic!("no plugin of {adapter}: {told:#}"));
        (
            found["live"].as_str().unwrap_or("-").to_owned(),
            found["signedBy"].clone(),
        )
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn signed_plugins_of_a_registry_work_and_go_on_without_it_after_a_restart() {
    let world = World::start().await;
    for key in ["ours", "bundle", "tag"] {
        world.new_key(key);
    }
    let address = world.repository().registry;

    // One pushed and signed by the program itself, two signed by cosign in each of its formats.
    let file = world.file("ours.wasm");
    std::fs::write(&file, guest("firsta")).unwrap();
    let name = format!("{address}/partners/ours:1");
    let insecure = ["--insecure", &address];
    succeeds(&[&["plugin", "push", file.to_str().unwrap(), &name], &insecure[..]].concat());
    let key = world.file("ours.key");
    succeeds(
        &[
            &["plugin", "sign", &name, "--key", key.to_str().unwrap()],
            &insecure[..],
        ]
        .concat(),
    );
    let landing_zone = std::fs::read(berth_tests::stage::component("landing-zone")).unwrap();
    let bundle = world.push_as("bundle", &landing_zone).await;
    world.cosign_signs_as_bundle(&bundle, "bundle");
    let tag = world.push_as("tag", &guest("second")).await;
    world.cosign_signs_under_tag(&tag, "tag");

    let repository = world.repository();
    let mut host = Deployed::start_with(|folder, namespace, settings| {
        trust(settings, &world, &["ours", "bundle", "tag"]);
        write(
            folder,
            namespace,
            "ours.yaml",
            &with_guest("ours", "v1", &format!("oci://{name}")),
        );
        let source = format!("oci://{repository}:tag");
        write(folder, namespace, "tag.yaml", &with_guest("tagged", "v1", &source));
        let source = format!("oci://{repository}:bundle");
        let text = berth_tests::stage::landing_zone().replace("file:landing-zone.wasm", &source);
        write(folder, namespace, "landing-zone.yaml", &text);
    })
    .await;
    host.quota().await;
    let adapters = ["landing-zone", "ours", "tagged", "validation"];
    host.reports("first", &adapters).await;
    assert_eq!(
        host.plugin("landing-zone").await,
        (bundle.to_string(), json!(["bundle.pub"]))
    );
    assert_eq!(host.plugin("tagged").await, (tag.to_string(), json!(["tag.pub"])));
    assert_eq!(host.plugin("ours").await.1, json!(["ours.pub"]));
    let achieved = |line: &Value| line["span"]["adapter"] == "landing-zone" && line["journey"] == "achieved";
    host.logged(achieved).await;

    // The registry goes, then the host; another one finds the cache.
    drop(world.running);
    host.restart(|_| {}).await;
    let (ready, checks) = host.ask("/readyz").await;
    assert_eq!(ready, 200, "{checks}");
    assert_eq!(host.plugin("tagged").await, (tag.to_string(), json!(["tag.pub"])));
    host.reports("second", &adapters).await;
    host.logged(achieved).await;
    let asked = host.log.iter().find(|line| line["reason"] == "Unreachable");
    assert!(asked.is_none(), "a start with a warm cache asks no registry: {asked:?}");
}

/// By a password, and by TLS of a private authority with one.
#[tokio::test(flavor = "multi_thread")]
async fn a_guarded_registry_is_pushed_to_signed_in_and_loaded_from_and_a_host_starts_without_it() {
    for guard in [Guard::Password, Guard::Tls] {
        let world = World::start_with(guard).await;
        world.new_plain_key("ours");
        let (address, name) = (world.repository().registry, world.tagged().to_string());
        let file = world.file("guest.wasm");
        std::fs::write(&file, guest("firsta")).unwrap();
        let credentials = world.running.docker_config();
        let mut access = vec!["--docker-config".to_owned(), credentials.display().to_string()];
        match world.running.authority() {
            Some(authority) => access.extend(["--ca-file".to_owned(), authority.display().to_string()]),
            None => access.extend(["--insecure".to_owned(), address.clone()]),
        }
        let access: Vec<&str> = access.iter().map(String::as_str).collect();
        let key = world.file("ours.key");
        let (file, key) = (file.to_str().unwrap(), key.to_str().unwrap());
        succeeds(&[&["plugin", "push", file, &name], &access[..]].concat());
        succeeds(&[&["plugin", "sign", &name, "--key", key], &access[..]].concat());

        let mut host = Deployed::start_with(|folder, namespace, settings| {
            trust(settings, &world, &["ours"]);
            settings["registries"]["dockerConfig"] = json!([credentials]);
            if let Some(authority) = world.running.authority() {
                settings["registries"]["caFile"] = json!(authority);
            }
            let text = with_guest("guarded", "v1", &format!("oci://{name}"));
            write(folder, namespace, "guarded.yaml", &text);
        })
        .await;
        let live = host.plugin("guarded").await;
        assert_eq!(live.1, json!(["ours.pub"]), "{guard:?}");
        host.reports("first", &["guarded", "validation"]).await;

        // With a warm cache, a registry that is down keeps nobody waiting. The best of some starts is the program's
        // own time, on a machine that does other things too.
        drop(world.running);
        let mut starts = Vec::new();
        for _ in 0..3 {
            starts.push(host.restart(|_| {}).await);
        }
        assert!(
            starts.iter().min().unwrap().as_secs_f64() < 2.0,
            "{guard:?}: {starts:?}"
        );
        assert_eq!(host.plugin("guarded").await, live);
        host.reports("second", &["guarded", "validation"]).await;
    }
}

/// Changes each file of a folder.
fn damage(folder: &Path, change: impl Fn(&Path, Vec<u8>) -> Vec<u8>) -> usize {
    let files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .collect();
    for file in &files {
        let bytes = change(file, std::fs::read(file).unwrap());
        // A new file: code that another process has mapped stays as it is.
        std::fs::remove_file(file).unwrap();
        std::fs::write(file, bytes).unwrap();
    }
    files.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_that_is_damaged_between_two_starts_is_noticed_told_and_made_again() {
    type Damage = fn(&Path);
    const DAMAGES: [(&str, Damage); 3] = [
        ("truncated", |folder| {
            damage(folder, |_, bytes| bytes[..bytes.len() / 2].to_vec());
        }),
        ("flipped", |folder| {
            damage(folder, |_, mut bytes| {
                // Far behind every head: in the code, or in the component.
                let at = bytes.len() * 3 / 4;
                bytes[at] ^= 1;
                bytes
            });
        }),
        ("swapped", |folder| {
            let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
                .unwrap()
                .map(|entry| entry.unwrap().path())
                .filter(|path| path.is_file())
                .collect();
            files.sort();
            assert!(files.len() > 1, "{files:?}");
            let contents: Vec<Vec<u8>> = files.iter().map(|file| std::fs::read(file).unwrap()).collect();
            damage(folder, |file, _| {
                let index = files.iter().position(|one| one == file).unwrap();
                contents[(index + 1) % contents.len()].clone()
            });
        }),
    ];
    let world = World::start().await;
    world.new_key("ours");
    for (tag, word) in [("a", "firsta"), ("b", "second")] {
        let digest = world.push_as(tag, &guest(word)).await;
        world.we_sign(&digest, "ours").await;
    }
    let repository = world.repository();
    let mut host = Deployed::start_with(|folder, namespace, settings| {
        trust(settings, &world, &["ours"]);
        for tag in ["a", "b"] {
            let source = format!("oci://{repository}:{tag}");
            write(
                folder,
                namespace,
                &format!("{tag}.yaml"),
                &with_guest(tag, "v1", &source),
            );
        }
    })
    .await;
    let adapters = ["a", "b", "validation"];
    host.reports("whole", &adapters).await;
    let before = (host.plugin("a").await, host.plugin("b").await);
    for (name, change) in DAMAGES {
        host.restart(|folder| {
            change(&folder.join("cache"));
            change(&folder.join("cache/plugins/plugins-v1/blobs"));
        })
        .await;
        // A busy machine loads some of them after the start. When all are live, all is told.
        host.reports(name, &adapters).await;
        let told = |path: &str, message: &str| {
            let is = |line: &&Value| line["level"] == "WARN" && line["message"].as_str().unwrap().contains(message);
            let lines = host.log.iter().filter(is);
            lines.filter(|line| line.to_string().contains(path)).count()
        };
        assert_eq!(
            told("plugins-v1/blobs", "a file of the plugin cache is damaged"),
            2,
            "{name}: {:#?}",
            host.log
        );
        // Those of both plugins, and of the one inside of the program.
        assert_eq!(
            told("/cache/", "a compiled plugin is damaged"),
            3,
            "{name}: {:#?}",
            host.log
        );
        assert_eq!((host.plugin("a").await, host.plugin("b").await), before, "{name}");

        // What was made again is whole.
        host.restart(|_| {}).await;
        let damaged = host.log.iter().find(|line| line.to_string().contains("is damaged"));
        assert!(damaged.is_none(), "{name}: {damaged:?}");
        host.reports(&format!("{name}-again"), &adapters).await;
    }
}

impl Deployed {
    /// What the landing zone asks for before it begins.
    async fn quota(&self) {
        let plane = berth_tests::control_plane::ControlPlane::shared().await;
        let quota = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "landing-zone-quota"},
            "data": {"europe-west1": "10", "europe-west4": "0"},
        });
        let path = format!("/api/v1/namespaces/{}/configmaps", self.namespace);
        tokio::time::timeout(PATIENCE, plane.create(&path, &quota))
            .await
            .unwrap()
            .unwrap();
    }
}
