#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use super::*;

mod leases;
mod sources;
mod variables;

const FILE: &str = "fleet:
  url: https://fleet.example.com
  tokenFile: secrets/token
  timeout: 3s
adapters: adapters
sources: {http: {listen: 127.0.0.1:8081, tokenFile: /run/token}}
limits:
  concurrency: 8
  plugins: {memory: 64MiB}
";

type Flags<'a> = &'a [(&'static str, &'static str, String)];

fn told(text: Option<&str>, variables: &[(&str, &str)], flags: Flags<'_>) -> String {
    let variables: Vec<(String, String)> = variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    let file = text.map(|text| (Path::new("/etc/berth/berth.yaml"), text));
    match load(&Written {
        file,
        variables: &variables,
        flags,
        broker: None,
    }) {
        Ok((_, shown)) => shown
            .into_iter()
            // Brokers are many keys; those that nobody set are left out.
            .filter(|shown| !shown.key.starts_with("sources.") || shown.origin != Origin::Default)
            .map(|shown| {
                format!(
                    "{} = {} ({})",
                    shown.key,
                    shown.value.unwrap_or_else(|| "-".to_owned()),
                    shown.origin
                )
            })
            .collect::<Vec<_>>()
            .join("\n"),
        Err(problems) => problems.to_string(),
    }
}

