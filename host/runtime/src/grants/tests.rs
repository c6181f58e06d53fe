#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

use berth_engine::adapter::{ActionGrant, PathGrant};

use super::*;

fn known() -> Substitutions {
    Substitutions {
        subject_kind: "Cluster".to_owned(),
        subject_id: "c-1".to_owned(),
        subject_href: "/api/hyperfleet/v1/clusters/c-1".to_owned(),
        owner_id: "o-1".to_owned(),
    }
}

fn may_read(pattern: &str, path: &str) -> bool {
    may_ask(&[], pattern, "GET", path)
}

fn may_ask(methods: &[&str], pattern: &str, method: &str, path: &str) -> bool {
    let methods = methods.iter().map(|&method| method.to_owned()).collect();
    let grants = Grants {
        fleet: vec![PathGrant {
            methods,
            path: pattern.to_owned(),
        }],
        ..Grants::default()
    };
    let question = FleetQuestion {
        method: method.to_owned(),
        path: path.to_owned(),
        headers: Vec::new(),
        body: None,
    };
    fleet(&grants, &known(), question).is_ok()
}

#[test]
fn nothing_is_granted_by_default_and_the_missing_grant_is_named() {
    let none = Grants::default();
    let question = FleetQuestion {
        method: "GET".into(),
        path: "/api/x?y=1".into(),
        headers: vec![],
        body: None,
    };
    assert_eq!(
        fleet(&none, &known(), question).unwrap_err().to_string(),
        "no grant covers GET /api/x; add `fleet: [{methods: [GET], path: /api/x}]`"
    );
    let target = Reference {
        api_version: "v1".into(),
        kind: "Pod".into(),
        namespace: Some("a".into()),
        name: "p".into(),
    };
    assert_eq!(
        get(&none, &known(), "a", target).unwrap_err().to_string(),
        "no grant covers Pod a/p; add `cluster: [{apiVersion: v1, kind: Pod, namespace: \"a\"}]`"
    );
    assert_eq!(
        http(&none, wish("post", "http://Example.com:8080/x"))
            .unwrap_err()
            .to_string(),
        "no grant covers POST http://example.com:8080; \
         add `http: [{host: \"example.com:8080\", methods: [POST], insecure: true}]`"
    );
    assert_eq!(
        action(&none, &known(), act("DELETE", "/api/x"))
            .unwrap_err()
            .to_string(),
        "no grant covers DELETE /api/x; add `actions: [{methods: [DELETE], url: \"/api/x\"}]`"
    );
}

#[test]
fn patterns_cover_what_they_say() {
    let cases = [
        ("/api/v1/clusters", "/api/v1/clusters", true),
        ("/api/v1/clusters", "/api/v1/clusters?search=x", true),
        ("/api/v1/clusters", "/api/v1/clusters/", false),
        ("/api/v1/clusters", "/api/v1/Clusters", false),
        ("/api/v1/clusters", "/api/v1/clusters/c-1", false),
        ("/api/v1/*", "/api/v1/clusters", true),
        ("/api/v1/*", "/api/v1/", false),
        ("/api/v1/*", "/api/v1", false),
        ("/api/v1/*", "/api/v1/clusters/c-1", false),
        ("/api/*/clusters", "/api/v2/clusters", true),
        ("/api/v1/**", "/api/v1/clusters/c-1/statuses", true),
        ("/api/v1/**", "/api/v1", false),
        ("/api/v1/**", "/api/v1/", false),
        ("/api/**/x", "/api/v1/x", false),
        ("/api/**/x", "/api/**/x", true),
        ("/api/v1/clusters/{{ .subject.id }}", "/api/v1/clusters/c-1", true),
        ("/api/v1/clusters/{{.subject.id}}", "/api/v1/clusters/c-1", true),
        ("/api/v1/clusters/{{ .subject.id }}", "/api/v1/clusters/c-2", false),
        ("/api/v1/x-{{ .subject.id }}-y", "/api/v1/x-c-1-y", true),
        ("{{ .subject.href }}", "/api/hyperfleet/v1/clusters/c-1", true),
        (
            "{{ .subject.href }}/nodepools",
            "/api/hyperfleet/v1/clusters/c-1/nodepools",
            true,
        ),
        (
            "{{ .subject.href }}/**",
            "/api/hyperfleet/v1/clusters/c-2/nodepools",
            false,
        ),
        (
            "{{ .subject.href }}nodepools",
            "/api/hyperfleet/v1/clusters/c-1nodepools",
            false,
        ),
        ("/api/v1/clusters/{{ .owner.id }}", "/api/v1/clusters/o-1", true),
        (
            "/api/v1/clusters/{{ .unknown }}",
            "/api/v1/clusters/{{ .unknown }}",
            false,
        ),
        ("", "/", false),
        ("/", "/", true),
    ];
    for (pattern, path, expected) in cases {
        assert_eq!(may_read(pattern, path), expected, "{pattern} over {path}");
    }
}

