//! Where the broker is, with its credentials.

use std::path::PathBuf;

use lapin::uri::AMQPUri;
use url::Url;

use super::{fault::Fault, read};
use crate::world::Secret;

/// Seconds between heartbeats, unless the URL says otherwise.
const HEARTBEAT: u16 = 30;
/// The largest frame in bytes, unless the URL says otherwise: the client holds 64 times as much for as long as it is
/// connected. Larger messages come in several frames.
const FRAME: u32 = 16 << 10;

/// Where the broker is. Files are read at every connection, so that they may be rotated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// The URL.
    pub url: Location,
    /// The file with the password; it replaces one in the URL.
    pub password_file: Option<PathBuf>,
}

/// Where the URL is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// Here. It may hold a password.
    Text(Secret),
    /// In this file.
    File(PathBuf),
}

impl Address {
    /// Reads what must be read.
    pub(super) async fn uri(&self) -> Result<AMQPUri, Fault> {
        let password = match &self.password_file {
            Some(file) => Some(text(read(file).await?)),
            None => None,
        };
        match &self.url {
            Location::Text(url) => parse(url.reveal(), password),
            Location::File(file) => parse(&text(read(file).await?), password),
        }
    }
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8_lossy(&bytes).trim().to_owned()
}

/// Reads an AMQP URL as HyperFleet's services do: an empty path is the virtual host `/`.
/// Errors do not repeat it.
fn parse(text: &str, password: Option<String>) -> Result<AMQPUri, Fault> {
    let url = Url::parse(text).map_err(|error| Fault::Address(error.to_string()))?;
    if !matches!(url.scheme(), "amqp" | "amqps") {
        return Err(Fault::Address(format!("`{}` is not amqp or amqps", url.scheme())));
    }
    let host = url.host_str().unwrap_or_default();
    if host.is_empty() {
        return Err(Fault::Address("it names no host".to_owned()));
    }
    let unusable = |_| Fault::Address("a part of it cannot be read".to_owned());
    let mut uri: AMQPUri = text.parse().map_err(unusable)?;
    uri.authority.host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    if uri.vhost.is_empty() {
        "/".clone_into(&mut uri.vhost);
    }
    if let Some(password) = password {
        uri.authority.userinfo.password = password;
    }
    uri.query.heartbeat = uri.query.heartbeat.or(Some(HEARTBEAT));
    uri.query.frame_max = uri.query.frame_max.or(Some(FRAME));
    Ok(uri)
}

impl Location {
    /// Whether the connection is encrypted, as far as is known before files are read.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        match self {
            Self::Text(url) => Url::parse(url.reveal()).is_ok_and(|url| url.scheme() == "amqp"),
            Self::File(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use lapin::uri::AMQPScheme;

    use super::*;

    fn vhost(url: &str) -> String {
        parse(url, None).unwrap().vhost
    }

    #[test]
    fn the_virtual_host_is_read_as_hyperfleets_services_read_it() {
        assert_eq!(vhost("amqp://rabbit"), "/");
        assert_eq!(vhost("amqp://rabbit/"), "/");
        assert_eq!(vhost("amqp://rabbit/%2f"), "/");
        assert_eq!(vhost("amqp://rabbit/fleet"), "fleet");
    }

    #[test]
    fn hosts_ports_and_schemes_are_read() {
        let uri = parse("amqps://me:pw@[::1]", None).unwrap();
        assert_eq!((uri.authority.host.as_str(), uri.authority.port), ("::1", 5671));
        assert_eq!(uri.scheme, AMQPScheme::AMQPS);
        let uri = parse("amqp://me@127.0.0.1:5673/?heartbeat=7", Some("from a file".to_owned())).unwrap();
        assert_eq!((uri.authority.host.as_str(), uri.authority.port), ("127.0.0.1", 5673));
        assert_eq!(uri.authority.userinfo.password, "from a file");
        assert_eq!((uri.query.heartbeat, uri.query.frame_max), (Some(7), Some(FRAME)));
        let uri = parse("amqp://rabbit/?frame_max=65536", None).unwrap();
        assert_eq!(uri.query.frame_max, Some(65536));
    }

    #[test]
    fn an_address_that_is_none_is_refused_without_repeating_it() {
        for wrong in [
            "http://me:hunter2@rabbit",
            "amqp:me:hunter2@rabbit",
            "me:hunter2@rabbit",
            "amqp://",
        ] {
            let error = parse(wrong, None).err().unwrap().to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn no_debug_text_shows_the_password() {
        let address = Address {
            url: Location::Text(Secret::new("amqp://me:hunter2@rabbit".to_owned())),
            password_file: None,
        };
        assert!(!format!("{address:?}").contains("hunter2"));
    }
}
