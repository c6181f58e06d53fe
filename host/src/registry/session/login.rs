//! Logging in: from a registry's challenge to the header that answers it.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use serde::Deserialize;
use url::Url;

use super::{
    Place,
    exchange::{self, Whose},
};
use crate::registry::{
    access::{Clients, Credentials, Secret, Secrets, shown},
    remote::Fault,
};

/// No answer of a token server is longer.
const LARGEST: u64 = 256 << 10;
/// How long a token is good for whose server does not say, by the token protocol.
const DEFAULT_LIFE: u64 = 60;
/// No token is kept for longer.
const LONGEST_LIFE: u64 = 3600;

/// What a token is good for: a path and `pull` or `pull,push`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Scope {
    pub(super) path: String,
    pub(super) actions: &'static str,
}

/// How a registry wants to be convinced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Challenge {
    Basic,
    Bearer { realm: Url, service: Option<String> },
}

/// A header, and how long it is good for.
#[derive(Debug, Clone)]
pub(super) struct Pass {
    pub(super) header: Secret,
    /// What must not be shown: the header, and what it was got with.
    pub(super) secrets: Secrets,
    until: Instant,
}

/// The passes of one session.
#[derive(Debug, Default)]
pub(super) struct Passes(tokio::sync::Mutex<HashMap<Scope, Pass>>);

impl Passes {
    pub(super) async fn get(&self, scope: &Scope) -> Option<Pass> {
        let passes = self.0.lock().await;
        passes.get(scope).filter(|pass| pass.until > Instant::now()).cloned()
    }

    pub(super) async fn put(&self, scope: Scope, pass: Pass) {
        let mut passes = self.0.lock().await;
        passes.retain(|_, pass| pass.until > Instant::now());
        passes.insert(scope, pass);
    }

    pub(super) async fn forget(&self, scope: &Scope) {
        self.0.lock().await.remove(scope);
    }
}

/// The challenge that we can answer; a token is preferred to the password itself.
pub(super) fn challenge(headers: &HeaderMap) -> Option<Challenge> {
    let mut basic = None;
    for header in headers.get_all(WWW_AUTHENTICATE) {
        let Ok(text) = header.to_str() else { continue };
        let Ok(challenges) = http_auth::parse_challenges(text) else {
            continue;
        };
        for challenge in challenges {
            let parameter = |name: &str| {
                let (_, value) = challenge
                    .params
                    .iter()
                    .find(|(key, _)| key.eq_ignore_ascii_case(name))?;
                Some(value.to_unescaped())
            };
            if challenge.scheme.eq_ignore_ascii_case("basic") {
                basic = Some(Challenge::Basic);
            } else if challenge.scheme.eq_ignore_ascii_case("bearer")
                && let Some(realm) = parameter("realm").and_then(|realm| Url::parse(&realm).ok())
            {
                return Some(Challenge::Bearer {
                    realm,
                    service: parameter("service"),
                });
            }
        }
    }
    basic
}

/// Answers a challenge with these credentials.
pub(super) async fn answer(
    place: &Place,
    clients: &Clients,
    challenge: Challenge,
    credentials: &Credentials,
    scope: &Scope,
    limit: Duration,
) -> Result<Pass, Fault> {
    let unauthorized = || Fault::Unauthorized {
        registry: place.registry.clone(),
    };
    let secrets = credentials.secrets();
    let lasting = |header: String| Pass {
        header: Secret::new(header),
        secrets: secrets.clone(),
        until: Instant::now() + Duration::from_secs(LONGEST_LIFE),
    };
    match (challenge, credentials) {
        (_, Credentials::Bearer(token)) => Ok(lasting(format!("Bearer {}", token.reveal()))),
        (Challenge::Basic, Credentials::Basic { user, password }) => Ok(lasting(basic(user, password))),
        (Challenge::Basic, Credentials::Anonymous | Credentials::Identity(_)) => Err(unauthorized()),
        (Challenge::Bearer { realm, service }, credentials) => {
            let allowed = match credentials {
                // Nothing is given away where there is nothing.
                Credentials::Anonymous => place.may_go(&realm),
                Credentials::Basic { .. } | Credentials::Identity(_) | Credentials::Bearer(_) => {
                    place.token_server(&realm)
                }
            };
            if !allowed {
                let host = match shown(&super::authority(&realm)) {
                    host if secrets.are_in(&host) => "an address that repeats a credential".to_owned(),
                    host => host,
                };
                return Err(Fault::Misconfigured {
                    registry: place.registry.clone(),
                    source: format!(
                        "it wants the credentials for it to be sent to `{host}`; if that is right, list it in `tokenServers` of the registry, in `registries.perRegistry`"
                    )
                    .into(),
                });
            }
            let request = token_request(place, clients, realm, service.as_deref(), credentials, scope);
            let answer = exchange::read(request, place, LARGEST, "the token server's answer", limit, limit).await?;
            match answer.status.as_u16() {
                200 => token(&answer.body, secrets),
                400 | 401 | 403 => Err(unauthorized()),
                _ => Err(exchange::fault(
                    &answer,
                    place,
                    "the token server's address",
                    &secrets,
                    Whose::Own,
                )),
            }
        }
    }
}