#[test]
fn a_path_with_two_meanings_is_refused_whatever_is_granted() {
    let tricks = [
        "/api/../admin",
        "/api/./x",
        "/api/..",
        "/api//x",
        "//evil.example.com/x",
        "/api/%2e%2e/admin",
        "/api/%2E%2e/admin",
        "/api/.%2e/admin",
        "/api/%2fadmin",
        "/api/%5cadmin",
        "/api/%252e%252e/admin",
        "/api/%00",
        "/api/%0d%0aX: y",
        "/api/%",
        "/api/%g0",
        "/api/%2",
        "/api\\..\\admin",
        "/api/..;/admin",
        "/api/x;y=1/admin",
        "/api/x#fragment",
        "/api/x y",
        "/api/x\r\nHost: evil",
        "/api/\u{2024}\u{2024}/admin",
        "/@evil.example.com/",
        "@evil.example.com/",
        ".evil.example.com/",
        ":80/x",
        "api/x",
        "https://evil.example.com/api",
        "",
    ];
    for path in tricks {
        assert!(!may_read("/**", path), "{path:?}");
        assert!(!may_read("**", path), "{path:?}");
    }
    assert!(may_read("/**", "/api/a%20b"));
}

#[test]
fn substituted_values_are_never_patterns() {
    let grants = |path: &str| Grants {
        fleet: vec![PathGrant {
            methods: vec![],
            path: path.to_owned(),
        }],
        ..Grants::default()
    };
    let ask = |path: &str, pattern: &str, known: &Substitutions| {
        let question = FleetQuestion {
            method: "GET".into(),
            path: path.into(),
            headers: vec![],
            body: None,
        };
        fleet(&grants(pattern), known, question).is_ok()
    };
    for id in ["*", "**", "a/b", "..", ".", "", "%2e", "a?b", "{{ .owner.id }}"] {
        let known = Substitutions {
            subject_id: id.to_owned(),
            ..known()
        };
        for path in ["/x/y", "/x/a/b", "/x/", "/x", "/x/*", "/x/o-1"] {
            assert!(!ask(path, "/x/{{ .subject.id }}", &known), "{id} let {path} pass");
        }
    }
    for href in ["/x/../y", "*", "", "//y", "/x?y"] {
        let known = Substitutions {
            subject_href: href.to_owned(),
            ..known()
        };
        assert!(!ask("/x/y/z", "{{ .subject.href }}/**", &known), "{href}");
    }
    let ownerless = Substitutions {
        owner_id: String::new(),
        ..known()
    };
    assert!(!ask("/x/", "/x/{{ .owner.id }}", &ownerless));
}

#[test]
fn methods_must_be_granted_and_must_read() {
    assert!(may_ask(&[], "/**", "get", "/x"));
    assert!(!may_ask(&[], "/**", "POST", "/x"));
    assert!(may_ask(&["POST"], "/**", "POST", "/x"));
    assert!(!may_ask(&["POST"], "/**", "GET", "/x"));
    for method in ["DELETE", "PUT", "PATCH", "HEAD", "", "GET /x HTTP/1.1\r\n"] {
        assert!(
            !may_ask(&["DELETE", "PUT", "PATCH", "HEAD", "", "GET"], "/**", method, "/x"),
            "{method}"
        );
    }
}

fn header(name: &str, value: &str) -> Result<Vec<(String, String)>, Denied> {
    headers(vec![(name.to_owned(), value.to_owned())], Audience::Fleet)
}

