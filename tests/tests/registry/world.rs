//! A real registry, cosign with keys of its own, and hosts that trust some of them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
};

use berth::registry::{
    Connect as _, Digest, Needed, Policy, PrivateKey, PublicKey, Reference, Registry, Repository, Settings, TrustedKey,
    access::{self, Access, CredentialSource},
    push,
    remote::Remote,
    signature::{sign, sign_as_bundle},
};
use tempfile::TempDir;

use crate::running::{Guard, Running};

/// The folder of cosign below the tools' folder, by `cargo xtask tools`.
const COSIGN: &str = "cosign-v3.1.3/cosign";
/// What opens the keys here.
pub(crate) const PASSWORD: &str = "open sesame";

/// Writes a key of RSA as PKCS #8.
const RSA: &str = r#"package main

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"os"
)

func main() {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		panic(err)
	}
	pem.Encode(os.Stdout, &pem.Block{Type: "PRIVATE KEY", Bytes: der})
}
"#;

/// A registry, cosign, and a host.
pub(crate) struct World {
    pub(crate) running: Running,
    pub(crate) access: Access,
    pub(crate) folder: TempDir,
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::start_with(Guard::Nothing).await
    }

    /// The same behind a guard that all here can pass.
    pub(crate) async fn start_with(guard: Guard) -> Self {
        let running = Running::start(&guard).await;
        let access = Access::new(access::Settings {
            insecure: running.insecure(),
            credentials: vec![CredentialSource::File(running.docker_config())],
            ca_file: running.authority(),
            ..access::Settings::default()
        });
        let folder = tempfile::tempdir().unwrap();
        Self {
            running,
            access,
            folder,
        }
    }

    pub(crate) fn repository(&self) -> Repository {
        self.running.name("partners/lz").parse().unwrap()
    }

    pub(crate) fn tagged(&self) -> Reference {
        format!("{}:1", self.repository()).parse().unwrap()
    }

    pub(crate) fn remote(&self) -> Arc<dyn Remote> {
        self.access.remote(&self.repository().registry).unwrap()
    }

    /// A host that trusts these keys, with a cache of its own.
    pub(crate) fn host(&self, keys: &[&str], needed: Needed) -> Registry {
        let keys = keys.iter().map(|name| TrustedKey {
            name: (*name).to_owned(),
            key: PublicKey::read(&fs::read(self.file(&format!("{name}.pub"))).unwrap()).unwrap(),
        });
        self.host_under(Policy::Signers {
            keys: keys.collect(),
            identities: None,
            needed,
        })
    }

    pub(crate) fn host_under(&self, policy: Policy) -> Registry {
        let cache = tempfile::tempdir_in(self.folder.path()).unwrap().keep();
        let settings = Settings {
            policy,
            allow: vec![format!("{}/*", self.repository().registry).parse().unwrap()],
            ..Settings::new(cache)
        };
        Registry::new(settings, Arc::new(self.access.clone())).unwrap()
    }

    /// Pushes a component under the tag `1`; answers with the manifest's digest.
    pub(crate) async fn push(&self, bytes: &[u8]) -> Digest {
        self.push_as("1", bytes).await
    }

    /// The same under a tag of the caller's choice, which moves if it is there.
    pub(crate) async fn push_as(&self, tag: &str, bytes: &[u8]) -> Digest {
        let packed = push(self.remote().as_ref(), &self.repository(), Some(tag), bytes, &|_, _| {}).await;
        packed.unwrap().digest
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn image(&self, digest: &Digest) -> String {
        format!("{}@{digest}", self.repository())
    }

    pub(crate) fn cosign(&self, arguments: &[&str]) -> Cosign {
        let mut command = Command::new(tool(COSIGN));
        command
            .args(arguments)
            .current_dir(self.folder.path())
            // Its own home: nothing of the machine's user is read or written.
            .env_clear()
            .env("HOME", self.folder.path())
            .env("COSIGN_PASSWORD", PASSWORD)
            .env("COSIGN_YES", "true")
            .stdin(Stdio::null());
        Cosign(command)
    }

    /// Has cosign make a key pair.
    pub(crate) fn new_key(&self, name: &str) {
        self.cosign(&["generate-key-pair", "--output-key-prefix", name])
            .succeeds();
    }

    /// Makes a key pair without cosign, and without a password.
    pub(crate) fn new_plain_key(&self, name: &str) {
        let key = rcgen::KeyPair::generate().unwrap();
        fs::write(self.file(&format!("{name}.key")), key.serialize_pem()).unwrap();
        fs::write(self.file(&format!("{name}.pub")), key.public_key_pem()).unwrap();
    }

    /// Has cosign seal a key of another kind.
    pub(crate) fn import_key(&self, name: &str, pem: &str) {
        fs::write(self.file("plain.pem"), pem).unwrap();
        self.cosign(&["import-key-pair", "--key", "plain.pem", "--output-key-prefix", name])
            .succeeds();
    }

    /// A key pair of RSA with 2048 bits, which the library of Go makes.
    pub(crate) fn new_rsa_key(&self, name: &str) {
        fs::write(self.file("rsa.go"), RSA).unwrap();
        let made = Command::new("go")
            .args(["run", "rsa.go"])
            .current_dir(self.folder.path())
            .env("GO111MODULE", "off")
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&made.stderr);
        assert!(made.status.success(), "{told}");
        self.import_key(name, std::str::from_utf8(&made.stdout).unwrap());
    }

    /// In the format of cosign 3: a bundle that refers to the artifact.
    pub(crate) fn cosign_signs_as_bundle(&self, digest: &Digest, key: &str) {
        if !self.file("offline.json").is_file() {
            self.cosign(&["signing-config", "create", "--out", "offline.json"])
                .args([
                    "--no-default-fulcio",
                    "--no-default-oidc",
                    "--no-default-rekor",
                    "--no-default-tsa",
                ])
                .succeeds();
        }
        self.cosign(&[
            "sign",
            "--key",
            &format!("{key}.key"),
            "--signing-config",
            "offline.json",
        ])
        .args(["--allow-http-registry", &self.image(digest)])
        .succeeds();
    }

    /// In the format of cosign 2: SimpleSigning under a tag.
    pub(crate) fn cosign_signs_under_tag(&self, digest: &Digest, key: &str) {
        self.cosign(&["sign", "--key", &format!("{key}.key"), "--use-signing-config=false"])
            .args([
                "--new-bundle-format=false",
                "--tlog-upload=false",
                "--allow-http-registry",
            ])
            .args([&self.image(digest)])
            .succeeds();
    }

    async fn private_key(&self, key: &str) -> PrivateKey {
        let text = fs::read(self.file(&format!("{key}.key"))).unwrap();
        tokio::task::spawn_blocking(move || PrivateKey::read(&text, PASSWORD.as_bytes()))
            .await
            .unwrap()
            .unwrap()
    }

    pub(crate) async fn we_sign_as_bundle(&self, digest: &Digest, key: &str) -> Digest {
        let key = self.private_key(key).await;
        sign_as_bundle(self.remote().as_ref(), &self.repository(), digest, &key)
            .await
            .unwrap()
    }

    pub(crate) async fn we_sign(&self, digest: &Digest, key: &str) {
        let key = self.private_key(key).await;
        sign(self.remote().as_ref(), &self.repository(), digest, &key)
            .await
            .unwrap();
    }

    /// What signatures under the tag say to cosign.
    pub(crate) fn cosign_verifies(&self, digest: &Digest, key: &str) -> Cosign {
        self.cosign_verifies_as_it_likes(digest, key)
            .args(["--new-bundle-format=false"])
    }

    /// What signatures in any format say to cosign.
    pub(crate) fn cosign_verifies_as_it_likes(&self, digest: &Digest, key: &str) -> Cosign {
        self.cosign(&["verify", "--key", &format!("{key}.pub"), "--insecure-ignore-tlog=true"])
            .args(["--allow-http-registry", &self.image(digest)])
            // It takes SHA-256 for every key that does not say otherwise itself.
            .args((key == "p384").then_some("--signature-digest-algorithm=sha384"))
    }
}

/// A run of cosign.
pub(crate) struct Cosign(pub(crate) Command);

impl Cosign {
    pub(crate) fn args(mut self, arguments: impl IntoIterator<Item = impl AsRef<std::ffi::OsStr>>) -> Self {
        self.0.args(arguments);
        self
    }

    pub(crate) fn succeeds(mut self) {
        let output = self.0.output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{:?}: {told}", self.0);
    }

    pub(crate) fn fails(mut self) -> String {
        let output = self.0.output().unwrap();
        assert!(!output.status.success(), "{:?} succeeded", self.0);
        String::from_utf8_lossy(&output.stderr).into_owned()
    }
}

/// A program below the tools' folder.
pub(crate) fn tool(path: &str) -> PathBuf {
    let folder = std::env::var_os("BERTH_TOOLS").map_or_else(
        || Path::new(&std::env::var_os("HOME").unwrap()).join(".cache/berth/tools"),
        PathBuf::from,
    );
    let binary = folder.join(path);
    assert!(
        binary.is_file(),
        "{} is missing: run `cargo xtask tools`",
        binary.display()
    );
    binary
}
