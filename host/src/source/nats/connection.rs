//! The connection to NATS: who we are, whom we trust, and whether it stands.

use std::{path::Path, sync::Arc, time::Duration};

use async_nats::{Client, ConnectOptions, Event};
use tokio::{sync::watch, time::Instant};
use url::Url;

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
    intake: Arc<Intake>,
    stands: watch::Receiver<bool>,
    /// Since when it does not stand.
    fallen: Option<Instant>,
}

impl Connection {
    /// Connects.
    pub(super) async fn open(settings: &Settings, intake: Arc<Intake>) -> Result<Self, Fault> {
        // Another part of the process may have chosen it already.
        drop(rustls::crypto::ring::default_provider().install_default());
        let (told, stands) = watch::channel(true);
        let told = Arc::new(told);
        let options = options(settings).await?.event_callback(move |event| {
            let told = Arc::clone(&told);
            async move { hear(&event, &told) }
        });
        let client = options
            .connect(settings.url.as_str())
            .await
            .map_err(|cause| Fault::Connect {
                address: address(&settings.url),
                cause,
            })?;
        Ok(Self {
            client,
            intake,
            stands,
            fallen: None,
        })
    }

    /// Waits until the connection is gone for longer than the client should try by itself. Keeps
    /// the intake told. May be dropped and called again.
    pub(super) async fn lost(&mut self) {
        loop {
            let stands = *self.stands.borrow_and_update();
            if stands {
                if self.fallen.take().is_some() {
                    tracing::info!("connected to NATS again");
                    self.intake.connected();
                }
                if self.stands.changed().await.is_err() {
                    return;
                }
                continue;
            }
            let intake = &self.intake;
            let since = *self.fallen.get_or_insert_with(|| {
                tracing::warn!("the connection to NATS is lost");
                intake.broken("the connection to NATS is lost".to_owned());
                Instant::now()
            });
            let changed = tokio::time::timeout_at(since + OUTAGE, self.stands.changed()).await;
            if !matches!(changed, Ok(Ok(()))) {
                return;
            }
        }
    }
}

fn hear(event: &Event, told: &watch::Sender<bool>) {
    match event {
        Event::Connected => drop(told.send_replace(true)),
        Event::Disconnected | Event::Closed => drop(told.send_replace(false)),
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

/// How to connect, but for who listens.
async fn options(settings: &Settings) -> Result<ConnectOptions, Fault> {
    let mut options = ConnectOptions::new()
        .name("berth")
        .connection_timeout(super::PATIENCE)
        .reconnect_delay_callback(delay)
        .require_tls(settings.url.scheme() == "tls");
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
    Ok(options)
}

fn address(url: &Url) -> String {
    format!("{}:{}", url.host_str().unwrap_or_default(), url.port().unwrap_or(4222))
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
