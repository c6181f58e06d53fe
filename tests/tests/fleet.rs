//! The HyperFleet API client, over HTTP and in memory.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics fails")]

#[path = "fleet/http.rs"]
mod http;

use std::time::Duration;

use berth::{
    fleet::{Client, Clock as _},
    simulate::fleet::{Fault, InMemory, Server},
    world::Fleet as _,
};
use berth_tests::fleet_contract::{self, Arranged};

macro_rules! over_http {
    ($($name:ident)*) => {
        mod over_http {
            use super::*;
            $(
                #[tokio::test]
                async fn $name() {
                    let arranged = Arranged::new();
                    let server = Server::spawn(arranged.simulation.clone()).await.unwrap();
                    let settings = Arranged::settings(server.url().as_str());
                    let client = Client::with_clock(&settings, arranged.client_clock.clone()).unwrap();
                    fleet_contract::$name(&client, &arranged).await;
                }
            )*
        }
    };
}

macro_rules! in_memory {
    ($($name:ident)*) => {
        mod in_memory {
            use super::*;
            $(
                #[tokio::test]
                async fn $name() {
                    let arranged = Arranged::new();
                    let settings = Arranged::settings("http://fleet.example");
                    let clock = arranged.client_clock.clone();
                    let fleet = InMemory::with_clock(&arranged.simulation, &settings, clock).unwrap();
                    fleet_contract::$name(&fleet, &arranged).await;
                }
            )*
        }
    };
}

berth_tests::fleet_contract!(over_http);
berth_tests::fleet_contract!(in_memory);

#[tokio::test]
async fn a_slow_api_is_waited_for_up_to_the_limits() {
    let arranged = Arranged::new();
    let cluster = arranged.cluster("east-1");
    let settings = Arranged::settings("http://fleet.example");
    let clock = arranged.client_clock.clone();
    let fleet = InMemory::with_clock(&arranged.simulation, &settings, clock).unwrap();

    arranged.simulation.inject(&Fault::Slow(Duration::from_secs(2)), 1);
    assert!(fleet.get(&cluster).await.is_ok());
    assert_eq!(arranged.client_clock.take_sleeps(), [Duration::from_secs(2)]);

    let before = arranged.client_clock.elapsed();
    arranged.simulation.inject(&Fault::Slow(Duration::from_secs(30)), 100);
    let fault = fleet.get(&cluster).await.unwrap_err();
    assert!(fault.to_string().contains("no answer within"), "{fault}");
    assert!(arranged.client_clock.elapsed() - before <= settings.timeout);
}
