//! What people type to work with plugins in registries, against the real registry.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "registry_access/registry.rs"]
#[allow(dead_code, reason = "`tests/tests/registry_access.rs` uses the rest")]
mod registry;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::LazyLock,
};

use berth_tests::program;
use registry::{Guard, Running, WRONG};
use serde_json::{Value, json};

/// A component, as good as any.
static PLUGIN: LazyLock<String> = LazyLock::new(|| {
    let folder = std::env::var("BERTH_COMPONENTS").expect("`cargo xtask test` sets BERTH_COMPONENTS");
    format!("{folder}/landing-zone.wasm")
});

/// The program, free of the developer's settings.
fn berth(running: &Running, arguments: &[&str]) -> Command {
    let mut command = Command::new(program::berth().unwrap());
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("BERTH_") || name.starts_with("DOCKER_") {
            command.env_remove(name);
        }
    }
    command
        .env("HOME", running.folder())
        .env_remove("COSIGN_PASSWORD")
        .current_dir(running.folder())
        .args(arguments);
    command
}

/// Runs it with docker's file; answers with the exit code, stdout and stderr.
fn run(running: &Running, arguments: &[&str]) -> (i32, String, String) {
    let config = running.docker_config();
    let mut all = arguments.to_vec();
    let address = running.address();
    all.extend(["--docker-config", config.to_str().unwrap()]);
    if !running.insecure().is_empty() {
        all.extend(["--insecure", &address]);
    }
    told(&berth(running, &all).output().unwrap())
}