#[test]
fn headers_of_the_host_are_dropped_and_tricks_refused() {
    assert_eq!(
        header("X-Trace", "1").unwrap(),
        [("X-Trace".to_owned(), "1".to_owned())]
    );
    for name in [
        "Host",
        "AUTHORIZATION",
        "cookie",
        "Connection",
        "Transfer-Encoding",
        "Proxy-Authorization",
    ] {
        assert_eq!(header(name, "x").unwrap(), [], "{name}");
    }
    for name in [
        "X-HTTP-Method-Override",
        "x-http-method",
        "X-Method-Override",
        "",
        "a b",
        "a:b",
        "a\r\nb",
    ] {
        assert!(header(name, "DELETE").is_err(), "{name}");
    }
    assert!(header("X-A", "b\r\nHost: evil").is_err());
    let kept = headers(vec![("Authorization".into(), "x".into())], Audience::Other).unwrap();
    assert_eq!(
        kept.len(),
        1,
        "a plugin's own credentials for another server are its own"
    );
}

fn kind(namespace: Option<&str>, name: Option<&str>) -> Grants {
    let grant = KindGrant {
        api_version: "v1".to_owned(),
        kind: "ConfigMap".to_owned(),
        namespace: namespace.map(str::to_owned),
        name: name.map(str::to_owned),
    };
    Grants {
        cluster: vec![grant],
        ..Grants::default()
    }
}

fn may_get(grants: &Grants, api_version: &str, kind: &str, namespace: Option<&str>, name: &str) -> bool {
    let target = Reference {
        api_version: api_version.to_owned(),
        kind: kind.to_owned(),
        namespace: namespace.map(str::to_owned),
        name: name.to_owned(),
    };
    get(grants, &known(), "own", target).is_ok()
}

fn may_find(grants: &Grants, namespace: Option<&str>) -> bool {
    let search = Search {
        api_version: "v1".to_owned(),
        kind: "ConfigMap".to_owned(),
        namespace: namespace.map(str::to_owned),
        labels: vec![],
    };
    find(grants, "own", search).is_ok()
}

#[test]
fn kinds_are_granted_by_namespace_and_name() {
    let own = kind(None, None);
    assert!(may_get(&own, "v1", "ConfigMap", Some("own"), "a"));
    assert!(!may_get(&own, "v1", "ConfigMap", Some("other"), "a"));
    assert!(!may_get(&own, "v1", "Secret", Some("own"), "a"));
    assert!(!may_get(&own, "v1", "configmap", Some("own"), "a"));
    assert!(!may_get(&own, "v2", "ConfigMap", Some("own"), "a"));
    assert!(!may_get(&kind(Some("x"), None), "v1", "ConfigMap", Some("own"), "a"));
    assert!(may_get(&kind(Some("*"), None), "v1", "ConfigMap", Some("other"), "a"));
    let named = kind(None, Some("cm-{{ .subject.id }}"));
    assert!(may_get(&named, "v1", "ConfigMap", Some("own"), "cm-c-1"));
    assert!(!may_get(&named, "v1", "ConfigMap", Some("own"), "cm-c-2"));
}

#[test]
fn names_cannot_leave_their_place_in_the_path() {
    let all = kind(Some("*"), None);
    for name in [
        "../secrets/x",
        "..",
        ".",
        "a/b",
        "a%2fb",
        "a?b",
        "",
        "a b",
        "a#b",
        "a\\b",
    ] {
        assert!(!may_get(&all, "v1", "ConfigMap", Some("own"), name), "{name}");
        assert!(!may_get(&all, "v1", "ConfigMap", Some(name), "a"), "{name}");
        assert!(!may_find(&all, Some(name)), "{name}");
    }
}

#[test]
fn a_search_over_all_namespaces_needs_a_grant_for_all() {
    assert!(may_find(&kind(None, None), Some("own")));
    assert!(!may_find(&kind(None, None), Some("other")));
    assert!(!may_find(&kind(None, None), None));
    assert!(!may_find(&kind(Some("x"), None), None));
    assert!(may_find(&kind(Some("*"), None), None));
    assert!(
        !may_find(&kind(Some("*"), Some("a")), Some("own")),
        "one name is not all names"
    );
}

fn wish(method: &str, url: &str) -> HttpWish {
    HttpWish {
        method: method.to_owned(),
        url: url.to_owned(),
        headers: vec![],
        body: None,
        timeout: Duration::from_secs(1),
        max_body: 1,
    }
}

