//! Malformed documents: one for each check, and every check is needed.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::Write as _;

use proptest::prelude::*;

use super::*;

/// Stands in every document where values are a partner's, and in no message.
const SECRET: &str = "s3cr3t-p4ssw0rd";

/// A document, or what is no document.
enum Given {
    Text(String),
    /// A file with these bytes.
    Bytes(Vec<u8>),
    /// A file of so many bytes.
    Large(u64),
    /// A file that is not there.
    NoFile,
    /// A folder that is not there.
    NoFolder,
}

/// A good document with some keys of its `spec` replaced or added.
fn spec(changes: &[(&str, &str)]) -> Given {
    Given::Text(document(changes))
}

fn document(changes: &[(&str, &str)]) -> String {
    let mut text =
        "apiVersion: berth.hyperfleet.io/v1alpha1\nkind: Adapter\nmetadata: {name: keys}\nspec:\n".to_owned();
    let (plugins, resources) = (plugin("source: 'file:lz.wasm'"), manifest(""));
    let good = [
        ("subjects", "[Cluster]"),
        ("namespace", "adapters"),
        ("plugins", &plugins),
        ("preconditions", "[{plugin: lz}]"),
        ("resources", &resources),
        ("status", &format!("{{data: {{note: {SECRET}}}}}")),
    ];
    let kept = good
        .iter()
        .filter(|(key, _)| changes.iter().all(|(changed, _)| changed != key));
    for (key, value) in kept.chain(changes) {
        text.push_str(&format!("  {key}: {value}\n"));
    }
    text
}

/// The plugin `lz` with these keys.
fn plugin(keys: &str) -> String {
    format!("{{lz: {{config: {{token: {SECRET}}}, {keys}}}}}")
}

fn source(source: &str) -> Given {
    spec(&[("plugins", &plugin(&format!("source: '{source}'")))])
}

fn limits(limits: &str) -> Given {
    spec(&[(
        "plugins",
        &plugin(&format!("source: 'file:lz.wasm', limits: {{{limits}}}")),
    )])
}

fn grants(grants: &str) -> Given {
    spec(&[(
        "plugins",
        &plugin(&format!("source: 'file:lz.wasm', grants: {{{grants}}}")),
    )])
}

fn path(path: &str) -> Given {
    grants(&format!("fleet: [{{path: '{path}'}}]"))
}

fn action(url: &str) -> Given {
    grants(&format!("actions: [{{methods: [POST], url: '{url}'}}]"))
}

/// A resource that is a Secret, with further keys of its step.
fn manifest(keys: &str) -> String {
    framed(keys, "apiVersion: v1, kind: Secret, metadata: {name: keys}")
}

fn framed(keys: &str, frame: &str) -> String {
    format!("[{{name: keys, {keys} manifest: {{{frame}, stringData: {{password: {SECRET}}}}}}}]")
}

fn precondition(step: &str) -> Given {
    spec(&[("preconditions", &format!("[{{plugin: lz}}, {step}]"))])
}

