//! Which addresses are the API's.

use ::http::uri::{Authority, Scheme, Uri};
use berth_engine::effect::FleetFault;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use url::{Position, Url};

use super::settings::BuildError;

/// Every path of the API begins so.
const ROOT: &str = "/api/";
/// What no URI has as it is, of what [`target`] accepts.
const ENCODED: &AsciiSet = &CONTROLS.add(b'`').add(b'{').add(b'}').add(b'|').add(b'^');

/// The configured address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Base {
    /// Without a slash at the end.
    text: String,
    scheme: Scheme,
    authority: Authority,
    /// What paths begin with, without a slash at the end.
    prefix: String,
}

impl Base {
    pub(super) fn new(url: &Url) -> Result<Self, BuildError> {
        let refuse = |problem| {
            let mut shown = url.clone();
            // Neither fails for an address with a host; without one there are no credentials to hide.
            let _ = shown.set_username("");
            let _ = shown.set_password(None);
            shown.set_query(None);
            Err(BuildError::Url {
                url: shown.to_string(),
                problem,
            })
        };
        if !matches!(url.scheme(), "http" | "https") {
            return refuse("must begin with http:// or https://");
        }
        if url.host_str().is_none_or(str::is_empty) {
            return refuse("names no host");
        }
        if !url.username().is_empty() || url.password().is_some() {
            return refuse("must not hold credentials; use a token file");
        }
        if url.query().is_some() || url.fragment().is_some() {
            return refuse("must have neither query nor fragment");
        }
        if url.path().contains("/api/hyperfleet") {
            return refuse("must end before `/api/hyperfleet`: paths of resources include it");
        }
        let Ok(authority) = url[Position::BeforeHost..Position::AfterPort].parse() else {
            return refuse("names no host that HTTP can");
        };
        let scheme = if url.scheme() == "https" {
            Scheme::HTTPS
        } else {
            Scheme::HTTP
        };
        Ok(Self {
            text: url.as_str().trim_end_matches('/').to_owned(),
            scheme,
            authority,
            prefix: url.path().trim_end_matches('/').to_owned(),
        })
    }

    /// The address, for people.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The whole address of a target that [`target`] has accepted.
    ///
    /// # Errors
    /// For a target that has not been accepted.
    pub(super) fn join(&self, target: &str) -> Result<Uri, ::http::Error> {
        Uri::builder()
            .scheme(self.scheme.clone())
            .authority(self.authority.clone())
            .path_and_query(format!("{}{}", self.prefix, utf8_percent_encode(target, ENCODED)))
            .build()
    }

    /// The target that `url` means: a path of the API, or an address below ours.
    pub(super) fn relative<'url>(&self, url: &'url str) -> Result<&'url str, FleetFault> {
        if url.starts_with('/') {
            return target(url);
        }
        match url.strip_prefix(&self.text) {
            Some(rest) => target(rest),
            None => Err(refused(url, "is not at the HyperFleet API's address")),
        }
    }
}

/// Accepts a path of the API with an optional query, exactly as it will be sent.
///
/// Paths come from events and annotations, so they are not trusted: what a server or a
/// library could read as another host or another path is refused.
pub(super) fn target(target: &str) -> Result<&str, FleetFault> {
    let path = target.split_once('?').map_or(target, |(path, _)| path);
    if !path.starts_with(ROOT) {
        return Err(refused(target, "does not begin with `/api/`"));
    }
    if target.len() > 8 * 1024 {
        return Err(refused("…", "is too long"));
    }
    if !target
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'\\' | b'#' | b'"' | b'<' | b'>'))
    {
        return Err(refused(target, "holds characters that must be percent-encoded"));
    }
    if path.contains("//") {
        return Err(refused(target, "has an empty segment"));
    }
    let lower = path.to_ascii_lowercase();
    if ["%2e", "%2f", "%5c", "%00"].iter().any(|hidden| lower.contains(hidden)) {
        return Err(refused(target, "hides dots or slashes"));
    }
    if path.split('/').any(|segment| matches!(segment, "." | "..")) {
        return Err(refused(target, "has a segment of dots"));
    }
    Ok(target)
}

/// Accepts the path of a resource: no query, no slash at the end.
pub(super) fn resource(path: &str) -> Result<&str, FleetFault> {
    let path = target(path)?;
    if path.contains('?') {
        return Err(refused(path, "must have no query"));
    }
    Ok(path.trim_end_matches('/'))
}

