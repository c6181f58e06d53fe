#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::super::{Written, load_registries};
use super::*;

fn read(text: &str, variables: &[(&str, &str)]) -> Result<Registries, String> {
    let variables: Vec<(String, String)> = variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    load_registries(&Written {
        file: Some((Path::new("/etc/berth/berth.yaml"), text)),
        variables: &variables,
        ..Written::default()
    })
    .map_err(|problems| problems.to_string())
}

#[test]
fn nothing_is_allowed_or_trusted_by_default() {
    let registries = read("adapters: x\n", &[]).unwrap();
    assert_eq!(registries.allow, Vec::<String>::new());
    assert_eq!(registries.insecure, BTreeSet::new());
    assert!(!registries.enforce && !registries.verify_is_off);
    assert_eq!(registries.max_size, 64 << 20);
    assert_eq!(registries.docker_config, None);
}

#[test]
fn everything_that_can_be_said_is_understood() {
    let text = "registries:
  allow: [registry.example.com/partners/*, 'localhost:5000/lz']
  keys: [keys/a.pub, /b.pub]
  policy: 2
  dockerConfig: [pull/.dockerconfigjson]
  caFile: ca.pem
  proxy: http://proxy.example.com:3128
  proxyExcept: [.internal, 10.0.0.0/8]
  insecure: ['localhost:5000']
  mirrors: {registry.example.com: ['mirror.internal:5000/copies']}
  perRegistry:
    registry.example.com: {caFile: r.pem, clientCertificate: c.pem, clientKey: k.pem, tokenServers: [login.example.org]}
  perAdapter:
    strict: {keys: [keys/c.pub], policy: all}
    stricter: {policy: all}
  cache: /var/cache/berth/plugins
  cacheSize: 2MiB
  maxSize: 1MiB
  refresh: 30s
  timeout: 10s
";
    let path = |file: &str| PathBuf::from("/etc/berth").join(file);
    let registry = Registry {
        ca_file: Some(path("r.pem")),
        identity_files: Some((path("c.pem"), path("k.pem"))),
        docker_config: None,
        token_servers: vec!["login.example.org".to_owned()],
    };
    assert_eq!(
        read(text, &[]).unwrap(),
        Registries {
            allow: vec![
                "registry.example.com/partners/*".to_owned(),
                "localhost:5000/lz".to_owned()
            ],
            enforce: true,
            verify_is_off: false,
            trust: Trust {
                keys: vec![path("keys/a.pub"), path("/b.pub")],
                identities: Vec::new(),
                trusted_root: None,
                policy: Policy::Minimum(NonZeroUsize::new(2).unwrap()),
            },
            per_adapter: BTreeMap::from([
                (
                    "strict".to_owned(),
                    Trust {
                        keys: vec![path("keys/c.pub")],
                        identities: Vec::new(),
                        trusted_root: None,
                        policy: Policy::All
                    }
                ),
                (
                    "stricter".to_owned(),
                    Trust {
                        keys: vec![path("keys/a.pub"), PathBuf::from("/b.pub")],
                        identities: Vec::new(),
                        trusted_root: None,
                        policy: Policy::All
                    }
                ),
            ]),
            docker_config: Some(vec![path("pull/.dockerconfigjson")]),
            ca_file: Some(path("ca.pem")),
            proxy: Some(Proxy {
                url: "http://proxy.example.com:3128".parse().unwrap(),
                except: vec![".internal".to_owned(), "10.0.0.0/8".to_owned()],
                credentials_file: None,
            }),
            insecure: BTreeSet::from(["localhost:5000".to_owned()]),
            mirrors: BTreeMap::from([(
                "registry.example.com".to_owned(),
                vec!["mirror.internal:5000/copies".to_owned()]
            )]),
            per_registry: BTreeMap::from([("registry.example.com".to_owned(), registry)]),
            cache: Some(path("/var/cache/berth/plugins")),
            cache_size: 2 << 20,
            max_size: 1 << 20,
            refresh: Duration::from_secs(30),
            timeout: Duration::from_secs(10),
        }
    );
}

#[test]
fn variables_hold_lists_with_commas_and_mappings_as_yaml() {
    let registries = read(
        "registries: {allow: [a.io/x]}\n",
        &[
            ("BERTH_REGISTRIES_ALLOW", "b.io/x, c.io/*"),
            ("BERTH_REGISTRIES_MIRRORS", "{b.io: [m.io]}"),
        ],
    )
    .unwrap();
    assert_eq!(registries.allow, ["b.io/x", "c.io/*"]);
    assert_eq!(registries.mirrors["b.io"], ["m.io"]);
}

#[test]
fn signatures_are_demanded_as_soon_as_there_is_a_key_and_not_silently_otherwise() {
    for (text, expected) in [
        ("{}", (false, false)),
        ("{keys: [a.pub]}", (true, false)),
        ("{keys: [a.pub], verify: enforce}", (true, false)),
        ("{keys: [a.pub], verify: off}", (false, true)),
        ("{verify: off}", (false, true)),
    ] {
        let registries = read(&format!("registries: {text}\n"), &[]).unwrap();
        assert_eq!((registries.enforce, registries.verify_is_off), expected, "{text}");
    }
}

#[test]
fn what_is_wrong_is_told_all_at_once() {
    let text = "registries:
  allow: ['https://a.io', 7, 'a.io']
  verify: enforce
  policy: none
  proxy: http://user:hunter2@proxy.example.com
  insecure: {a.io: true}
  mirrors: {a.io: [b.io/x:1]}
  perRegistry: {a.io: {clientKey: k.pem, caFiel: x}}
  maxSize: 0MiB
";
    let told = read(text, &[]).unwrap_err();
    assert!(!told.contains("hunter2"));
    insta::assert_snapshot!(told, @r#"
    /etc/berth/berth.yaml:2:27: registries.allow[1]: expected a text, found a number
      hint: put it into quotes: `"7"`
    /etc/berth/berth.yaml:6:13: registries.insecure: expected a list, found a mapping
    /etc/berth/berth.yaml:2:10: registries.allow: `https://a.io` lists no repositories
      hint: write `HOST/PATH`, `HOST/PATH/*` or `HOST/*` in lower case, without `https://` and tag
    /etc/berth/berth.yaml:2:10: registries.allow: `a.io` lists no repositories
      hint: write `HOST/PATH`, `HOST/PATH/*` or `HOST/*` in lower case, without `https://` and tag
    /etc/berth/berth.yaml:3:11: registries.verify: needs keys or identities
      hint: name public keys in `registries.keys`, or identities in `registries.identities`
    /etc/berth/berth.yaml:4:11: registries.policy: `none` is no policy
      hint: write `any`, `all`, or how many keys must sign, from 1
    /etc/berth/berth.yaml:5:10: registries.proxy: contains credentials
      hint: put them into a file and name it in `registries.proxyCredentialsFile`
    /etc/berth/berth.yaml:7:12: registries.mirrors: a.io[0]: `b.io/x:1` begins no repository's name
      hint: write `HOST`, `HOST:PORT` or `HOST/PATH` in lower case, without `https://`, tag and `*`
    /etc/berth/berth.yaml:8:16: registries.perRegistry: a.io: `clientCertificate` and `clientKey` need each other
    /etc/berth/berth.yaml:8:16: registries.perRegistry: a.io.caFiel: unknown key
      hint: did you mean `caFile`?
    /etc/berth/berth.yaml:9:12: registries.maxSize: `0MiB` is nothing
      hint: it must be more than zero
    "#);
}

#[test]
fn more_signatures_than_keys_cannot_be_demanded() {
    let told = read("registries: {keys: [a.pub], policy: 2}\n", &[]).unwrap_err();
    assert!(told.contains("2 keys must sign, but there are only 1"), "{told}");
}

#[test]
fn rules_for_an_adapter_that_nothing_can_fulfil_are_refused() {
    let read = |text: &str| {
        read(&format!("registries: {{perAdapter: {{a: {text}}}}}"), &[])
            .map(|_| ())
            .unwrap_err()
    };
    assert!(
        read("{}").contains("a: 1 keys must sign, but there are only 0"),
        "{}",
        read("{}")
    );
    assert!(read("{keys: [k.pub], policy: 2}").contains("2 keys must sign, but there are only 1"));
    assert!(read("{keys: [k.pub], policy: none}").contains("`none` is no policy"));
    assert!(read("{keys: [k.pub], verify: off}").contains("verify"));
}

#[test]
#[cfg(feature = "keyless")]
fn identities_are_signers_like_keys() {
    let text = "registries:
  identities: [{issuer: 'https://issuer.example.com', subject: release@example.com}]
  trustedRoot: sigstore/trusted_root.json
  perAdapter:
    same: {policy: all}
    keys-only: {keys: [a.pub]}
    other-instance: {identities: [{issuer: i, subject: s}], trustedRoot: /private.json}
";
    let identity = |issuer: &str, subject: &str| Identity {
        issuer: issuer.to_owned(),
        subject: subject.to_owned(),
    };
    let registries = read(text, &[]).unwrap();
    let root = PathBuf::from("/etc/berth/sigstore/trusted_root.json");
    let all = Trust {
        keys: Vec::new(),
        identities: vec![identity("https://issuer.example.com", "release@example.com")],
        trusted_root: Some(root.clone()),
        policy: Policy::Any,
    };
    assert!(registries.enforce);
    assert_eq!(registries.trust, all);
    assert_eq!(registries.per_adapter["same"].identities, all.identities);
    // Who names keys trusts nobody else.
    assert_eq!(
        registries.per_adapter["keys-only"].keys,
        [PathBuf::from("/etc/berth/a.pub")]
    );
    assert_eq!(registries.per_adapter["keys-only"].identities, []);
    assert_eq!(
        registries.per_adapter["other-instance"].identities,
        [identity("i", "s")]
    );
    assert_eq!(
        registries.per_adapter["other-instance"].trusted_root,
        Some(PathBuf::from("/private.json"))
    );
    let variable = [(
        "BERTH_REGISTRIES_IDENTITIES",
        r#"[{"issuer": "https://other.example.com", "subject": "x"}]"#,
    )];
    let registries = read(text, &variable).unwrap();
    assert_eq!(
        registries.trust.identities,
        [identity("https://other.example.com", "x")]
    );
}

#[test]
#[cfg(feature = "keyless")]
fn what_is_wrong_with_identities_is_told() {
    let text = "registries:
  identities: [{issuer: i, subjct: s}, 7, {issuer: '', subject: 1}]
  policy: 2
  perAdapter:
    a: {identities: [{issuer: i, subject: s}]}
    b: {identities: [{issuer: i, subject: s}], trustedRoot: r.json, policy: 2}
";
    insta::assert_snapshot!(read(text, &[]).unwrap_err(), @r"
    /etc/berth/berth.yaml:2:15: registries.identities: [0]: `subject` is missing
    /etc/berth/berth.yaml:2:15: registries.identities: [0].subjct: unknown key
      hint: did you mean `subject`?
    /etc/berth/berth.yaml:2:15: registries.identities: [1]: expected a mapping, found a number
    /etc/berth/berth.yaml:2:15: registries.identities: [2].issuer: must not be empty
    /etc/berth/berth.yaml:5:5: registries.perAdapter: a: needs the authorities and logs that the certificates come from
      hint: name the `trusted_root.json` of the Sigstore instance in `trustedRoot`
    /etc/berth/berth.yaml:5:5: registries.perAdapter: a: 2 keys and identities must sign, but there are only 1
    /etc/berth/berth.yaml:5:5: registries.perAdapter: b: 2 keys and identities must sign, but there are only 1
    ");
    insta::assert_snapshot!(read("registries: {identities: [{issuer: i, subject: s}]}", &[]).unwrap_err(), @r"
    /etc/berth/berth.yaml:1:26: registries.identities: needs the authorities and logs that the certificates come from
      hint: name the `trusted_root.json` of the Sigstore instance in `trustedRoot`
    ");
    let told = read("registries: {identities: {issuer: i}}", &[]).unwrap_err();
    assert!(
        told.contains("registries.identities: expected a list, found a mapping"),
        "{told}"
    );
}

#[test]
#[cfg(not(feature = "keyless"))]
fn a_build_without_keyless_verification_says_so() {
    let text = "registries: {identities: [{issuer: i, subject: s}], trustedRoot: r.json}";
    insta::assert_snapshot!(read(text, &[]).unwrap_err(), @r"
    /etc/berth/berth.yaml:1:26: registries.identities: this build of berth has no keyless verification
      hint: build with `--features keyless`
    ");
}