#[allow(clippy::too_many_lines, reason = "a table")]
fn cases() -> Vec<(Check, Given)> {
    let one = |key: &str, value: &str| spec(&[(key, value)]);
    let asked = "[{plugin: lz}, {plugin: 1x}]";
    let two = |other: &str| {
        format!(
            "{}, {other}: {{source: 'file:x.wasm'}}}}",
            plugin("source: 'file:lz.wasm'").trim_end_matches("}}").to_owned() + "}"
        )
    };
    vec![
        (Check::FolderRead, Given::NoFolder),
        (Check::FileRead, Given::NoFile),
        (Check::FileSize, Given::Large(MAX_BYTES + 1)),
        (
            Check::FileText,
            Given::Bytes([document(&[]).as_bytes(), b"# Stra\xdfe\n"].concat()),
        ),
        (Check::Yaml, Given::Text(format!("token: [{SECRET}\nspec: {{}}\n"))),
        (Check::DocumentGiven, Given::Text(format!("# {SECRET}\n"))),
        (Check::Text, one("serviceAccount", "7")),
        (Check::EmptyText, one("serviceAccount", "' '")),
        (Check::Boolean, one("resources", &manifest("force: 'yes',"))),
        (Check::List, one("dependsOn", "{adapter: a}")),
        (Check::Mapping, one("cleanup", "1")),
        (Check::Choice, one("notApplicable", "Unavailable")),
        (Check::Duration, one("grace", "10")),
        (Check::Size, limits("memory: 32")),
        (Check::Count, limits("fuel: lots")),
        (Check::KnownKey, one("health", &format!("{{token: {SECRET}}}"))),
        (Check::KeyOnce, one("grace", "1m\n  grace: 2m")),
        (Check::KeyGiven, one("permits", "[{kind: Job}]")),
        (Check::Label, one("namespace", "Bad_Name")),
        (Check::Subdomain, one("serviceAccount", "Bad")),
        (Check::Pascal, one("permits", "[{apiVersion: v1, kind: job}]")),
        (Check::Step, precondition("{name: a b, expression: 'true'}")),
        (Check::Variable, grants("variables: ['1A']")),
        (Check::ApiVersion, one("permits", "[{apiVersion: batch, kind: Job}]")),
        (Check::PlaceholderClosed, path("/api/{{ .subject.id")),
        (Check::PlaceholderKnown, path("/api/{{ .subject.name }}")),
        (
            Check::ObjectName,
            one("permits", "[{apiVersion: v1, kind: Job, name: Upper}]"),
        ),
        (
            Check::Namespace,
            one("permits", "[{apiVersion: v1, kind: Job, namespace: Bad}]"),
        ),
        (Check::PathAbsolute, path("clusters")),
        (Check::PathFull, path("/a//b")),
        (Check::PathDown, path("/a/../b")),
        (Check::PathRestLast, path("/a/**/b")),
        (Check::PathWholeSegments, path("/a/b*")),
        (Check::PathLetters, path("/a/b?c")),
        (Check::SubjectsGiven, one("subjects", "[]")),
        (Check::SubjectOnce, one("subjects", "[Cluster, Cluster]")),
        (Check::DependencyOnce, one("dependsOn", "[{adapter: v}, {adapter: v}]")),
        (Check::SubscriptionGiven, one("events", "{rabbitmq: {}}")),
        (Check::PermitsGiven, one("permits", "[]")),
        (
            Check::PermitNamed,
            one("permits", "[{apiVersion: v1, kind: Namespace}]"),
        ),
        (Check::PluginNotOurs, one("plugins", &two("declarative"))),
        (
            Check::PluginName,
            spec(&[("plugins", &two("1x")), ("preconditions", asked)]),
        ),
        (Check::PluginAsked, one("plugins", &two("other"))),
        (Check::PluginKnown, precondition("{plugin: lx}")),
        (Check::SourceScheme, source("lz.wasm")),
        (
            Check::SourceWithoutCredentials,
            source(&format!("oci://user:{SECRET}@r.io/lz:1")),
        ),
        (Check::SourceDigestKind, source("oci://r.io/lz@md5:12")),
        (Check::SourceDigest, source("oci://r.io/lz@sha256:12")),
        (Check::SourceRepositoryGiven, source("oci://lz")),
        (Check::SourceRegistry, source("oci://registry/lz:1")),
        (Check::SourceRepository, source("oci://r.io/LZ:1")),
        (Check::SourceTag, source("oci://r.io/lz:")),
        (Check::SourceVersion, source("oci://r.io/lz")),
        (
            Check::PullSecretsRegistry,
            spec(&[
                ("serviceAccount", "lz"),
                ("plugins", &plugin("source: 'file:lz.wasm', pullSecrets: [registry]")),
            ]),
        ),
        (
            Check::PullSecretsAccount,
            one("plugins", &plugin("source: 'oci://r.io/lz:1', pullSecrets: [registry]")),
        ),
        (Check::FileGiven, source("file:")),
        (Check::FileBelow, source("file:../lz.wasm")),
        (Check::LimitPositive, limits("hostTime: 0s")),
        (Check::LimitWithinCap, limits("deadline: 1h")),
        (Check::SecretNamed, grants("cluster: [{apiVersion: v1, kind: Secret}]")),
        (Check::Host, grants(&format!("http: [{{host: 'user:{SECRET}@x.io'}}]"))),
        (Check::UrlScheme, action("ftp://x/y")),
        (Check::UrlHostAndPath, action("https://x")),
        (Check::UrlHost, action(&format!("https://user:{SECRET}@x/y"))),
        (Check::ActionMethods, grants("actions: [{methods: [], url: /a}]")),
        (Check::VariableNotOurs, grants("variables: [BERTH_FLEET_TOKEN_FILE]")),
        (
            Check::StepOnce,
            precondition("{name: a, expression: 'true'}, {name: a, expression: 'true'}"),
        ),
        (
            Check::StepEither,
            one("preconditions", "[{plugin: lz, expression: 'true'}]"),
        ),
        (Check::StepExpression, precondition("{name: a}")),
        (Check::StepManifest, one("resources", "[{name: a}]")),
        (
            Check::RecheckLength,
            precondition("{name: a, expression: 'true', recheckAfter: 60d}"),
        ),
        (
            Check::ResourceNotPlugin,
            one("resources", &manifest("").replace("name: keys,", "name: lz,")),
        ),
        (Check::ResourceKnown, one("resources", &manifest("after: [nobody],"))),
        (Check::ResourceOrder, one("resources", &manifest("after: [keys],"))),
        (
            Check::ManifestFrame,
            one("resources", &framed("", "kind: Secret, metadata: {name: keys}")),
        ),
        (
            Check::ManifestName,
            one("resources", &framed("", "apiVersion: v1, kind: Secret, metadata: {}")),
        ),
        (
            Check::ManifestMetadata,
            one(
                "resources",
                &framed(
                    "",
                    "apiVersion: v1, kind: Secret, metadata: {name: keys, finalizers: [a]}",
                ),
            ),
        ),
        (
            Check::ManifestStatus,
            one(
                "resources",
                &framed("", "apiVersion: v1, kind: Secret, metadata: {name: keys}, status: {}"),
            ),
        ),
        (
            Check::ConditionNotOurs,
            one("status", "{conditions: [{type: Finalized, expression: 'true'}]}"),
        ),
        (
            Check::ConditionOnce,
            one(
                "status",
                "{conditions: [{type: Ready, expression: 'true'}, {type: Ready, expression: 'true'}]}",
            ),
        ),
        (
            Check::NameOnce,
            Given::Text(format!("{}---\n{}", document(&[]), document(&[]))),
        ),
        (Check::DependencyOrder, one("dependsOn", "[{adapter: keys}]")),
    ]
}

