//! HTTP clients for one registry.

use std::{fs, io, path::PathBuf, time::Duration};

use reqwest::{Certificate, Client, Identity, NoProxy, redirect};
use sha2::{Digest as _, Sha256};

use super::{PerRegistry, Settings};

/// Why no client can be made for a registry. No contents of files are repeated.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// A file cannot be read.
    #[error("cannot read `{}`", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file holds no certificate.
    #[error("`{}` holds no certificate of an authority; it must be PEM", .path.display())]
    Authorities {
        /// The file.
        path: PathBuf,
    },
    /// A certificate without a key, or the reverse, or neither is usable.
    #[error("the client certificate and its key cannot be used; both must be PEM, and both must be named")]
    Identity,
    /// The proxy's address or credentials cannot be used.
    #[error(
        "the proxy cannot be used; its address is `http://HOST:PORT`, its credentials are `USER:PASSWORD` in a file"
    )]
    Proxy,
    /// The HTTP library refuses.
    #[error("cannot set up HTTP")]
    Http(#[source] reqwest::Error),
}

/// Two clients: only the registry itself is shown our client certificate.
#[derive(Debug, Clone)]
pub(crate) struct Clients {
    /// For the registry.
    pub(crate) own: Client,
    /// For whom it redirects to, and for its token server.
    pub(crate) other: Client,
}

/// What clients are made of, read from files.
pub(super) struct Material {
    extra: Vec<Certificate>,
    only: Option<Vec<Certificate>>,
    identity: Option<Vec<u8>>,
    proxy: Option<reqwest::Proxy>,
    /// Tells whether any of the files has changed.
    pub(super) fingerprint: [u8; 32],
}

impl Material {
    /// Reads all files that the settings name for this registry.
    pub(super) fn read(settings: &Settings, own: &PerRegistry) -> Result<Self, ClientError> {
        let mut hasher = Sha256::new();
        let mut file = |path: &PathBuf| {
            let bytes = fs::read(path).map_err(|source| ClientError::Unreadable {
                path: path.clone(),
                source,
            })?;
            hasher.update((bytes.len() as u64).to_be_bytes());
            hasher.update(&bytes);
            Ok::<_, ClientError>(bytes)
        };
        let authorities = |path: &PathBuf, bytes: &[u8]| {
            Certificate::from_pem_bundle(bytes)
                .ok()
                .filter(|found| !found.is_empty())
                .ok_or_else(|| ClientError::Authorities { path: path.clone() })
        };
        let extra = match &settings.ca_file {
            Some(path) => authorities(path, &file(path)?)?,
            None => Vec::new(),
        };
        let only = match &own.ca_file {
            Some(path) => Some(authorities(path, &file(path)?)?),
            None => None,
        };
        let identity = match (&own.client_certificate, &own.client_key) {
            (Some(certificate), Some(key)) => {
                let mut pem = file(certificate)?;
                pem.push(b'\n');
                pem.extend(file(key)?);
                Identity::from_pem(&pem).map_err(|_| ClientError::Identity)?;
                Some(pem)
            }
            (None, None) => None,
            (Some(_), None) | (None, Some(_)) => return Err(ClientError::Identity),
        };
        let proxy = match &settings.proxy {
            Some(proxy) => {
                let except = NoProxy::from_string(&proxy.except.join(","));
                let mut made = reqwest::Proxy::all(proxy.url.clone())
                    .map_err(|_| ClientError::Proxy)?
                    .no_proxy(except);
                if let Some(path) = &proxy.credentials_file {
                    let text = String::from_utf8(file(path)?).map_err(|_| ClientError::Proxy)?;
                    let (user, password) = text.trim().split_once(':').ok_or(ClientError::Proxy)?;
                    made = made.basic_auth(user, password);
                }
                Some(made)
            }
            None => None,
        };
        Ok(Self {
            extra,
            only,
            identity,
            proxy,
            fingerprint: hasher.finalize().into(),
        })
    }

    /// Makes the clients. `plain`: without TLS, so that a system without certificates is no error.
    pub(super) fn clients(&self, settings: &Settings, plain: bool) -> Result<Clients, ClientError> {
        // Whoever chose the process-wide cryptography before is right.
        drop(rustls::crypto::ring::default_provider().install_default());
        let limits = &settings.limits;
        let bare = || {
            let builder = Client::builder()
                .user_agent(concat!("berth/", env!("CARGO_PKG_VERSION")))
                // Redirects are followed by the session, which knows who may see credentials.
                .redirect(redirect::Policy::none())
                // The library would retry, and use a proxy of the environment, by itself.
                .retry(reqwest::retry::never())
                .no_proxy()
                .http1_only()
                .connect_timeout(limits.connect)
                .pool_idle_timeout(Duration::from_secs(30));
            match &self.proxy {
                Some(proxy) => builder.proxy(proxy.clone()),
                None => builder,
            }
        };
        let mut own = match &self.only {
            Some(only) => bare().tls_certs_only(only.clone()),
            None if plain => bare().tls_certs_only(self.extra.clone()),
            None => bare().tls_certs_merge(self.extra.clone()),
        };
        if let Some(pem) = &self.identity {
            own = own.identity(Identity::from_pem(pem).map_err(|_| ClientError::Identity)?);
        }
        // Who is redirected to may have a certificate of the registry's own authority, or a public one.
        let all = || self.extra.iter().chain(self.only.iter().flatten()).cloned();
        let other = match bare().tls_certs_merge(all()).build() {
            Err(_) if plain || self.only.is_some() => bare().tls_certs_only(all()).build(),
            built => built,
        };
        Ok(Clients {
            own: own.build().map_err(ClientError::Http)?,
            other: other.map_err(ClientError::Http)?,
        })
    }
}
