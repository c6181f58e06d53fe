//! The `cluster` room on a real API server.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use berth_tests::control_plane::ControlPlane;

#[tokio::test]
async fn starts() {
    let plane = ControlPlane::start().await.unwrap();
    println!(
        "{}",
        plane.kubeconfig(berth_tests::control_plane::User::Admin).display()
    );
    if let Ok(s) = std::env::var("STAY") {
        tokio::time::sleep(std::time::Duration::from_secs(s.parse().unwrap())).await;
    }
}
