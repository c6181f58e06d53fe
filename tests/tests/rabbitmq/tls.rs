//! Encrypted connections with certificates on both sides.

use berth_tests::rabbitmq::{RabbitMq as Broker, Tls};

use super::*;

/// An authority, and what it issued for `localhost` and for a client.
fn authority() -> (Tls, String, String) {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let name = (rcgen::DnType::CommonName, "private authority");
    params.distinguished_name.push(name.0, name.1);
    let authority = params.self_signed(&key).unwrap();
    let issuer = rcgen::Issuer::new(params, key);
    let issue = |name: &str| {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
        (params.signed_by(&key, &issuer).unwrap().pem(), key.serialize_pem())
    };
    let (certificate, key) = issue("localhost");
    let (client_certificate, client_key) = issue("berth");
    let tls = Tls {
        authority: authority.pem(),
        certificate,
        key,
    };
    (tls, client_certificate, client_key)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_encrypted_and_both_sides_show_certificates() {
    let (tls, certificate, key) = authority();
    let broker = Broker::start(Some(&tls)).await;
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let hold = Duration::from_secs(60);
    let topic = topic();
    let good = Settings {
        ca_file: Some(file("ca.pem", &tls.authority)),
        identity_files: Some((file("client.pem", &certificate), file("client.key", &key))),
        ..settings(broker.tls_url(), &topic)
    };
    let receiving = receive(good.clone(), 1, &[], hold);
    receiving.connected().await;
    broker.client().await.publish(&topic, "e", &event("e")).await;
    assert_eq!(receiving.sees(1).await, ["e"]);
    receiving.stop().await;

    let distrusting = Settings {
        ca_file: None,
        ..good.clone()
    };
    let told = receive(distrusting, 0, &[], hold).run.await.unwrap().unwrap_err();
    assert!(
        told.contains("cannot connect") && told.contains("certificate"),
        "{told}"
    );
    let anonymous = Settings {
        identity_files: None,
        ..good
    };
    let told = receive(anonymous, 0, &[], hold).run.await.unwrap().unwrap_err();
    assert!(told.contains("cannot connect"), "{told}");
}
