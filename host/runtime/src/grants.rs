//! Decides whether a plugin may ask what it asks. The one choke point of all imports.
//!
//! Pure, and strict where a question could mean two things: a path is compared as it is
//! written, and one that a server could read differently (`..`, `//`, `%2e`, a backslash, a
//! second host) is refused before any pattern is looked at. What comes out is what is asked:
//! the host sends exactly the question that was checked.
//!
//! Nothing is granted by default.

use std::{net::Ipv6Addr, time::Duration};

use berth_engine::{
    adapter::{Grants, HostGrant, KindGrant},
    contract::{Facts, HttpAction, Reference},
};
use serde_json::Value;
use url::Url;

use self::pattern::Pattern;

mod pattern;

/// Why a question is not asked: which grant would cover it, or what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Denied(pub String);

/// What templates in patterns stand for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Substitutions {
    /// `{{ .subject.kind }}`.
    pub subject_kind: String,
    /// `{{ .subject.id }}`.
    pub subject_id: String,
    /// `{{ .subject.href }}`.
    pub subject_href: String,
    /// `{{ .owner.id }}`; empty without owner, and then nothing matches.
    pub owner_id: String,
}

impl Substitutions {
    /// Those of one reconcile.
    #[must_use]
    pub fn of(facts: &Facts) -> Self {
        let owner = facts.subject.owner.as_ref().map(|owner| owner.key.id.clone());
        Self {
            subject_kind: facts.subject.key.kind.clone(),
            subject_id: facts.subject.key.id.clone(),
            subject_href: facts.subject.href.clone(),
            owner_id: owner.unwrap_or_default(),
        }
    }
}

/// A question to the HyperFleet API that may be asked.
#[derive(Debug, Clone, PartialEq)]
pub struct FleetQuestion {
    /// `GET` or `POST`.
    pub method: String,
    /// The path with its query; begins with `/`.
    pub path: String,
    /// Headers, without those that are the host's.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Option<Value>,
}

/// A search for objects that may be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Search {
    /// Group and version.
    pub api_version: String,
    /// The kind.
    pub kind: String,
    /// The namespace; none for all, or for a cluster-scoped kind.
    pub namespace: Option<String>,
    /// Labels that must be equal.
    pub labels: Vec<(String, String)>,
}

/// A request to a server that may be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpQuestion {
    /// The method in upper case.
    pub method: String,
    /// The URL in its normal form, without user or fragment.
    pub url: Url,
    /// Headers, without those that are the host's.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Option<Vec<u8>>,
    /// How long to wait for the answer.
    pub timeout: Duration,
    /// The largest body of an answer, in bytes.
    pub max_body: usize,
}

/// Checks a question to the HyperFleet API.
///
/// # Errors
/// When no grant covers method and path, or the path could be read in two ways.
pub fn fleet(grants: &Grants, known: &Substitutions, question: FleetQuestion) -> Result<FleetQuestion, Denied> {
    let method = question.method.to_ascii_uppercase();
    if method != "GET" && method != "POST" {
        return Err(Denied(format!(
            "`{method}` is not a method of reading; use GET or POST"
        )));
    }
    let path = plain_path(&question.path)?;
    let covered = grants
        .fleet
        .iter()
        .any(|grant| allows_method(&grant.methods, &method) && Pattern::parse(&grant.path, known).matches(path));
    if !covered {
        return Err(Denied(format!(
            "no grant covers {method} {path}; add `fleet: [{{methods: [{method}], path: {path}}}]`"
        )));
    }
    let headers = headers(question.headers, Audience::Fleet)?;
    Ok(FleetQuestion {
        method,
        path: question.path,
        headers,
        body: question.body,
    })
}

