//! Which addresses a session may go to, and which of them may see credentials.

use std::{collections::BTreeSet, net::Ipv4Addr};

use url::{Host, Url};

use crate::registry::{
    access::{Secrets, shown},
    check::Check,
    remote::Fault,
};

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

    /// Whether we go there when the registry says so. What is on this machine, or on its own link only, is nobody's
    /// business who is not there as well.
    pub(super) fn may_go(&self, to: &Url) -> bool {
        let near = near(to);
        self.speakable(to) && (near.is_none() || near == self::near(&self.base))
    }

    /// Where a redirect leads to, if we may go there.
    pub(super) fn redirect(&self, from: &Url, location: &str, secrets: &Secrets) -> Result<Url, Fault> {
        let refused = |to: String| Fault::BadRedirect {
            registry: self.registry.clone(),
            to: if secrets.are_in(&to) {
                "an address that repeats a credential".to_owned()
            } else {
                to
            },
        };
        let to = from
            .join(location)
            .map_err(|_| refused("an address that is none".to_owned()))?;
        if Check::RedirectTarget.finds(!self.may_go(&to)) {
            return Err(refused(shown(&format!("{}://{}", to.scheme(), authority(&to)))));
        }
        Ok(to)
    }

    /// Whether credentials for this registry may be sent there, in exchange for a token.
    ///
    /// A registry names its token server by itself, so that server must be at home with it: the same address, the same
    /// host by HTTPS, one that is known to be its, or one that is listed. A domain in common is not enough: customers
    /// of one provider have that.
    pub(super) fn token_server(&self, realm: &Url) -> bool {
        let https = realm.scheme() == "https" && realm.port_or_known_default() == Some(443);
        let is_known = |(registry, server): &(&str, &str)| {
            Some(*registry) == self.base.host_str() && Some(*server) == realm.host_str()
        };
        let at_home = self.is_own(realm)
            || self.token_servers.contains(&authority(realm))
            || (https && realm.host() == self.base.host())
            || (https && self.base.port().is_none() && TOKEN_SERVERS.iter().any(is_known));
        at_home && self.speakable(realm)
    }
}

/// Registries whose token server has another name, and that name.
const TOKEN_SERVERS: [(&str, &str); 3] = [
    ("registry-1.docker.io", "auth.docker.io"),
    ("registry.gitlab.com", "gitlab.com"),
    ("registry.digitalocean.com", "api.digitalocean.com"),
];

/// What an address means to whoever is there only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Near {
    /// This machine.
    Machine,
    /// Whoever is on the same link, such as a cloud's metadata.
    Link,
}

/// Whether an address is of this machine, or of its link, by what is written: names are not looked up.
fn near(url: &Url) -> Option<Near> {
    let v4 = |address: Ipv4Addr| {
        if address.is_loopback() || address.is_unspecified() {
            Some(Near::Machine)
        } else {
            address.is_link_local().then_some(Near::Link)
        }
    };
    match url.host()? {
        Host::Domain(name) => {
            let name = name.trim_end_matches('.').to_ascii_lowercase();
            (name == "localhost" || name.ends_with(".localhost")).then_some(Near::Machine)
        }
        Host::Ipv4(address) => v4(address),
        Host::Ipv6(address) => match address.to_ipv4_mapped() {
            Some(mapped) => v4(mapped),
            None if address.is_loopback() || address.is_unspecified() => Some(Near::Machine),
            None => address.is_unicast_link_local().then_some(Near::Link),
        },
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
        let told = |location: &str| {
            let to = place.redirect(&place.base, location, &Secrets::default());
            to.map(String::from)
        };
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
    fn a_redirect_does_not_lead_to_this_machine_or_its_link() {
        let leads = |registry: &str, location: &str| {
            let place = place(registry);
            place.redirect(&place.base, location, &Secrets::default()).is_ok()
        };
        for location in [
            "https://127.0.0.1/x",
            "https://127.1.2.3:8443/x",
            "https://0.0.0.0/x",
            "https://2130706433/x",
            "https://localhost/x",
            "https://localhost./x",
            "https://a.localhost/x",
            "https://[::1]/x",
            "https://[::]/x",
            "https://[::ffff:127.0.0.1]/x",
            "https://169.254.169.254/latest/meta-data",
            "https://[::ffff:169.254.169.254]/x",
            "https://[fe80::1]/x",
        ] {
            assert!(!leads("registry.example.com", location), "{location}");
            assert!(!leads("10.0.0.1", location), "{location}");
        }
        assert!(leads("registry.example.com", "https://10.0.0.2/x"));
        assert!(leads("localhost:5001", "https://127.0.0.1/x"));
        assert!(leads("127.0.0.1:5001", "https://[::1]:5002/x"));
        assert!(!leads("localhost:5001", "https://169.254.169.254/x"));
        assert!(leads("169.254.0.1", "https://169.254.0.2/x"));
        assert!(!leads("169.254.0.1", "https://localhost/x"));
    }

    #[test]
    fn token_servers_of_well_known_registries_are_known() {
        for (registry, realm, expected) in [
            ("docker.io", "https://auth.docker.io/token", true),
            ("docker.io", "https://auth.docker.io:8443/token", false),
            ("docker.io", "http://auth.docker.io/token", false),
            ("docker.io", "https://auth.docker.io.evil.org/token", false),
            ("registry.gitlab.com", "https://gitlab.com/jwt/auth", true),
            ("registry.gitlab.com:5050", "https://gitlab.com/jwt/auth", false),
            ("registry.gitlab.com", "https://auth.docker.io/token", false),
        ] {
            let known = place(registry).token_server(&realm.parse().unwrap());
            assert_eq!(known, expected, "{registry} {realm}");
        }
    }

    #[test]
    fn a_token_server_is_at_home_with_its_registry() {
        let elsewhere = place("registry.example.com:5000");
        assert!(elsewhere.token_server(&"https://registry.example.com:5000/token".parse().unwrap()));
        assert!(elsewhere.token_server(&"https://registry.example.com/token".parse().unwrap()));
        let place = place("registry.example.com");
        for (realm, expected) in [
            ("https://registry.example.com/token", true),
            ("https://auth.example.com/token", false),
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