fn may_call(host: &str, insecure: bool, method: &str, url: &str) -> bool {
    let grant = HostGrant {
        host: host.to_owned(),
        methods: vec!["GET".into(), "POST".into()],
        insecure,
    };
    http(
        &Grants {
            http: vec![grant],
            ..Grants::default()
        },
        wish(method, url),
    )
    .is_ok()
}

#[test]
fn servers_are_granted_by_host_port_scheme_and_method() {
    let cases = [
        ("example.com", false, "GET", "https://example.com/x", true),
        ("example.com", false, "GET", "https://EXAMPLE.com/x", true),
        ("Example.com", false, "GET", "https://example.com:443/x", true),
        ("example.com", false, "GET", "https://example.com:8443/x", false),
        ("example.com:8443", false, "GET", "https://example.com:8443/x", true),
        ("example.com:8443", false, "GET", "https://example.com/x", false),
        ("example.com", false, "GET", "http://example.com/x", false),
        ("example.com", true, "GET", "http://example.com/x", true),
        ("example.com", true, "GET", "https://example.com/x", true),
        ("example.com:443", true, "GET", "http://example.com/x", false),
        ("example.com", false, "DELETE", "https://example.com/x", false),
        ("example.com", false, "GET", "https://sub.example.com/x", false),
        ("example.com", false, "GET", "https://example.com.evil.net/x", false),
        ("example.com", false, "GET", "https://example.com./x", false),
        ("[::1]:8443", false, "GET", "https://[::1]:8443/x", true),
        ("[::1]", false, "GET", "https://[::1]/x", true),
        ("127.0.0.1", false, "GET", "https://127.0.0.1/x", true),
        ("*", false, "GET", "https://example.com/x", false),
    ];
    for (host, insecure, method, url, expected) in cases {
        assert_eq!(
            may_call(host, insecure, method, url),
            expected,
            "{host} over {method} {url}"
        );
    }
}

#[test]
fn a_url_with_two_meanings_is_refused() {
    let tricks = [
        "https://example.com@evil.net/",
        "https://user:pass@example.com/",
        "https://@example.com/",
        "https://evil.net#@example.com/",
        "https://example.com/x#y",
        "https://example.com\\@evil.net/",
        "https:\\\\example.com/",
        "https:///example.com/",
        "https:example.com/",
        "https://example.com/a/../b",
        "https://example.com/a/%2e%2e/b",
        "https://example.com//b",
        " https://example.com/",
        "https://example.com/\n",
        "ftp://example.com/",
        "file:///etc/passwd",
        "//example.com/",
        "/x",
        "",
    ];
    for url in tricks {
        assert!(!may_call("example.com", true, "GET", url), "{url:?}");
    }
}

fn act(method: &str, url: &str) -> HttpAction {
    HttpAction {
        name: "a".into(),
        method: method.into(),
        url: url.into(),
        headers: vec![],
        body: None,
    }
}

#[test]
fn actions_are_granted_by_path_or_url_pattern() {
    let cases = [
        ("/api/v1/clusters/{{ .subject.id }}", "/api/v1/clusters/c-1", true),
        ("/api/v1/clusters/{{ .subject.id }}", "/api/v1/clusters/c-2", false),
        ("/api/**", "/api/../x", false),
        ("/**", "https://example.com/x", false),
        ("https://example.com/hooks/*", "https://example.com/hooks/a", true),
        (
            "https://example.com/hooks/*",
            "https://example.com:443/hooks/a?b=c",
            true,
        ),
        ("https://example.com/hooks/*", "http://example.com/hooks/a", false),
        ("https://example.com/hooks/*", "https://evil.net/hooks/a", false),
        (
            "https://example.com/hooks/*",
            "https://example.com@evil.net/hooks/a",
            false,
        ),
        ("https://example.com/hooks/*", "/hooks/a", false),
        ("https://example.com/**", "https://example.com/a/../b", false),
    ];
    for (pattern, url, expected) in cases {
        let grant = ActionGrant {
            methods: vec!["POST".into()],
            url: pattern.to_owned(),
        };
        let grants = Grants {
            actions: vec![grant],
            ..Grants::default()
        };
        assert_eq!(
            action(&grants, &known(), act("POST", url)).is_ok(),
            expected,
            "{pattern} over {url}"
        );
        assert!(action(&grants, &known(), act("DELETE", url)).is_err());
    }
}
