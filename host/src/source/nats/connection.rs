//! The connection to NATS: who we are, whom we trust, and whether it stands.

use std::{path::Path, sync::Arc, time::Duration};

use async_nats::{Client, ConnectOptions, Event};
use tokio::sync::watch;

use super::{Fault, Intake, Settings};

/// How long the client tries by itself to reach the server again. After it the caller begins
/// anew, which reads all files again.
const OUTAGE: Duration = Duration::from_secs(60);
/// The longest time between two attempts of the client.
const LONGEST_DELAY: Duration = Duration::from_secs(5);
/// No file with credentials is larger, in bytes.
const LARGEST: u64 = 64 * 1024;

/// A connection that reconnects by itself for a while.
pub(super) struct Connection {
    pub(super) client: Client,
    stands: watch::Receiver<bool>,
}

impl Connection {
    /// Connects, and keeps the intake told.
    pub(super) async fn open(settings: &Settings, intake: Arc<Intake>) -> Result<Self, Fault> {
        // Another part of the process may have chosen it already.
        drop(rustls::crypto::ring::default_provider().install_default());
        let (told, stands) = watch::channel(true);
        let told = Arc::new(told);
        let mut options = ConnectOptions::new()
            .name("berth")
            .connection_timeout(super::PATIENCE)
            .reconnect_delay_callback(delay)
            .event_callback(move |event| {
                let (told, intake) = (Arc::clone(&told), Arc::clone(&intake));
                async move { hear(&event, &told, &intake) }
            });
        if let Some(path) = &settings.credentials_file {
            let text = read("credentials", path).await?;
            options = options.credentials(&text).map_err(|_| Fault::File {
                what: "credentials",
                path: path.clone(),
                // The library's error may repeat what it could not read.
                problem: "holds no credentials as `nsc` writes them".to_owned(),
            })?;
        }
        if let Some(path) = &settings.token_file {
            options = options.token(read("token", path).await?.trim().to_owned());
        }
        if let Some(path) = &settings.ca_file {
            read("CA", path).await?;
            options = options.add_root_certificates(path.clone());
        }
        if settings.url.scheme() == "tls" {
            options = options.require_tls(true);
        }
        let client = options
            .connect(settings.url.as_str())
            .await
            .map_err(|cause| Fault::Connect {
                address: address(settings),
                cause,
            })?;
        Ok(Self { client, stands })
    }

    /// Waits until the connection is gone for longer than the client should try by itself.
    pub(super) async fn lost(&mut self) {
        loop {
            let fallen = self.stands.wait_for(|stands| !stands).await.is_err();
            if fallen {
                return;
            }
            let again = tokio::time::timeout(OUTAGE, self.stands.wait_for(|stands| *stands)).await;
            if !matches!(again, Ok(Ok(_))) {
                return;
            }
        }
    }
}

fn hear(event: &Event, told: &watch::Sender<bool>, intake: &Intake) {
    match event {
        Event::Connected => {
            // The first connection is not ready before the consumer is found.
            if !told.send_replace(true) {
                tracing::info!("connected to NATS again");
                intake.connected();
            }
        }
        Event::Disconnected | Event::Closed => {
            told.send_replace(false);
            tracing::warn!("the connection to NATS is lost");
            intake.broken("the connection to NATS is lost".to_owned());
        }
        Event::LameDuckMode | Event::Draining | Event::SlowConsumer(_) => {
            tracing::info!(%event, "NATS");
        }
        Event::ServerError(_) | Event::ClientError(_) => tracing::warn!(%event, "NATS"),
    }
}

/// 100 ms, rising to the longest.
fn delay(attempts: usize) -> Duration {
    let doubled = u32::try_from(attempts.min(10)).unwrap_or(10);
    Duration::from_millis(50)
        .saturating_mul(2_u32.saturating_pow(doubled))
        .min(LONGEST_DELAY)
}

fn address(settings: &Settings) -> String {
    let host = settings.url.host_str().unwrap_or_default();
    let port = settings.url.port().unwrap_or(4222);
    format!("{host}:{port}")
}

async fn read(what: &'static str, path: &Path) -> Result<String, Fault> {
    let unusable = |problem: String| Fault::File {
        what,
        path: path.to_owned(),
        problem,
    };
    let unreadable = |error: std::io::Error| unusable(format!("cannot be read: {error}; check that it is mounted"));
    let size = tokio::fs::metadata(path).await.map_err(unreadable)?.len();
    if size > LARGEST {
        return Err(unusable("is too large".to_owned()));
    }
    let text = tokio::fs::read_to_string(path).await.map_err(unreadable)?;
    if text.trim().is_empty() {
        return Err(unusable("is empty".to_owned()));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_between_attempts_grows_to_a_bound() {
        let delays: Vec<_> = (1..9).map(|attempt| delay(attempt).as_millis()).collect();
        assert_eq!(delays, [100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000]);
        assert_eq!(delay(usize::MAX), LONGEST_DELAY);
    }
}
