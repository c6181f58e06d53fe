#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;

fn document(text: &'static str) -> CredentialSource {
    CredentialSource::Document {
        name: "Secret berth/pull".to_owned(),
        read: Arc::new(move || Box::pin(async move { Ok(text.as_bytes().to_vec()) })),
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