/// Checks the read of one object. `own` is the adapter's namespace.
///
/// # Errors
/// When no grant covers it, or a part of it is not a name.
pub fn get(grants: &Grants, known: &Substitutions, own: &str, target: Reference) -> Result<Reference, Denied> {
    check_name("name", &target.name)?;
    if let Some(namespace) = &target.namespace {
        check_name("namespace", namespace)?;
    }
    let covered = grants.cluster.iter().any(|grant| {
        let namespace = match &target.namespace {
            // Without namespace only objects of cluster-scoped kinds are found.
            None => true,
            Some(namespace) => allows_namespace(grant, own, namespace),
        };
        let name = grant
            .name
            .as_ref()
            .is_none_or(|name| pattern::fill(name, known).as_ref() == Some(&target.name));
        same_kind(grant, &target.api_version, &target.kind) && namespace && name
    });
    if covered {
        return Ok(target);
    }
    let wanted = wanted_kind(&target.api_version, &target.kind, target.namespace.as_deref());
    Err(Denied(format!("no grant covers {target}; add `cluster: [{wanted}]`")))
}

/// Checks a search for objects. `own` is the adapter's namespace. A search over all
/// namespaces needs a grant with the namespace `*`; so does one for a cluster-scoped kind.
///
/// # Errors
/// When no grant covers it. A grant for one name does not cover a search.
pub fn find(grants: &Grants, own: &str, search: Search) -> Result<Search, Denied> {
    if let Some(namespace) = &search.namespace {
        check_name("namespace", namespace)?;
    }
    let covered = grants.cluster.iter().any(|grant| {
        let namespace = match &search.namespace {
            None => grant.namespace.as_deref() == Some("*"),
            Some(namespace) => allows_namespace(grant, own, namespace),
        };
        same_kind(grant, &search.api_version, &search.kind) && namespace && grant.name.is_none()
    });
    if covered {
        return Ok(search);
    }
    let namespace = search.namespace.as_deref().unwrap_or("*");
    let wanted = wanted_kind(&search.api_version, &search.kind, Some(namespace));
    Err(Denied(format!(
        "no grant covers a search for {}; add `cluster: [{wanted}]`",
        search.kind
    )))
}

/// A request as a plugin wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpWish {
    /// The method.
    pub method: String,
    /// An absolute URL.
    pub url: String,
    /// Headers.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Option<Vec<u8>>,
    /// How long to wait for the answer.
    pub timeout: Duration,
    /// The largest body of an answer, in bytes.
    pub max_body: usize,
}

/// Checks a request to a server.
///
/// # Errors
/// When no grant covers host, method and scheme, or the URL names a user.
pub fn http(grants: &Grants, wish: HttpWish) -> Result<HttpQuestion, Denied> {
    let method = method(&wish.method)?;
    let url = absolute(&wish.url)?;
    let covered = grants.http.iter().any(|grant| {
        allows_method(&grant.methods, &method)
            && (url.scheme() == "https" || grant.insecure)
            && allows_host(grant, &url)
    });
    if !covered {
        let host = url.host_str().unwrap_or_default();
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        let insecure = if url.scheme() == "http" { ", insecure: true" } else { "" };
        return Err(Denied(format!(
            "no grant covers {method} {}://{host}{port}; add `http: [{{host: \"{host}{port}\", methods: [{method}]{insecure}}}]`",
            url.scheme()
        )));
    }
    let headers = headers(wish.headers, Audience::Other)?;
    Ok(HttpQuestion {
        method,
        url,
        headers,
        body: wish.body,
        timeout: wish.timeout,
        max_body: wish.max_body,
    })
}