#[test]
fn a_flag_counts_before_a_variable_before_the_file_before_the_default() {
    let variables = [
        ("BERTH_FLEET_TIMEOUT", "7s"),
        ("BERTH_ADMIN_LISTEN", "127.0.0.1:1"),
        ("HOME", "/root"),
    ];
    let flags = [("admin.listen", "--admin-listen", "127.0.0.1:2".to_owned())];
    insta::assert_snapshot!(told(Some(FILE), &variables, &flags), @"
    fleet.url = https://fleet.example.com (/etc/berth/berth.yaml:2:8)
    fleet.tokenFile = secrets/token (/etc/berth/berth.yaml:3:14)
    fleet.caFile = - (default)
    fleet.timeout = 7s (variable BERTH_FLEET_TIMEOUT)
    kubernetes.kubeconfig = - (default)
    kubernetes.context = - (default)
    adapters = adapters (/etc/berth/berth.yaml:5:11)
    sources.http.listen = 127.0.0.1:8081 (/etc/berth/berth.yaml:6:26)
    sources.http.tokenFile = /run/token (/etc/berth/berth.yaml:6:53)
    admin.listen = 127.0.0.1:2 (flag --admin-listen)
    leases.namespace = - (default)
    leases.group = berth (default)
    leases.host = - (default)
    limits.concurrency = 8 (/etc/berth/berth.yaml:8:16)
    limits.eventSize = 1MiB (default)
    limits.answers = 16MiB (default)
    limits.plugins.fuel = 1G (default)
    limits.plugins.memory = 64MiB (/etc/berth/berth.yaml:9:21)
    limits.plugins.deadline = 5s (default)
    limits.plugins.hostTime = 30s (default)
    limits.plugins.output = 8MiB (default)
    limits.plugins.logLines = 1000 (default)
    cache = - (default)
    cacheSize = 1GiB (default)
    registries.allow = - (default)
    registries.verify = - (default)
    registries.keys = - (default)
    registries.identities = - (default)
    registries.trustedRoot = - (default)
    registries.policy = any (default)
    registries.dockerConfig = - (default)
    registries.caFile = - (default)
    registries.proxy = - (default)
    registries.proxyExcept = - (default)
    registries.proxyCredentialsFile = - (default)
    registries.insecure = - (default)
    registries.mirrors = - (default)
    registries.perRegistry = - (default)
    registries.perAdapter = - (default)
    registries.cache = - (default)
    registries.cacheSize = 1GiB (default)
    registries.maxSize = 64MiB (default)
    registries.refresh = 5m (default)
    registries.timeout = 2m (default)
    log.format = text (default)
    log.level = info (default)
    ");
}

#[test]
fn settings_are_typed_and_paths_are_relative_to_the_file() {
    let file = Some((Path::new("/etc/berth/berth.yaml"), FILE));
    let (settings, _) = load(&Written {
        file,
        ..Written::default()
    })
    .unwrap();
    assert_eq!(settings.adapters, Path::new("/etc/berth/adapters"));
    assert_eq!(
        settings.fleet.token_file.as_deref(),
        Some(Path::new("/etc/berth/secrets/token"))
    );
    assert_eq!(settings.http.token_file.as_deref(), Some(Path::new("/run/token")));
    assert_eq!(settings.fleet.timeout, Duration::from_secs(3));
    assert_eq!(settings.limits.plugins.memory, 64 << 20);
    assert_eq!(settings.limits.concurrency.get(), 8);
}

#[test]
fn variables_alone_are_enough() {
    let variables = [
        ("BERTH_FLEET_URL", "http://localhost:8000"),
        ("BERTH_ADAPTERS", "adapters"),
    ];
    assert!(told(None, &variables, &[]).starts_with("fleet.url = http://localhost:8000 (variable BERTH_FLEET_URL)"));
}

#[test]
fn unknown_keys_and_variables_are_told() {
    let file = format!("{FILE}cashe: /tmp\nlog: {{levl: debug}}\nother: 1\n");
    let variables = [
        ("BERTH_FLEET_TOKENFILE", "x"),
        ("BERTH_SOMETHING", "x"),
        ("BERTH_CONFIG", "x"),
    ];
    insta::assert_snapshot!(told(Some(&file), &variables, &[]), @"
    /etc/berth/berth.yaml:10:1: cashe: unknown key
      hint: did you mean `cache`?
    /etc/berth/berth.yaml:11:7: log.levl: unknown key
      hint: did you mean `level`?
    /etc/berth/berth.yaml:12:1: other: unknown key
      hint: known here: `fleet`, `kubernetes`, `adapters`, `sources`, `admin`, `leases`, `limits`, `cache`, `cacheSize`, `registries`, `log`
    environment: BERTH_FLEET_TOKENFILE: unknown variable
      hint: did you mean `BERTH_FLEET_TOKEN_FILE`?
    environment: BERTH_SOMETHING: unknown variable
      hint: `berth config keys` lists all of them
    ");
}

#[test]
fn variables_of_kubernetes_services_are_none_of_ours() {
    let variables = [
        ("BERTH_SERVICE_HOST", "10.0.0.1"),
        ("BERTH_SERVICE_PORT_HTTP", "8080"),
        ("BERTH_PORT", "tcp://10.0.0.1:8080"),
        ("BERTH_PORT_8080_TCP_ADDR", "10.0.0.1"),
    ];
    assert!(told(Some(FILE), &variables, &[]).starts_with("fleet.url = "));
}

#[test]
fn what_is_missing_or_wrong_is_told_where_it_was_written() {
    insta::assert_snapshot!(told(None, &[], &[]), @r"
    configuration: fleet.url: is missing
      hint: write it into berth.yaml, or set BERTH_FLEET_URL
    configuration: adapters: is missing
      hint: write it into berth.yaml, or set BERTH_ADAPTERS
    ");
    let file = "fleet: {url: [], timeout: 0s, caFile: ''}\nadapters: 7\nadmin: 9090\nsources: {http: {listen: localhost}}\nlimits: {concurrency: 0, eventSize: 1, plugins: {logLines: 9G}}\nlog: {format: xml, level: 'info,berth=loud'}\n";
    let variables = [("BERTH_LIMITS_PLUGINS_FUEL", "much")];
    let flags = [("limits.plugins.deadline", "--deadline", "soon".to_owned())];
    insta::assert_snapshot!(told(Some(file), &variables, &flags), @r"
    /etc/berth/berth.yaml:1:14: fleet.url: expected a text, found a list
    /etc/berth/berth.yaml:1:39: fleet.caFile: must not be empty
    /etc/berth/berth.yaml:3:8: admin: expected a mapping, found a number
    /etc/berth/berth.yaml:1:27: fleet.timeout: `0s` is nothing
      hint: it must be more than zero
    /etc/berth/berth.yaml:4:26: sources.http.listen: `localhost` is not an address and port
      hint: write `0.0.0.0:8080`, `127.0.0.1:8080` or `[::]:8080`
    /etc/berth/berth.yaml:5:23: limits.concurrency: `0` is nothing
      hint: it must be more than zero
    /etc/berth/berth.yaml:5:37: limits.eventSize: `1` is not a size: it has no unit
      hint: write a whole number with a unit: `64KiB`, `32MiB` or `1GiB`
    environment: BERTH_LIMITS_PLUGINS_FUEL: `much` is not a count: it needs a whole number
      hint: write a whole number, with `k`, `M` or `G` for thousands, millions or billions: `50M`
    command line: --deadline: `soon` is not a duration: it needs whole numbers
      hint: write a number with a unit: `250ms`, `10s`, `2m`, `1h30m` or `7d`
    /etc/berth/berth.yaml:5:60: limits.plugins.logLines: `9G` is too large
      hint: it must be less than 4294967296
    /etc/berth/berth.yaml:6:15: log.format: `xml` is not a format
      hint: write `text` or `json`
    /etc/berth/berth.yaml:6:27: log.level: `info,berth=loud` is not a log level
      hint: write `error`, `warn`, `info`, `debug` or `trace`, or directives such as `info,berth=debug`
    ");
    insta::assert_snapshot!(told(Some("a: ["), &[], &[]), @"/etc/berth/berth.yaml:1:4: not YAML: unclosed bracket '['");
    insta::assert_snapshot!(told(Some("- list"), &[], &[]), @"/etc/berth/berth.yaml:1:1: expected a mapping, found a list");
    insta::assert_snapshot!(told(Some(&format!("{FILE}---\ncache: x\n")), &[], &[]), @"/etc/berth/berth.yaml:11:1: the file has more than one document");
}

#[test]
fn a_url_with_credentials_is_refused_and_not_repeated() {
    let mut all = Vec::new();
    for url in [
        "https://user:hunter2@fleet.example.com",
        "https://hunter2@fleet.example.com",
        "http://fleet.example.com",
        "ftp://fleet.example.com",
        "fleet.example.com",
        "https://fleet.example.com/api",
        "https://:hunter2@",
    ] {
        let variables = [
            ("BERTH_FLEET_URL", url),
            ("BERTH_FLEET_TOKEN_FILE", "/t"),
            ("BERTH_ADAPTERS", "a"),
        ];
        all.push(told(None, &variables, &[]));
    }
    let all = all.join("\n");
    assert!(!all.contains("hunter2"));
    insta::assert_snapshot!(all, @r"
    environment: BERTH_FLEET_URL: contains credentials
      hint: put the token into a file and name it in `fleet.tokenFile`
    environment: BERTH_FLEET_URL: contains credentials
      hint: put the token into a file and name it in `fleet.tokenFile`
    environment: BERTH_FLEET_URL: would send the token over plain http
      hint: use https, or leave `fleet.tokenFile` out
    environment: BERTH_FLEET_URL: `ftp` is not http or https
      hint: write it as `https://hyperfleet.example.com`
    environment: BERTH_FLEET_URL: is not a URL: relative URL without a base
      hint: write it as `https://hyperfleet.example.com`
    environment: BERTH_FLEET_URL: `https://fleet.example.com/api` has a path
      hint: write it as `https://hyperfleet.example.com`
    environment: BERTH_FLEET_URL: is not a URL: empty host
      hint: write it as `https://hyperfleet.example.com`
    ");
}

#[test]
fn the_two_servers_need_two_addresses() {
    let variables = [("BERTH_ADMIN_LISTEN", "127.0.0.1:8081")];
    insta::assert_snapshot!(told(Some(FILE), &variables, &[]), @"environment: BERTH_ADMIN_LISTEN: is the address that events are received at");
}

#[test]
fn the_caps_are_those_of_the_table_of_keys() {
    let file = Some((
        Path::new("berth.yaml"),
        "fleet: {url: 'https://f.example.com'}\nadapters: a\n",
    ));
    let (settings, _) = load(&Written {
        file,
        ..Written::default()
    })
    .unwrap();
    assert_eq!(settings.limits.plugins, HostLimits::default_caps());
}

#[test]
fn every_variable_has_one_key() {
    let variables: std::collections::BTreeSet<String> = KEYS.iter().map(Key::variable).collect();
    assert_eq!(variables.len(), KEYS.len());
    assert!(variables.contains("BERTH_LIMITS_PLUGINS_HOST_TIME"));
}