fn told(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (
        output.status.code().unwrap(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

/// The same, for what must work and tell JSON. Nothing is said on stderr, which is no terminal.
fn data(running: &Running, arguments: &[&str]) -> Value {
    let mut all = arguments.to_vec();
    all.extend(["--output", "json"]);
    let (code, stdout, stderr) = run(running, &all);
    assert_eq!((code, stderr.as_str()), (0, ""), "{stdout}");
    serde_json::from_str(&stdout).unwrap()
}

/// A key pair in two files.
fn keys(folder: &Path, name: &str) -> (PathBuf, PathBuf) {
    let key = rcgen::KeyPair::generate().unwrap();
    let (private, public) = (folder.join(format!("{name}.key")), folder.join(format!("{name}.pub")));
    fs::write(&private, key.serialize_pem()).unwrap();
    fs::write(&public, key.public_key_pem()).unwrap();
    (private, public)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_pushed_is_pulled_byte_by_byte_and_pushing_is_reproducible() {
    let running = Running::start(&Guard::Password).await;
    let name = running.name("partners/landing-zone:1.4.0");

    let first = data(&running, &["plugin", "push", &PLUGIN, &name]);
    let again = data(&running, &["plugin", "push", &PLUGIN, &running.name("other/name:2")]);
    assert_eq!(first["digest"], again["digest"]);
    assert_eq!(
        data(&running, &["plugin", "digest", &PLUGIN])["digest"],
        first["digest"]
    );
    assert_eq!(data(&running, &["plugin", "digest", &name])["digest"], first["digest"]);

    let file = running.folder().join("pulled.wasm");
    let pinned = first["pinned"].as_str().unwrap();
    let pulled = data(&running, &["plugin", "pull", pinned, "--file", file.to_str().unwrap()]);
    assert_eq!(pulled["component"], first["component"]);
    assert!(fs::read(&file).unwrap() == fs::read(&*PLUGIN).unwrap());

    let there = data(&running, &["plugin", "inspect", &name]);
    let here = data(&running, &["plugin", "inspect", &PLUGIN]);
    for same in [
        "digest",
        "component",
        "size",
        "annotations",
        "imports",
        "exports",
        "worlds",
    ] {
        assert_eq!(there[same], here[same], "{same}");
    }
    assert!(
        there["worlds"].as_array().unwrap().contains(&json!("resources-plugin")),
        "{there}"
    );

    // What the plugin says of itself is what the registry shows.
    let annotation = |name: &str| there["annotations"][format!("org.opencontainers.image.{name}")].clone();
    assert_eq!(first["annotations"], there["annotations"]);
    for (name, expected) in [
        ("title", "landing-zone"),
        ("version", env!("CARGO_PKG_VERSION")),
        ("licenses", env!("CARGO_PKG_LICENSE")),
        ("source", env!("CARGO_PKG_REPOSITORY")),
    ] {
        assert_eq!(annotation(name), json!(expected), "{there:#}");
    }
    let (code, shown, _) = run(&running, &["plugin", "inspect", &name]);
    let line = format!("org.opencontainers.image.version: {}", env!("CARGO_PKG_VERSION"));
    assert!(code == 0 && shown.contains(&line), "{shown}");

    let (code, stdout, _) = run(&running, &["plugin", "digest", &PLUGIN]);
    assert_eq!(
        (code, stdout),
        (0, format!("{}  {}\n", first["digest"].as_str().unwrap(), *PLUGIN))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_key_signed_is_verified_by_that_key_and_refused_by_another() {
    let running = Running::start(&Guard::Password).await;
    let name = running.name("lz:1");
    let (private, public) = keys(running.folder(), "ours");
    let (_, other) = keys(running.folder(), "theirs");
    let (public, other) = (public.to_str().unwrap(), other.to_str().unwrap());
    data(&running, &["plugin", "push", &PLUGIN, &name]);
    let pull = |key: &str| {
        run(
            &running,
            &["plugin", "pull", &name, "--file", "pulled.wasm", "--key", key],
        )
    };

    let (code, _, stderr) = run(&running, &["plugin", "verify", &name, "--key", public]);
    assert_eq!(code, 1);
    assert!(
        stderr.contains("is not signed") && stderr.contains("hint: sign it"),
        "{stderr}"
    );
    assert_eq!(pull(public).0, 1);

    let signed = data(&running, &["plugin", "sign", &name, "--key", private.to_str().unwrap()]);
    let verified = data(&running, &["plugin", "verify", &name, "--key", public]);
    assert_eq!(verified, json!({"digest": signed["digest"], "signedBy": ["ours.pub"]}));
    assert_eq!(pull(public).0, 0);
    // In the other format, by another key.
    let (second, second_public) = keys(running.folder(), "second");
    let bundle = [
        "plugin",
        "sign",
        &name,
        "--format",
        "bundle",
        "--key",
        second.to_str().unwrap(),
    ];
    let signed = data(&running, &bundle);
    assert!(signed["signature"].as_str().unwrap().contains("@sha256:"), "{signed}");
    let second_public = second_public.to_str().unwrap();
    let both = [
        "plugin",
        "verify",
        &name,
        "--key",
        public,
        "--key",
        second_public,
        "--policy",
        "2",
    ];
    assert_eq!(data(&running, &both)["signedBy"], json!(["ours.pub", "second.pub"]));
    let (code, _, stderr) = pull(other);
    assert!(code == 1 && stderr.contains("by none of the trusted keys"), "{stderr}");
    let all = [
        "plugin", "verify", &name, "--key", public, "--key", other, "--policy", "all",
    ];
    let (code, _, stderr) = run(&running, &all);
    assert!(code == 1 && stderr.contains("1 of the 2 trusted signers"), "{stderr}");
    let (code, _, stderr) = run(&running, &["plugin", "verify", &name]);
    assert!(
        code == 1 && stderr.contains("no key or identity to verify with"),
        "{stderr}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn plugins_travel_in_one_file_with_their_signatures() {
    let running = Running::start(&Guard::Password).await;
    let (private, public) = keys(running.folder(), "ours");
    let (_, other) = keys(running.folder(), "theirs");
    let (public, other) = (public.to_str().unwrap(), other.to_str().unwrap());
    let names = [running.name("a:1"), running.name("b:1")];
    for name in &names {
        data(&running, &["plugin", "push", &PLUGIN, name]);
        data(&running, &["plugin", "sign", name, "--key", private.to_str().unwrap()]);
    }

    let saved = data(
        &running,
        &[
            "plugin", "save", &names[0], &names[1], "--file", "set.tar", "--key", public,
        ],
    );
    assert_eq!(saved.as_array().unwrap().len(), 2);
    let before = fs::read(running.folder().join("set.tar")).unwrap();
    data(&running, &["plugin", "save", &names[0], &names[1], "--file", "set.tar"]);
    assert!(before == fs::read(running.folder().join("set.tar")).unwrap());

    let loaded = data(
        &running,
        &["plugin", "load", "set.tar", "--cache", "cache", "--key", public],
    );
    let references: Vec<&str> = loaded
        .as_array()
        .unwrap()
        .iter()
        .map(|loaded| loaded["reference"].as_str().unwrap())
        .collect();
    assert_eq!(references, names);
    assert_eq!(loaded[0]["signedBy"], json!(["ours.pub"]));
    let (code, _, stderr) = run(
        &running,
        &["plugin", "load", "set.tar", "--cache", "cache2", "--key", other],
    );
    assert!(code == 1 && stderr.contains("by none of the trusted keys"), "{stderr}");
    let (code, _, stderr) = run(&running, &["plugin", "load", "set.tar"]);
    assert!(code == 1 && stderr.contains("--cache"), "{stderr}");
}

/// The steps of a check, each with its result.
fn steps(stdout: &str) -> Vec<(String, String)> {
    let steps: Vec<Value> = serde_json::from_str(stdout).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    steps
        .iter()
        .map(|step| (text(&step["step"]), text(&step["result"])))
        .collect()
}

/// The step that failed, after which all are skipped; with all that was told.
fn first_failure(outcome: (i32, String, String)) -> (String, String) {
    let (code, stdout, stderr) = outcome;
    assert_eq!((code, stderr.as_str()), (1, ""), "{stdout}");
    let steps = steps(&stdout);
    let at = steps.iter().position(|(_, result)| result == "failed").unwrap();
    assert!(
        steps[at + 1..].iter().all(|(_, result)| result == "skipped"),
        "{stdout}"
    );
    (steps[at].0.clone(), stdout)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_passes_every_step_where_all_is_well() {
    let running = Running::start(&Guard::Tls).await;
    let name = running.name("lz:1");
    let authority = running.authority().unwrap();
    let trusting = ["--ca-file", authority.to_str().unwrap()];
    let (private, public) = keys(running.folder(), "ours");
    let with = |arguments: &[&str]| {
        [arguments, &trusting[..]]
            .concat()
            .into_iter()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let arguments = [
        with(&["plugin", "push", &PLUGIN, &name]),
        with(&["plugin", "sign", &name, "--key", private.to_str().unwrap()]),
        with(&["registry", "check", &name, "--key", public.to_str().unwrap()]),
    ];
    let mut last = Value::Null;
    for arguments in &arguments {
        last = data(&running, &arguments.iter().map(String::as_str).collect::<Vec<_>>());
    }
    assert!(
        last.as_array().unwrap().iter().all(|step| step["result"] == "ok"),
        "{last:#}"
    );
    assert_eq!(last.as_array().unwrap().len(), 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_tells_the_step_that_fails_and_what_to_do() {
    let running = Running::start(&Guard::Password).await;
    let name = running.name("lz:1");
    data(&running, &["plugin", "push", &PLUGIN, &name]);
    let check = |name: &str| run(&running, &["registry", "check", name, "--output", "json"]);

    let (step, _) = first_failure(check("berth-test.invalid/lz:1"));
    assert_eq!(step, "name resolution");
    let (step, told) = first_failure(check("127.0.0.1:1/lz:1"));
    assert!(step == "connection" && told.contains("registries.proxy"), "{told}");
    let (step, told) = first_failure(check(&running.name("other:1")));
    assert!(
        step == "manifest" && told.contains("check the path and the tag"),
        "{told}"
    );
    let (_, public) = keys(running.folder(), "ours");
    let unsigned = [
        "registry",
        "check",
        &name,
        "--output",
        "json",
        "--key",
        public.to_str().unwrap(),
    ];
    let (step, told) = first_failure(run(&running, &unsigned));
    assert!(step == "signatures" && told.contains("berth plugin sign"), "{told}");

    // Without its name in the list, it is expected to speak TLS.
    let bare = |arguments: &[&str]| told_of(&running, arguments);
    let (step, told) = first_failure(bare(&["registry", "check", &name, "--output", "json"]));
    assert!(step == "TLS" && told.contains("registries.insecure"), "{told}");

    let wrong = running.folder().join("wrong.json");
    let auths = json!({"auths": {(running.address()): {"username": "robot", "password": WRONG}}});
    fs::write(&wrong, auths.to_string()).unwrap();
    let address = running.address();
    let (step, told) = first_failure(bare(&[
        "registry",
        "check",
        &name,
        "--output",
        "json",
        "--insecure",
        &address,
        "--docker-config",
        wrong.to_str().unwrap(),
    ]));
    assert!(
        step == "log-in" && told.contains("docker login") && !told.contains(WRONG),
        "{told}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_tells_whether_a_host_would_load_from_there_and_looks_at_the_rest_all_the_same() {
    let running = Running::start(&Guard::Password).await;
    let name = running.name("partners/lz:1");
    data(&running, &["plugin", "push", &PLUGIN, &name]);
    let config = running.folder().join("berth.yaml");
    let check = |allow: Value| {
        fs::write(&config, json!({"registries": {"allow": allow}}).to_string()).unwrap();
        let config = config.to_str().unwrap();
        run(
            &running,
            &["registry", "check", &name, "--config", config, "--output", "json"],
        )
    };
    let below = running.name("partners/*");
    let (code, told, _) = check(json!(["registry.example.com/*", below]));
    let (step, result) = steps(&told).remove(0);
    assert_eq!(
        (code, step.as_str(), result.as_str()),
        (0, "allow-list", "ok"),
        "{told}"
    );
    assert!(
        told.contains(&format!("`{below}` in `registries.allow` covers")),
        "{told}"
    );

    let (code, told, _) = check(json!(["registry.example.com/*", running.name("partner/*")]));
    let mut found = steps(&told);
    let (step, result) = found.remove(0);
    assert_eq!(
        (code, step.as_str(), result.as_str()),
        (1, "allow-list", "failed"),
        "{told}"
    );
    assert!(found.iter().all(|(_, result)| result != "failed"), "{told}");
    assert!(
        told.contains("is not among the repositories") && told.contains("registries.allow"),
        "{told}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_looks_at_the_mirror_that_has_the_plugin_and_tells_which_one_is_broken() {
    let running = Running::start(&Guard::Password).await;
    data(&running, &["plugin", "push", &PLUGIN, &running.name("copies/lz:1")]);
    data(&running, &["plugin", "push", &PLUGIN, &running.name("lz:1")]);
    let check = |name: &str, mirrors: Value| {
        let config = running.folder().join("berth.yaml");
        fs::write(&config, json!({"registries": {"mirrors": mirrors}}).to_string()).unwrap();
        let config = config.to_str().unwrap();
        run(
            &running,
            &["registry", "check", name, "--config", config, "--output", "json"],
        )
    };
    let results = |outcome: &(i32, String, String)| {
        let steps = steps(&outcome.1);
        assert_eq!(steps[0].0, "mirrors", "{outcome:?}");
        steps.into_iter().map(|(_, result)| result).collect::<Vec<_>>()
    };
    // Nobody is at the registry itself.
    let (gone, copies) = ("127.0.0.1:1", running.name("copies"));
    let good = check(&format!("{gone}/lz:1"), json!({gone: [copies]}));
    let insecure = ["ok", "ok", "ok", "skipped", "ok", "ok", "ok", "ok"];
    assert_eq!(
        (good.0, results(&good)),
        (0, insecure.map(str::to_owned).to_vec()),
        "{good:?}"
    );
    assert!(good.1.contains("stands in for"), "{good:?}");

    let missing = check(&format!("{gone}/other:1"), json!({gone: [copies]}));
    assert_eq!(
        (missing.0, results(&missing)[0].as_str()),
        (1, "skipped"),
        "{missing:?}"
    );
    assert!(missing.1.contains("no mirror has it"), "{missing:?}");

    let broken = check(
        &running.name("lz:1"),
        json!({(running.address()): [format!("{gone}/copies")]}),
    );
    let mut expected = insecure.map(str::to_owned).to_vec();
    expected[0] = "failed".to_owned();
    assert_eq!((broken.0, results(&broken)), (1, expected), "{broken:?}");
    assert!(broken.1.contains("take it out of `registries.mirrors`"), "{broken:?}");
}

/// Runs it with these arguments only.
fn told_of(running: &Running, arguments: &[&str]) -> (i32, String, String) {
    told(&berth(running, arguments).output().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_helper_is_asked_and_what_it_says_is_never_shown() {
    use std::os::unix::fs::PermissionsExt as _;

    let running = Running::start(&Guard::Password).await;
    let (name, address) = (running.name("lz:1"), running.address());
    let helper = |script: &str| {
        let file = running.folder().join("docker-credential-berth-test");
        fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    };
    let config = json!({"credHelpers": {(address.clone()): "berth-test"}});
    fs::create_dir(running.folder().join(".docker")).unwrap();
    // Where docker has it: `$HOME/.docker/config.json`.
    fs::write(running.folder().join(".docker/config.json"), config.to_string()).unwrap();
    let push = || {
        let path = format!("{}:{}", running.folder().display(), std::env::var("PATH").unwrap());
        let mut command = berth(&running, &["plugin", "push", &PLUGIN, &name, "--insecure", &address]);
        told(&command.env("PATH", path).output().unwrap())
    };

    helper(&format!(
        r#"test "$1" = get && test "$(cat)" = "{address}" && echo '{{"Username": "robot", "Secret": "hunter2"}}'"#
    ));
    let (code, stdout, stderr) = push();
    assert_eq!(code, 0, "{stdout}{stderr}");
    helper(&format!("echo {WRONG}; echo {WRONG} >&2; exit 1"));
    let (code, stdout, stderr) = push();
    assert_eq!(code, 1);
    assert!(stderr.contains("docker-credential-berth-test"), "{stderr}");
    assert!(!format!("{stdout}{stderr}").contains(WRONG), "{stdout}{stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_helper_that_knows_nothing_leaves_it_to_the_next_source_and_one_that_is_broken_does_not() {
    use std::os::unix::fs::PermissionsExt as _;

    let running = Running::start(&Guard::Password).await;
    let (name, address) = (running.name("lz:1"), running.address());
    let helper = |name: &str, script: &str| {
        let file = running.folder().join(format!("docker-credential-{name}"));
        fs::write(&file, format!("#!/bin/sh\ncat >> {name}.asked\n{script}\n")).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        let config = running.folder().join(format!("{name}.json"));
        fs::write(&config, json!({"credHelpers": {(address.clone()): name}}).to_string()).unwrap();
        config.to_str().unwrap().to_owned()
    };
    let asked = |name: &str| fs::read_to_string(running.folder().join(format!("{name}.asked"))).is_ok();
    let path = format!("{}:{}", running.folder().display(), std::env::var("PATH").unwrap());
    let push = |first: &str, next: &str| {
        let sources = [
            "--docker-config",
            first,
            "--docker-config",
            next,
            "--insecure",
            &address,
        ];
        let arguments = [&["plugin", "push", &PLUGIN, &name], sources.as_slice()].concat();
        told(&berth(&running, &arguments).env("PATH", &path).output().unwrap())
    };

    let nothing = helper("nothing", "echo 'credentials not found in native keychain'; exit 1");
    let right = helper("right", r#"echo '{"Username": "robot", "Secret": "hunter2"}'"#);
    let (code, stdout, stderr) = push(&nothing, &right);
    assert_eq!(code, 0, "{stdout}{stderr}");
    assert!(asked("nothing") && asked("right"));
    // A file in the place of a helper will do as well.
    let (code, _, stderr) = push(&nothing, running.docker_config().to_str().unwrap());
    assert_eq!(code, 0, "{stderr}");

    // One that is broken is told: with what the next source has, it would be somebody else who asks.
    let broken = helper("broken", "echo 'the keychain is locked'; exit 1");
    let unasked = helper("unasked", "exit 1");
    let (code, _, stderr) = push(&broken, &unasked);
    assert_eq!(code, 1);
    assert!(stderr.contains("docker-credential-broken"), "{stderr}");
    assert!(asked("broken") && !asked("unasked"));
}

#[test]
fn every_command_completes_in_every_shell() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let output = Command::new(program::berth().unwrap())
            .args(["completion", shell])
            .output()
            .unwrap();
        let script = String::from_utf8(output.stdout).unwrap();
        for word in [
            "push",
            "pull",
            "sign",
            "inspect",
            "verify",
            "digest",
            "save",
            "load",
            "registry",
            "--docker-config",
        ] {
            let word = word.trim_start_matches("--");
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
}