/// Checks a call that the status phase asks for: a path of the HyperFleet API or an
/// absolute URL. What is returned is what may be sent.
///
/// # Errors
/// When no grant covers it.
pub fn action(grants: &Grants, known: &Substitutions, action: HttpAction) -> Result<HttpAction, Denied> {
    let method = method(&action.method)?;
    let to_fleet = action.url.starts_with('/');
    let url = if to_fleet {
        action.url.clone()
    } else {
        absolute(&action.url)?.to_string()
    };
    let (origin, path) = if to_fleet {
        (String::new(), plain_path(&url)?)
    } else {
        split_origin(&url)?
    };
    let covered = grants
        .actions
        .iter()
        .filter(|grant| allows_method(&grant.methods, &method))
        .any(|grant| {
            if grant.url.starts_with('/') {
                return to_fleet && Pattern::parse(&grant.url, known).matches(path);
            }
            match split_origin(&grant.url) {
                Ok((granted, pattern)) => granted == origin && Pattern::parse(pattern, known).matches(path),
                Err(_) => false,
            }
        });
    if !covered {
        return Err(Denied(format!(
            "no grant covers {method} {origin}{path}; add `actions: [{{methods: [{method}], url: \"{origin}{path}\"}}]`"
        )));
    }
    let audience = if to_fleet { Audience::Fleet } else { Audience::Other };
    Ok(HttpAction {
        method,
        url,
        headers: headers(action.headers, audience)?,
        ..action
    })
}

fn method(text: &str) -> Result<String, Denied> {
    let method = text.to_ascii_uppercase();
    match method.as_str() {
        "GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE" | "OPTIONS" => Ok(method),
        other => Err(Denied(format!(
            "`{}` is not a method that can be used",
            other.escape_debug()
        ))),
    }
}

fn allows_method(granted: &[String], method: &str) -> bool {
    if granted.is_empty() {
        method == "GET"
    } else {
        granted.iter().any(|one| one.eq_ignore_ascii_case(method))
    }
}

/// The path of a question without its query, if it has one meaning only.
fn plain_path(text: &str) -> Result<&str, Denied> {
    let refuse = |why: &str| Err(Denied(format!("the path `{}` {why}", text.escape_debug())));
    if !text.starts_with('/') {
        return refuse("does not begin with `/`");
    }
    if !text
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'\\' | b'#' | b'@'))
    {
        return refuse("contains a character that a path cannot contain");
    }
    let path = text.split_once('?').map_or(text, |(path, _)| path);
    if path.contains("//") {
        return refuse("contains `//`");
    }
    for segment in path.split('/') {
        if matches!(segment, "." | "..") {
            return refuse("contains a relative segment");
        }
        // Matrix parameters hide relative segments from some servers: `..;/`.
        if segment.contains(';') {
            return refuse("contains `;`");
        }
    }
    let mut rest = path;
    while let Some((_, after)) = rest.split_once('%') {
        let byte = after.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match byte {
            None => return refuse("contains a broken escape"),
            Some(byte) if byte < 0x20 || byte == 0x7f => return refuse("contains an escaped control character"),
            Some(b'.' | b'/' | b'\\' | b'%' | b';' | b'?' | b'#' | b'@') => {
                return refuse("contains an escape that could be read as a separator");
            }
            Some(_) => {}
        }
        rest = after;
    }
    Ok(path)
}

/// An absolute URL in its normal form.
fn absolute(text: &str) -> Result<Url, Denied> {
    let refuse = |why: &str| Denied(format!("the URL `{}` {why}", text.escape_debug()));
    if !text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\') {
        return Err(refuse("contains a character that a URL cannot contain"));
    }
    let url = Url::parse(text).map_err(|error| refuse(&format!("cannot be read: {error}")))?;
    if !matches!(url.scheme(), "https" | "http") {
        return Err(refuse("is neither https nor http"));
    }
    let authority = text.split_once("://").map_or("", |(_, rest)| rest);
    let authority = authority.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.is_empty() || authority.contains('@') || !url.username().is_empty() || url.password().is_some() {
        return Err(refuse("has no host, or names a user"));
    }
    if url.fragment().is_some() {
        return Err(refuse("has a fragment"));
    }
    let path = text
        .split_once("://")
        .and_then(|(_, rest)| rest.find('/').map(|at| &rest[at..]))
        .unwrap_or("/");
    // The parser resolves `..`; what was meant should be what was written.
    plain_path(path)?;
    Ok(url)
}

