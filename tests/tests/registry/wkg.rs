//! What `wkg` pushes is loaded, and what is pushed here `wkg` pulls.

use std::{fs, process::Command};

use berth::registry::{Origin, Policy, Reference};
use berth_tests::stage::sandbox;

use super::world::{World, tool};
use crate::plugin;

/// The folder of wkg below the tools' folder, by `cargo xtask tools`.
const WKG: &str = "wkg-0.16.1/wkg";

/// Runs `wkg oci` with a home of its own.
fn wkg(world: &World, arguments: &[&str]) {
    let output = Command::new(tool(WKG))
        .arg("oci")
        .args(arguments)
        .args(["--insecure", &world.repository().registry])
        .current_dir(world.folder.path())
        .env_clear()
        .env("HOME", world.folder.path())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_wkg_pushes_is_verified_and_loaded() {
    let world = World::start().await;
    fs::write(world.file("lz.wasm"), plugin()).unwrap();
    let reference: Reference = format!("{}:wkg", world.repository()).parse().unwrap();
    let annotated = [
        "--annotation",
        "org.opencontainers.image.version=1.4.0",
        "--author",
        "a partner",
    ];
    wkg(
        &world,
        &[&["push", &reference.to_string(), "lz.wasm"], &annotated[..]].concat(),
    );

    let fetched = world.host_under(Policy::Off).fetch(&reference).await.unwrap();
    assert!(matches!(fetched.origin, Origin::Registry));
    assert!(fetched.plugin.bytes == plugin());
    let bytes = fetched.plugin.bytes;
    let loaded = tokio::task::spawn_blocking(move || sandbox().load(&bytes))
        .await
        .unwrap();
    assert_eq!(loaded.unwrap().phases().len(), 4);

    // It is signed and verified as anything else.
    world.new_key("ours");
    world.we_sign(&fetched.plugin.manifest, "ours").await;
    let trusting = world.host(&["ours"], berth::registry::Needed::Any);
    assert_eq!(trusting.fetch(&reference).await.unwrap().plugin.signed_by, ["ours"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_pushed_here_wkg_pulls_byte_by_byte() {
    let world = World::start().await;
    let digest = world.push(&plugin()).await;
    wkg(
        &world,
        &["pull", &world.tagged().to_string(), "--output", "by-tag.wasm"],
    );
    assert!(fs::read(world.file("by-tag.wasm")).unwrap() == plugin());
    wkg(&world, &["pull", &world.image(&digest), "--output", "by-digest.wasm"]);
    assert!(fs::read(world.file("by-digest.wasm")).unwrap() == plugin());
}