/// A name and a password as a header.
fn basic(user: &Secret, password: &Secret) -> String {
    let text = format!("{}:{}", user.reveal(), password.reveal());
    format!("Basic {}", STANDARD.encode(text))
}

fn token_request(
    place: &Place,
    clients: &Clients,
    mut realm: Url,
    service: Option<&str>,
    credentials: &Credentials,
    scope: &Scope,
) -> reqwest::RequestBuilder {
    let client = if place.is_own(&realm) {
        &clients.own
    } else {
        &clients.other
    };
    let wanted = format!("repository:{}:{}", scope.path, scope.actions);
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    form.append_pair("scope", &wanted);
    if let Some(service) = service {
        form.append_pair("service", service);
    }
    if let Credentials::Identity(token) = credentials {
        form.append_pair("grant_type", "refresh_token");
        form.append_pair("refresh_token", token.reveal());
        form.append_pair("client_id", "berth");
        return client
            .post(realm)
            .header(reqwest::header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form.finish());
    }
    let parameters = form.finish();
    let query = match realm.query() {
        Some(known) if !known.is_empty() => format!("{known}&{parameters}"),
        Some(_) | None => parameters,
    };
    realm.set_query(Some(&query));
    let request = client.get(realm);
    match credentials {
        Credentials::Basic { user, password } => with(request, &Secret::new(basic(user, password))),
        Credentials::Anonymous | Credentials::Identity(_) | Credentials::Bearer(_) => request,
    }
}

/// Adds a header that logs nowhere.
pub(super) fn with(request: reqwest::RequestBuilder, header: &Secret) -> reqwest::RequestBuilder {
    match HeaderValue::from_str(header.reveal()) {
        Ok(mut value) => {
            value.set_sensitive(true);
            request.header(AUTHORIZATION, value)
        }
        // What cannot be a header cannot be right either; without it, the registry says so.
        Err(_) => request,
    }
}

#[derive(Deserialize)]
struct Answer {
    token: Option<Secret>,
    access_token: Option<Secret>,
    expires_in: Option<u64>,
}

fn token(body: &[u8], mut secrets: Secrets) -> Result<Pass, Fault> {
    // The parser's own words may repeat a value.
    let malformed = || Fault::Malformed {
        message: "the token server's answer holds no token".to_owned(),
    };
    let answer: Answer = serde_json::from_slice(body).map_err(|_| malformed())?;
    let token = answer.token.or(answer.access_token).ok_or_else(malformed)?;
    secrets.add(token.reveal());
    let life = answer.expires_in.unwrap_or(DEFAULT_LIFE).min(LONGEST_LIFE);
    Ok(Pass {
        header: Secret::new(format!("Bearer {}", token.reveal())),
        secrets,
        // It must not end on its way.
        until: Instant::now() + Duration::from_secs(life) * 9 / 10,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(headers: &[&str]) -> Option<Challenge> {
        let mut map = HeaderMap::new();
        for header in headers {
            map.append(WWW_AUTHENTICATE, header.parse().unwrap());
        }
        challenge(&map)
    }

    #[test]
    fn a_token_is_preferred_to_the_password() {
        let bearer = Challenge::Bearer {
            realm: "https://auth.example.com/token".parse().unwrap(),
            service: Some("registry".to_owned()),
        };
        let header = r#"Bearer realm="https://auth.example.com/token",service="registry",scope="repository:x:pull""#;
        assert_eq!(read(&[header]), Some(bearer.clone()));
        assert_eq!(read(&["Basic realm=\"x\"", header]), Some(bearer));
        assert_eq!(read(&["basic realm=\"x\""]), Some(Challenge::Basic));
        assert_eq!(read(&["Negotiate", "Bearer realm=\"not an address\""]), None);
        assert_eq!(read(&[]), None);
    }

    #[test]
    fn a_token_servers_answer_is_never_repeated() {
        for body in [r#"{"token": ["hunter2"]}"#, "hunter2", r#"{"expires_in": 60}"#] {
            let fault = token(body.as_bytes(), Secrets::default()).unwrap_err();
            assert!(!format!("{fault:?}").contains("hunter2"));
        }
        let answer = br#"{"access_token": "hunter2", "expires_in": 300}"#;
        let pass = token(answer, Secrets::default()).unwrap();
        assert_eq!(pass.header.reveal(), "Bearer hunter2");
        assert!(!format!("{pass:?}").contains("hunter2"));
    }
}