/// Splits `https://host:port/path` before the path.
fn split_origin(url: &str) -> Result<(String, &str), Denied> {
    let (scheme, rest) = url
        .split_once("://")
        .ok_or_else(|| Denied(format!("`{url}` is not an absolute URL")))?;
    let at = rest.find('/').unwrap_or(rest.len());
    let path = rest[at..].split_once('?').map_or(&rest[at..], |(path, _)| path);
    let host = rest[..at].to_ascii_lowercase();
    let host = match scheme {
        "https" => host.strip_suffix(":443").unwrap_or(&host),
        _ => host.strip_suffix(":80").unwrap_or(&host),
    };
    Ok((format!("{scheme}://{host}"), if path.is_empty() { "/" } else { path }))
}

fn allows_host(grant: &HostGrant, url: &Url) -> bool {
    let (host, port) = split_port(&grant.host);
    let default = if url.scheme() == "https" { 443 } else { 80 };
    url.host_str().is_some_and(|wanted| wanted.eq_ignore_ascii_case(host))
        && url.port_or_known_default() == Some(port.unwrap_or(default))
}

/// Splits `host:port`; IPv6 addresses stand in brackets.
fn split_port(text: &str) -> (&str, Option<u16>) {
    if text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .is_some_and(|ip| ip.parse::<Ipv6Addr>().is_ok())
    {
        return (text, None);
    }
    match text.rsplit_once(':').map(|(host, port)| (host, port.parse())) {
        Some((host, Ok(port))) => (host, Some(port)),
        Some((_, Err(_))) | None => (text, None),
    }
}

fn same_kind(grant: &KindGrant, api_version: &str, kind: &str) -> bool {
    grant.api_version == api_version && grant.kind == kind
}

fn allows_namespace(grant: &KindGrant, own: &str, namespace: &str) -> bool {
    match grant.namespace.as_deref() {
        None => namespace == own,
        Some("*") => true,
        Some(granted) => namespace == granted,
    }
}

fn wanted_kind(api_version: &str, kind: &str, namespace: Option<&str>) -> String {
    let namespace = namespace
        .map(|namespace| format!(", namespace: \"{namespace}\""))
        .unwrap_or_default();
    format!("{{apiVersion: {api_version}, kind: {kind}{namespace}}}")
}

/// Names become path segments of the Kubernetes API.
fn check_name(what: &str, name: &str) -> Result<(), Denied> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b':' | b'_');
    if name.is_empty() || name.len() > 253 || matches!(name, "." | "..") || !name.bytes().all(fits) {
        return Err(Denied(format!(
            "`{}` is not the {what} of an object",
            name.escape_debug()
        )));
    }
    Ok(())
}

/// Who reads the headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Audience {
    /// The HyperFleet API, to which the host adds its credentials.
    Fleet,
    /// Any other server.
    Other,
}

/// Drops what is the host's; refuses what would change the meaning of the request.
fn headers(headers: Vec<(String, String)>, audience: Audience) -> Result<Vec<(String, String)>, Denied> {
    let mut kept = Vec::with_capacity(headers.len());
    for (name, value) in headers {
        let lower = name.to_ascii_lowercase();
        let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        let text = |byte: u8| byte == b'\t' || (byte >= 0x20 && byte != 0x7f);
        if name.is_empty() || !name.bytes().all(token) || !value.bytes().all(text) {
            return Err(Denied(format!(
                "`{}` is not a header that can be sent",
                name.escape_debug()
            )));
        }
        // Some servers take another method from a header, past the grant.
        if lower.starts_with("x-http-method") || lower == "x-method-override" {
            return Err(Denied(format!("the header `{name}` could change the method")));
        }
        let of_connection = matches!(
            lower.as_str(),
            "host"
                | "connection"
                | "content-length"
                | "transfer-encoding"
                | "te"
                | "trailer"
                | "upgrade"
                | "keep-alive"
        ) || lower.starts_with("proxy-");
        let credential = audience == Audience::Fleet && matches!(lower.as_str(), "authorization" | "cookie");
        if !of_connection && !credential {
            kept.push((name, value));
        }
    }
    Ok(kept)
}

#[cfg(test)]
mod tests;