/// What is told about it, for people and for debugging; `good` if nothing is wrong.
fn told(given: &Given) -> (String, String) {
    let loading = match given {
        Given::Text(text) => {
            let mut loading = parse(Path::new("docs/a.yaml"), text, &Limits::default());
            between::check(&mut loading);
            loading
        }
        Given::Bytes(bytes) => in_folder(|path| std::fs::write(path, bytes).unwrap(), load_file),
        Given::Large(bytes) => {
            let large = |path: &Path| {
                let mut file = std::fs::File::create(path).unwrap();
                writeln!(file, "token: {SECRET}").unwrap();
                file.set_len(*bytes).unwrap();
            };
            in_folder(large, load_file)
        }
        Given::NoFile => in_folder(|_| {}, load_file),
        Given::NoFolder => in_folder(|_| {}, |path| load_folder(path, &Limits::default())),
    };
    if loading.problems.is_empty() {
        return ("good".to_owned(), String::new());
    }
    let problems = Problems(loading.problems);
    (problems.to_string(), format!("{problems:?}"))
}

/// What is read at a path that `make` has made something at, or nothing; told without the folder.
fn in_folder(make: impl FnOnce(&Path), load: impl FnOnce(&Path) -> Loading) -> Loading {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.yaml");
    make(&path);
    let mut loading = load(&path);
    for problem in &mut loading.problems {
        problem.file = "docs/a.yaml".into();
    }
    loading
}

fn load_file(path: &Path) -> Loading {
    load_files(&[path.to_owned()], &Limits::default())
}

#[test]
fn the_document_that_the_cases_change_is_good() {
    assert_eq!(told(&spec(&[])).0, "good");
}

#[test]
fn every_malformed_document_is_refused_with_its_own_message() {
    let all: Vec<String> = cases()
        .iter()
        .map(|(check, given)| format!("{check:?}\n  {}", told(given).0.replace('\n', "\n  ")))
        .collect();
    insta::assert_snapshot!("malformed_documents", all.join("\n"));
}

#[test]
fn every_check_has_a_malformed_document_and_only_that_one_passes_without_it() {
    let cases = cases();
    assert!(cases.len() >= 30);
    let checks: Vec<Check> = cases.iter().map(|(check, _)| *check).collect();
    assert_eq!(checks, Check::ALL, "one document for each check, in their order");
    let with: Vec<String> = cases.iter().map(|(_, given)| told(given).0).collect();
    assert!(with.iter().all(|told| told != "good"));
    for removed in Check::ALL {
        for ((check, given), with) in cases.iter().zip(&with) {
            let (without, _) = removed.removed(|| told(given));
            assert_eq!(
                *with != without,
                removed == check,
                "{check:?} without {removed:?}: {without}"
            );
        }
    }
}

#[test]
fn no_problem_of_a_document_tells_a_secret() {
    for (check, given) in cases() {
        let (text, debug) = told(&given);
        assert!(!text.contains(SECRET), "{check:?}: {text}");
        assert!(!debug.contains(SECRET), "{check:?}: {debug}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.yaml");
        std::fs::write(&path, &bytes).unwrap();
        let loading = load_files(&[path], &Limits::default());
        prop_assert!(!loading.problems.is_empty());
    }

    #[test]
    fn no_value_in_any_place_makes_it_panic(which in 0_usize..13, value in "(\\PC|[\\[\\]{}:,'\"&*|>!%@ ]){0,30}") {
        let keys = [
            "subjects", "dependsOn", "namespace", "serviceAccount", "permits", "plugins", "preconditions", "resources",
            "postconditions", "status", "cleanup", "grace", "notApplicable",
        ];
        told(&spec(&[(keys[which], &value)]));
    }
}