fn refused(target: &str, problem: &str) -> FleetFault {
    let shown: String = target.chars().take(200).collect();
    FleetFault::Rejected {
        status: 400,
        message: format!("not sent: the path {shown:?} {problem}"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that panics fails")]

    use super::*;

    fn base(url: &str) -> Result<Base, String> {
        Base::new(&Url::parse(url).unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn only_plain_paths_of_the_api_are_accepted() {
        let refused: Vec<&str> = [
            "/api/hyperfleet/v1/clusters/c-1",
            "/api/hyperfleet/v1/clusters?page=1&search=name='x'",
            "",
            "/",
            "//evil.example/api/x",
            "https://evil.example/api/x",
            "@evil.example/api/x",
            "/healthz",
            "/api/../admin",
            "/api/%2E%2e/admin",
            "/api/x%2Fy",
            "/api/x\\y",
            "/api//x",
            "/api/x y",
            "/api/x#y",
            "/api/x\r\nHost: evil",
            "/api/é",
        ]
        .into_iter()
        .filter(|path| target(path).is_err())
        .collect();

        assert_eq!(
            refused,
            [
                "",
                "/",
                "//evil.example/api/x",
                "https://evil.example/api/x",
                "@evil.example/api/x",
                "/healthz",
                "/api/../admin",
                "/api/%2E%2e/admin",
                "/api/x%2Fy",
                "/api/x\\y",
                "/api//x",
                "/api/x y",
                "/api/x#y",
                "/api/x\r\nHost: evil",
                "/api/é",
            ]
        );
    }

    #[test]
    fn an_absolute_address_must_be_below_ours() {
        let base = base("https://fleet.example/base/").unwrap();

        assert_eq!(
            base.relative("https://fleet.example/base/api/x?y=1").unwrap(),
            "/api/x?y=1"
        );
        assert_eq!(base.relative("/api/x").unwrap(), "/api/x");
        for foreign in [
            "https://fleet.example.evil/base/api/x",
            "https://fleet.example/api/x",
            "http://fleet.example/base/api/x",
        ] {
            assert!(base.relative(foreign).is_err(), "{foreign}");
        }
        assert!(base.relative("https://fleet.example/base@evil/api/x").is_err());
    }

    #[test]
    fn a_target_is_sent_below_the_address_as_it_is() {
        for (address, target) in [
            ("https://fleet.example/base/", "/api/x"),
            ("https://fleet.example/base/", "/api/x?y=1&z='%20/?'"),
            (
                "http://127.0.0.1:8000",
                "/api/hyperfleet/v1/clusters/c-1/statuses?page=1&size=100",
            ),
            ("http://[::1]:8000/", "/api/x"),
            ("https://fleet.example:8443/a/b", "/api/%41;,@:$&'()*+!~"),
        ] {
            let base = base(address).unwrap();
            assert_eq!(
                base.join(target).unwrap().to_string(),
                format!("{}{target}", base.text())
            );
        }
        let everything: String = (' '..='~').collect();
        let accepted: String = everything
            .chars()
            .filter(|one| target(&format!("/api/{one}x?{one}")).is_ok())
            .collect();
        let sent = base("http://fleet").unwrap().join(&format!("/api/{accepted}")).unwrap();
        insta::assert_snapshot!(
            sent,
            @"http://fleet/api/!$%&'()*+,-.0123456789:;=?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[]%5E_%60abcdefghijklmnopqrstuvwxyz%7B%7C%7D~"
        );
    }

    #[test]
    fn an_unusable_url_says_what_is_wrong_without_its_credentials() {
        let problems: Vec<String> = [
            "ftp://fleet.example",
            "https://me:secret@fleet.example",
            "https://fleet.example/api/hyperfleet/v1",
            "https://fleet.example/?token=secret",
        ]
        .into_iter()
        .map(|url| base(url).unwrap_err())
        .collect();

        insta::assert_snapshot!(problems.join("\n"), @"
        the HyperFleet API's url `ftp://fleet.example/` must begin with http:// or https://
        the HyperFleet API's url `https://fleet.example/` must not hold credentials; use a token file
        the HyperFleet API's url `https://fleet.example/api/hyperfleet/v1` must end before `/api/hyperfleet`: paths of resources include it
        the HyperFleet API's url `https://fleet.example/` must have neither query nor fragment
        ");
    }
}
