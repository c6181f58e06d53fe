//! The connection to NATS: who we are, whom we trust, and whether it stands.

use std::{path::Path, sync::Arc, time::Duration};

use async_nats::{Client, ConnectOptions, Event};
use tokio::{sync::watch, time::Instant};
use url::Url;

use super::{Fault, Intake, Location, Settings};

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
        let address = match &settings.address {
            Location::Text(text) => Address::parse(text.reveal())?,
            Location::File(file) => Address::parse(read("address", file).await?.trim())?,
        };
        let options = options(settings, &address).await?.event_callback(move |event| {
            let told = Arc::clone(&told);
            async move { hear(&event, &told) }
        });
        let client = options
            .connect(address.servers.as_slice())
            .await
            .map_err(|cause| Fault::Connect {
                address: address.servers.join(", "),
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
async fn options(settings: &Settings, address: &Address) -> Result<ConnectOptions, Fault> {
    let mut options = ConnectOptions::new()
        .name("berth")
        .connection_timeout(super::PATIENCE)
        .reconnect_delay_callback(delay)
        .require_tls(address.tls);
    options = match address.login.clone() {
        Some(Login::Token(token)) => options.token(token),
        Some(Login::User(user, password)) => options.user_and_password(user, password),
        None => options,
    };
    if let Some(path) = &settings.credentials_file {
        let text = read("credentials", path).await?;
        options = options.credentials(&text).map_err(|_| Fault::File {
            what: "credentials",
            path: path.clone(),
            // The library's error may repeat what it could not read.
            problem: "holds no credentials as `nsc` writes them".to_owned(),
        })?;
    }
    if let Some(path) = &settings.ca_file {
        read("CA", path).await?;
        options = options.add_root_certificates(path.clone());
    }
    if let Some((certificate, key)) = &settings.identity_files {
        read("certificate", certificate).await?;
        read("key", key).await?;
        options = options.add_client_certificate(certificate.clone(), key.clone());
    }
    Ok(options)
}

/// Servers, and who we are there. The credential is kept apart, so that nothing repeats it.
#[derive(PartialEq, Eq)]
struct Address {
    servers: Vec<String>,
    tls: bool,
    login: Option<Login>,
}

#[derive(Clone, PartialEq, Eq)]
enum Login {
    Token(String),
    User(String, String),
}

impl Address {
    fn parse(text: &str) -> Result<Self, Fault> {
        let mut address = Self {
            servers: Vec::new(),
            tls: false,
            login: None,
        };
        for one in text.split(',') {
            // Errors do not repeat the text.
            let url = Url::parse(one.trim()).map_err(|error| Fault::Address(error.to_string()))?;
            address.tls |= match url.scheme() {
                "nats" => false,
                "tls" => true,
                other => return Err(Fault::Address(format!("`{other}` is neither nats nor tls"))),
            };
            let host = url.host_str().filter(|host| !host.is_empty());
            let host = host.ok_or_else(|| Fault::Address("it names no host".to_owned()))?;
            let port = url.port().unwrap_or(4222);
            address.servers.push(format!("{}://{host}:{port}", url.scheme()));
            let login = match (decoded(url.username())?, url.password()) {
                (user, None) if user.is_empty() => None,
                (token, None) => Some(Login::Token(token)),
                (user, Some(password)) => Some(Login::User(user, decoded(password)?)),
            };
            address.login = address.login.or(login);
        }
        Ok(address)
    }
}

/// Without percent signs.
fn decoded(text: &str) -> Result<String, Fault> {
    let unreadable = || Fault::Address("its user or password is not readable".to_owned());
    let mut bytes = text.bytes();
    let mut plain = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            plain.push(byte);
            continue;
        }
        let digits = [bytes.next(), bytes.next()].map(|digit| digit.and_then(|digit| char::from(digit).to_digit(16)));
        let [Some(high), Some(low)] = digits else { return Err(unreadable()) };
        plain.push(u8::try_from(high * 16 + low).map_err(|_| unreadable())?);
    }
    String::from_utf8(plain).map_err(|_| unreadable())
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
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn the_time_between_attempts_grows_to_a_bound() {
        let delays: Vec<_> = (1..9).map(|attempt| delay(attempt).as_millis()).collect();
        assert_eq!(delays, [100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000]);
        assert_eq!(delay(usize::MAX), LONGEST_DELAY);
    }

    #[test]
    fn a_credential_is_kept_apart_from_the_servers() {
        let parsed = Address::parse("nats://me:p%40ss@one:4333, tls://two").ok().unwrap();
        assert_eq!(parsed.servers, ["nats://one:4333", "tls://two:4222"]);
        assert!(parsed.tls, "one of them wants it");
        assert!(parsed.login == Some(Login::User("me".to_owned(), "p@ss".to_owned())));
        let parsed = Address::parse("nats://s3cret@[::1]").ok().unwrap();
        assert_eq!((parsed.servers, parsed.tls), (vec!["nats://[::1]:4222".to_owned()], false));
        assert!(parsed.login == Some(Login::Token("s3cret".to_owned())));
    }

    #[test]
    fn an_address_that_is_none_is_refused_without_repeating_it() {
        for wrong in ["http://me:hunter2@nats", "me:hunter2@nats", "nats://me:hunter2%zz@nats", "nats://one,,hunter2"] {
            let Err(refused) = Address::parse(wrong) else { panic!("{wrong} is taken") };
            assert!(!refused.to_string().contains("hunter2"), "{refused}");
        }
    }
}
