//! Which addresses a session may go to, and which of them may see credentials.

use std::collections::BTreeSet;

use url::Url;

use crate::registry::{access::shown, check::Check, remote::Fault};

/// Where a registry is.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// Its name, as people write it.
    pub(crate) registry: String,
    /// Its address.
    pub(crate) base: Url,
    insecure: BTreeSet<String>,
    token_servers: Vec<String>,
}

impl Place {
    /// The place of `HOST[:PORT]`; spoken to by HTTPS unless it is listed in `insecure`.
    pub(crate) fn new(registry: &str, insecure: &BTreeSet<String>, token_servers: Vec<String>) -> Result<Self, Fault> {
        let scheme = if insecure.contains(registry) { "http" } else { "https" };
        let host = match registry {
            "docker.io" | "index.docker.io" => "registry-1.docker.io",
            other => other,
        };
        let base = Url::parse(&format!("{scheme}://{host}/")).map_err(|_| Fault::Malformed {
            message: format!("`{}` is no registry", shown(registry)),
        })?;
        Ok(Self {
            registry: registry.to_owned(),
            base,
            insecure: insecure.clone(),
            token_servers,
        })
    }

    /// Whether this address is the registry's own.
    pub(super) fn is_own(&self, url: &Url) -> bool {
        url.origin() == self.base.origin()
    }

    fn speakable(&self, url: &Url) -> bool {
        let named = url.username().is_empty() && url.password().is_none() && url.host().is_some();
        named
            && match url.scheme() {
                "https" => true,
                "http" => self.insecure.contains(&authority(url)),
                _ => false,
            }
    }

    /// Where a redirect leads to, if we may go there.
    pub(super) fn redirect(&self, from: &Url, location: &str) -> Result<Url, Fault> {
        let refused = |to: String| Fault::BadRedirect {
            registry: self.registry.clone(),
            to,
        };
        let to = from
            .join(location)
            .map_err(|_| refused("an address that is none".to_owned()))?;
        if Check::RedirectTarget.finds(!self.speakable(&to)) {
            return Err(refused(shown(&format!("{}://{}", to.scheme(), authority(&to)))));
        }
        Ok(to)
    }

    /// Whether credentials for this registry may be sent there, in exchange for a token.
    ///
    /// A registry names its token server by itself, so that server must be at home with it: the same
    /// address, or over HTTPS a host with the same two last labels, or one that is listed.
    pub(super) fn token_server(&self, realm: &Url) -> bool {
        let domain = |url: &Url| {
            let name = url.domain()?.to_ascii_lowercase();
            let labels: Vec<&str> = name.rsplit('.').take(2).collect();
            (labels.len() == 2).then(|| labels.join("."))
        };
        let known = self.is_own(realm)
            || self.token_servers.contains(&authority(realm))
            || (realm.scheme() == "https"
                && realm.port_or_known_default() == Some(443)
                && domain(realm).is_some()
                && domain(realm) == domain(&self.base));
        known && self.speakable(realm)
    }
}

/// `HOST[:PORT]`, as lists have it.
pub(crate) fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(registry: &str) -> Place {
        let insecure = BTreeSet::from(["localhost:5000".to_owned(), "plain.example.com".to_owned()]);
        Place::new(registry, &insecure, vec!["login.example.org:8443".to_owned()]).unwrap()
    }

    #[test]
    fn plain_http_is_spoken_to_listed_registries_only() {
        for (registry, expected) in [
            ("registry.example.com", "https://registry.example.com/"),
            ("localhost:5000", "http://localhost:5000/"),
            ("localhost:5001", "https://localhost:5001/"),
            ("localhost", "https://localhost/"),
            ("127.0.0.1:5000", "https://127.0.0.1:5000/"),
            ("docker.io", "https://registry-1.docker.io/"),
        ] {
            assert_eq!(place(registry).base.as_str(), expected);
        }
    }

    #[test]
    fn a_redirect_leads_to_https_or_a_listed_registry() {
        let place = place("registry.example.com");
        let told = |location: &str| place.redirect(&place.base, location).map(String::from);
        assert_eq!(told("/x").unwrap(), "https://registry.example.com/x");
        assert_eq!(
            told("https://cdn.example.net/x?sig=1").unwrap(),
            "https://cdn.example.net/x?sig=1"
        );
        assert_eq!(
            told("http://plain.example.com/x").unwrap(),
            "http://plain.example.com/x"
        );
        for (location, to) in [
            (
                "http://registry.example.com/x?sig=hunter2",
                "http://registry.example.com",
            ),
            ("http://169.254.169.254/latest", "http://169.254.169.254"),
            ("https://user:hunter2@cdn.example.net/x", "https://cdn.example.net"),
            ("file:///etc/passwd", "file://"),
        ] {
            let fault = told(location).unwrap_err();
            assert!(
                matches!(&fault, Fault::BadRedirect { to: told, .. } if told == to),
                "{fault}"
            );
        }
    }

    #[test]
    fn a_token_server_is_at_home_with_its_registry() {
        let place = place("registry.example.com");
        for (realm, expected) in [
            ("https://registry.example.com/token", true),
            ("https://auth.example.com/token", true),
            ("https://login.example.org:8443/token", true),
            ("https://login.example.org/token", false),
            ("http://auth.example.com/token", false),
            ("http://registry.example.com/token", false),
            ("https://example.com.evil.org/token", false),
            ("https://registry.example.com:8443/token", false),
            ("https://127.0.0.1/token", false),
        ] {
            assert_eq!(place.token_server(&realm.parse().unwrap()), expected, "{realm}");
        }
    }
}
