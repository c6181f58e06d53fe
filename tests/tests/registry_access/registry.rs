//! The real registry as a child process.

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::Duration,
};

use serde_json::{Value, json};
use tempfile::TempDir;

/// The folder below the tools' folder, by `cargo xtask setup`.
const REGISTRY: &str = "registry-v3.1.2";
/// What opens the registry. The registry reads only bcrypt; this is it, for the user `robot`.
pub(crate) const OPENS: &str = "hunter2";
const HASH: &str = "$2b$05$abcdefghijklmnopqrstuuoXuKqgZXLiJqzfmMXDDhSFPIvxV7t8.";
/// What does not open it.
pub(crate) const WRONG: &str = "correct-horse";

/// What stands between a client and the registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Guard {
    /// Nothing.
    Nothing,
    /// A password, over plain HTTP.
    Password,
    /// TLS by a private authority, and a password.
    Tls,
    /// The same, and clients need a certificate.
    MutualTls,
}

/// A running registry. It ends with the value.
#[derive(Debug)]
pub(crate) struct Running {
    folder: TempDir,
    guard: Guard,
    port: u16,
    process: Child,
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

fn tools() -> PathBuf {
    let folder = std::env::var_os("BERTH_TOOLS").map_or_else(
        || PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cache/berth/tools"),
        PathBuf::from,
    );
    let binary = folder.join(REGISTRY).join("registry");
    assert!(
        binary.is_file(),
        "{} is missing: run `cargo xtask setup`",
        binary.display()
    );
    binary
}

impl Running {
    /// Starts a registry on a free port; returns when it listens.
    pub(crate) async fn start(guard: &Guard) -> Self {
        let guard = *guard;
        tokio::task::spawn_blocking(move || Self::spawn(guard)).await.unwrap()
    }

    fn spawn(guard: Guard) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let mut config = json!({
            "version": 0.1,
            "log": {"level": "info", "formatter": "json"},
            "storage": {"filesystem": {"rootdirectory": path("data")}},
            "http": {"addr": "127.0.0.1:0"},
        });
        if guard != Guard::Nothing {
            fs::write(path("htpasswd"), format!("robot:{HASH}\n")).unwrap();
            config["auth"] = json!({"htpasswd": {"realm": "test", "path": path("htpasswd")}});
        }
        if matches!(guard, Guard::Tls | Guard::MutualTls) {
            let authority = authority("private authority");
            fs::write(path("ca.pem"), authority.0.as_bytes()).unwrap();
            leaf(&authority.1, folder.path(), "server");
            leaf(&authority.1, folder.path(), "client");
            config["http"]["tls"] = json!({"certificate": path("server.pem"), "key": path("server.key")});
            if guard == Guard::MutualTls {
                config["http"]["tls"]["clientcas"] = json!([path("ca.pem")]);
            }
        }
        // JSON is YAML.
        fs::write(path("config.yml"), config.to_string()).unwrap();
        let mut process = Command::new(tools())
            .arg("serve")
            .arg(path("config.yml"))
            .env_clear()
            .env("OTEL_TRACES_EXPORTER", "none")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (tell, told) = mpsc::channel();
        let log = BufReader::new(process.stderr.take().unwrap());
        std::thread::spawn(move || {
            let mut lines = Vec::new();
            for line in log.lines().map_while(Result::ok) {
                if let Some(port) = listening(&line) {
                    drop(tell.send(Ok(port)));
                }
                lines.push(line);
            }
            // It ended. Whoever waits wants to know why.
            drop(tell.send(Err(lines.join("\n"))));
        });
        let port = told
            .recv_timeout(Duration::from_secs(60))
            .unwrap()
            .unwrap_or_else(|log| panic!("the registry ended:\n{log}"));
        let running = Self {
            folder,
            guard,
            port,
            process,
        };
        let auths = json!({"auths": {(running.address()): {"username": "robot", "password": OPENS}}});
        fs::write(running.docker_config(), auths.to_string()).unwrap();
        running
    }

    /// `HOST:PORT`.
    pub(crate) fn address(&self) -> String {
        format!("localhost:{}", self.port)
    }

    /// The name of something in it.
    pub(crate) fn name(&self, path: &str) -> String {
        format!("{}/{path}", self.address())
    }

    /// What clients must list as insecure.
    pub(crate) fn insecure(&self) -> BTreeSet<String> {
        match self.guard {
            Guard::Nothing | Guard::Password => BTreeSet::from([self.address()]),
            Guard::Tls | Guard::MutualTls => BTreeSet::new(),
        }
    }

    /// A folder that goes away with it.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// docker's file with the right password.
    pub(crate) fn docker_config(&self) -> PathBuf {
        self.folder.path().join("config.json")
    }

    /// Its authority's certificate, if it speaks TLS.
    pub(crate) fn authority(&self) -> Option<PathBuf> {
        let file = self.folder.path().join("ca.pem");
        file.is_file().then_some(file)
    }

    /// The certificate of an authority that it has nothing to do with.
    pub(crate) fn other_authority(&self) -> String {
        authority("another authority").0
    }

    /// A client's certificate and key.
    pub(crate) fn client_files(&self) -> (PathBuf, PathBuf) {
        (
            self.folder.path().join("client.pem"),
            self.folder.path().join("client.key"),
        )
    }
}

/// The port in `listening on 127.0.0.1:4711` or `listening on 127.0.0.1:4711, tls`.
fn listening(line: &str) -> Option<u16> {
    let line: Value = serde_json::from_str(line).ok()?;
    let address = line.get("msg")?.as_str()?.strip_prefix("listening on ")?;
    address.split(',').next()?.rsplit(':').next()?.parse().ok()
}

fn authority(name: &str) -> (String, rcgen::Issuer<'static, rcgen::KeyPair>) {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    let pem = params.self_signed(&key).unwrap().pem();
    (pem, rcgen::Issuer::new(params, key))
}

fn leaf(issuer: &rcgen::Issuer<'static, rcgen::KeyPair>, folder: &Path, name: &str) {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.extended_key_usages = vec![
        rcgen::ExtendedKeyUsagePurpose::ServerAuth,
        rcgen::ExtendedKeyUsagePurpose::ClientAuth,
    ];
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    let certificate = params.signed_by(&key, issuer).unwrap();
    fs::write(folder.join(format!("{name}.pem")), certificate.pem()).unwrap();
    fs::write(folder.join(format!("{name}.key")), key.serialize_pem()).unwrap();
}
