#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;

fn document(text: &'static str) -> CredentialSource {
    CredentialSource::Document {
        name: "Secret berth/pull".to_owned(),
        text: Secret::new(text),
    }
}

async fn credentials(sources: Vec<CredentialSource>) -> Result<Credentials, CredentialsError> {
    let repository = "registry.example.com/lz".parse().unwrap();
    Purse { sources }.credentials(&repository).await
}

#[tokio::test]
async fn the_first_source_that_knows_the_repository_counts() {
    let other = document(r#"{"auths": {"other.example.com": {"registrytoken": "other"}}}"#);
    let first = document(r#"{"auths": {"registry.example.com": {"registrytoken": "first"}}}"#);
    let second = document(r#"{"auths": {"registry.example.com": {"registrytoken": "second"}}}"#);
    assert_eq!(
        credentials(vec![other.clone(), first, second]).await.unwrap(),
        Credentials::Bearer(Secret::new("first"))
    );
    assert_eq!(credentials(vec![other]).await.unwrap(), Credentials::Anonymous);
}

#[tokio::test]
async fn a_source_that_cannot_be_read_is_an_error_and_never_anonymous() {
    let missing = CredentialSource::File(PathBuf::from("/does/not/exist"));
    let told = credentials(vec![missing]).await.unwrap_err().to_string();
    assert!(told.contains("/does/not/exist"), "{told}");
    let told = credentials(vec![document("hunter2")]).await.unwrap_err();
    assert!(told.to_string().contains("Secret berth/pull"));
    assert!(!format!("{told:?}").contains("hunter2"));
}

#[tokio::test]
async fn no_helper_is_run_because_somebody_elses_document_names_it() {
    // There is no such program: whoever ran it would say so.
    for text in [
        r#"{"auths": {}, "credsStore": "berth-test-there-is-none"}"#,
        r#"{"auths": {}, "credHelpers": {"registry.example.com": "berth-test-there-is-none"}}"#,
    ] {
        let told = credentials(vec![document(text)]).await.unwrap_err();
        assert!(matches!(told, CredentialsError::ForeignHelper { .. }), "{told:?}");
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, text).unwrap();
        let told = credentials(vec![CredentialSource::File(file.path().to_owned())])
            .await
            .unwrap_err();
        assert!(matches!(told, CredentialsError::Helper(_)), "{told:?}");
    }
}

#[test]
fn sessions_are_shared_by_the_same_holder_of_the_same_credentials_only() {
    drop(rustls::crypto::ring::default_provider().install_default());
    let access = Access::new(Settings::default());
    let session = |access: &Access| access.session("registry.example.com").unwrap();
    let (old, new) = (document("{}"), document(r#"{"auths": {}}"#));
    let host = session(&access);
    let one = session(&access.holding("one", vec![old.clone()]));
    let two = session(&access.holding("two", vec![old.clone()]));
    for (this, other) in [(&host, &one), (&host, &two), (&one, &two)] {
        assert!(!Arc::ptr_eq(this, other));
    }
    assert!(Arc::ptr_eq(&host, &session(&access)));
    assert!(Arc::ptr_eq(&one, &session(&access.holding("one", vec![old]))));
    let rotated = session(&access.holding("one", vec![new]));
    assert!(!Arc::ptr_eq(&one, &rotated));
}

#[tokio::test]
async fn credentials_of_ones_own_count_before_those_of_the_host() {
    let of = |token: &str| {
        let text = format!(r#"{{"auths": {{"registry.example.com": {{"registrytoken": "{token}"}}}}}}"#);
        let name = "Secret adapters/pull".to_owned();
        let text = Secret::new(text);
        CredentialSource::Document { name, text }
    };
    drop(rustls::crypto::ring::default_provider().install_default());
    let access = Access::new(Settings {
        credentials: vec![of("host")],
        ..Settings::default()
    });
    let held = access.holding("one", vec![of("own")]);
    assert_eq!(held.sources("registry.example.com"), [of("own"), of("host")]);
    assert_eq!(access.sources("registry.example.com"), [of("host")]);
    assert!(!format!("{held:?} {:?}", of("own")).contains("own\""));
}

#[test]
fn a_certificate_needs_its_key() {
    let own = PerRegistry {
        client_certificate: Some(PathBuf::from("client.pem")),
        ..PerRegistry::default()
    };
    let access = Access::new(Settings {
        registries: BTreeMap::from([("registry.example.com".to_owned(), own)]),
        ..Settings::default()
    });
    let fault = access.open("registry.example.com").err().unwrap();
    assert_eq!(fault.reason(), "Misconfigured");
}

#[test]
fn dockers_own_file_is_found_where_docker_looks() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join(".docker")).unwrap();
    let file = folder.path().join(".docker/config.json");
    let find =
        |name: &'static str, path: PathBuf| docker_config(move |asked| (asked == name).then(|| path.clone().into()));
    assert_eq!(find("HOME", folder.path().to_owned()), None);
    std::fs::write(&file, "{}").unwrap();
    assert_eq!(find("HOME", folder.path().to_owned()), Some(file.clone()));
    assert_eq!(find("DOCKER_CONFIG", folder.path().join(".docker")), Some(file));
}
