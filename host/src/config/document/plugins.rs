//! `plugins`: where each comes from, what it may use and what it may ask for.

use std::path::{Component, Path, PathBuf};

use berth_engine::adapter::{
    ActionGrant, DECLARATIVE, Grants, HostGrant, KindGrant, Limits, PathGrant, Plugin, Source,
};
use indexmap::IndexMap;
use serde_json::{Map, Value};

use super::names::{Name, api_version, misfit, name, name_or_any, object_name, path_pattern, pattern};
use crate::config::{check::Check, reader::Item, units};

const PLUGIN: &[&str] = &["source", "pullSecrets", "config", "limits", "grants"];
const LIMITS: &[&str] = &["fuel", "memory", "deadline", "hostTime", "output", "logLines"];
const GRANTS: &[&str] = &["fleet", "cluster", "http", "actions", "variables"];
const IN_PATHS: &[&str] = &[".subject.id", ".subject.href", ".owner.id"];

/// Reads `plugins`. `has_account`: whether the adapter has a service account.
pub(super) fn plugins(item: &Item<'_>, file: &Path, caps: &Limits, has_account: bool) -> IndexMap<String, Plugin> {
    let mut plugins = IndexMap::new();
    for (key, item) in item.named().unwrap_or_default() {
        if key == DECLARATIVE {
            item.wrong(
                Check::PluginNotOurs,
                format!("`{DECLARATIVE}` is the name of what berth itself contains"),
                Some("choose another name".to_owned()),
            );
            continue;
        }
        if !key.starts_with(|letter: char| letter.is_ascii_alphabetic())
            || !key
                .chars()
                .all(|letter| letter.is_ascii_alphanumeric() || letter == '-' || letter == '_')
        {
            item.wrong(
                Check::PluginName,
                format!("`{key}` is not a usable name"),
                Some("use letters, digits, `-` and `_`, beginning with a letter".to_owned()),
            );
        }
        if let Some(plugin) = plugin(&item, file, caps, has_account) {
            plugins.insert(key.to_owned(), plugin);
        }
    }
    plugins
}

fn plugin(item: &Item<'_>, file: &Path, caps: &Limits, has_account: bool) -> Option<Plugin> {
    let mapping = item.mapping(PLUGIN)?;
    let config = mapping
        .get("config")
        .map_or_else(|| Value::Object(Map::new()), |item| item.json());
    let limits = mapping
        .get("limits")
        .map_or_else(|| within(caps), |item| limits(&item, caps));
    let grants = mapping.get("grants").map(|item| grants(&item)).unwrap_or_default();
    let secrets = mapping.get("pullSecrets");
    let source = source(&mapping.require("source")?, file)?;
    Some(Plugin {
        pull_secrets: secrets.map_or_else(Vec::new, |item| pull_secrets(&item, &source, has_account)),
        source,
        config,
        limits,
        grants,
    })
}

/// Reads `pullSecrets`: names in the adapter's own namespace.
fn pull_secrets(item: &Item<'_>, source: &Source, has_account: bool) -> Vec<String> {
    if !matches!(source, Source::Oci(_)) {
        item.wrong(
            Check::PullSecretsRegistry,
            "is only for plugins of registries",
            Some("leave it out, or write the source as `oci://registry/repository:tag`".to_owned()),
        );
    }
    if !has_account {
        item.wrong(
            Check::PullSecretsAccount,
            "cannot be read: they are read as the adapter's service account, and it has none",
            Some("name a service account with `serviceAccount` that may get these Secrets".to_owned()),
        );
    }
    let items = item.list().unwrap_or_default();
    items.iter().filter_map(|item| name(item, Name::Subdomain)).collect()
}

fn source(item: &Item<'_>, file: &Path) -> Option<Source> {
    let text = item.text()?;
    let user = text
        .split_once("://")
        .and_then(|(_, rest)| rest.split('/').next()?.split_once('@'));
    if user.is_some_and(|(_, host)| !host.starts_with("sha256:")) {
        // They are not repeated: this text goes into logs.
        item.wrong(
            Check::SourceWithoutCredentials,
            "has credentials in front of its host",
            Some("credentials of registries belong into the host's configuration".to_owned()),
        );
        return None;
    }
    if let Some(reference) = text.strip_prefix("oci://") {
        return oci(item, reference);
    }
    if let Some(path) = text.strip_prefix("file:") {
        return local(item, path, file);
    }
    item.wrong(
        Check::SourceScheme,
        format!("`{text}` is not a source"),
        Some("write `oci://registry/repository:tag`, `oci://registry/repository@sha256:…` or `file:path`".to_owned()),
    );
    None
}

fn oci(item: &Item<'_>, reference: &str) -> Option<Source> {
    let wrong = |check: Check, message: String, hint: &str| {
        item.wrong(check, message, Some(hint.to_owned()));
        None
    };
    let hint = "write `oci://registry.example.com/repository:1.0.0`";
    if reference.contains('@') && !reference.contains("@sha256:") {
        return wrong(
            Check::SourceDigestKind,
            format!("`{reference}` has a digest that is not sha256"),
            "write `…@sha256:` and 64 hexadecimal digits",
        );
    }
    let (name, digest) = match reference.split_once("@sha256:") {
        Some((name, digest)) => (name, Some(digest)),
        None => (reference, None),
    };
    if let Some(digest) = digest
        && !(digest.len() == 64 && digest.chars().all(|letter| matches!(letter, '0'..='9' | 'a'..='f')))
    {
        return wrong(
            Check::SourceDigest,
            format!("`{digest}` is not a sha256 digest"),
            "write 64 hexadecimal digits",
        );
    }
    let Some((registry, path)) = name.split_once('/') else {
        return wrong(
            Check::SourceRepositoryGiven,
            format!("`{reference}` names no repository"),
            hint,
        );
    };
    if !(registry.contains('.') || registry.contains(':') || registry == "localhost") {
        return wrong(
            Check::SourceRegistry,
            format!("`{registry}` is not a registry's host"),
            hint,
        );
    }
    let (repository, tag) = match path.split_once(':') {
        Some((repository, tag)) => (repository, Some(tag)),
        None => (path, None),
    };
    let is_segment = |segment: &str| {
        !segment.is_empty()
            && segment
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_' | '-'))
    };
    if !repository.split('/').all(is_segment) {
        return wrong(
            Check::SourceRepository,
            format!("`{repository}` is not a repository"),
            "use lower-case letters, digits, `.`, `_`, `-` and `/`",
        );
    }
    match tag {
        Some(tag)
            if tag.is_empty()
                || !tag
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')) =>
        {
            wrong(Check::SourceTag, format!("`{tag}` is not a tag"), hint)
        }
        None if digest.is_none() => wrong(
            Check::SourceVersion,
            format!("`{reference}` has neither a tag nor a digest"),
            "a version must be named: append `:1.0.0` or `@sha256:…`",
        ),
        Some(_) | None => Some(Source::Oci(reference.to_owned())),
    }
}

fn local(item: &Item<'_>, path: &str, file: &Path) -> Option<Source> {
    // `file:///srv/x` and `file:/srv/x` mean the same.
    let path = path.strip_prefix("//").unwrap_or(path);
    let path = Path::new(path);
    if path.as_os_str().is_empty() {
        item.wrong(
            Check::FileGiven,
            "names no file",
            Some("write `file:plugin.wasm`, relative to this document".to_owned()),
        );
        return None;
    }
    if path.is_absolute() {
        return Some(Source::File(path.to_owned()));
    }
    let mut inside = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(part) => inside.push(part),
            Component::CurDir => {}
            Component::ParentDir if inside.pop() => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                item.wrong(
                    Check::FileBelow,
                    format!("`{}` leaves the document's folder", path.display()),
                    Some("write an absolute path, or put the file beside the document".to_owned()),
                );
                return None;
            }
        }
    }
    Some(Source::File(file.parent().unwrap_or(Path::new("")).join(inside)))
}

/// The defaults, but never more than the host allows.
fn within(caps: &Limits) -> Limits {
    let default = Limits::default();
    Limits {
        fuel: default.fuel.min(caps.fuel),
        memory: default.memory.min(caps.memory),
        deadline: default.deadline.min(caps.deadline),
        host_time: default.host_time.min(caps.host_time),
        output: default.output.min(caps.output),
        log_lines: default.log_lines.min(caps.log_lines),
    }
}

/// Reads `limits`.
fn limits(item: &Item<'_>, caps: &Limits) -> Limits {
    let mut limits = within(caps);
    let Some(mapping) = item.mapping(LIMITS) else {
        return limits;
    };
    if let Some(item) = mapping.get("fuel")
        && let Some(fuel) = item.count()
        && bounded(&item, fuel, caps.fuel, units::write_count)
    {
        limits.fuel = fuel;
    }
    for (key, cap, value) in [
        ("memory", caps.memory, &mut limits.memory),
        ("output", caps.output, &mut limits.output),
    ] {
        if let Some(item) = mapping.get(key)
            && let Some(size) = item.size()
            && bounded(&item, size, cap, units::write_size)
        {
            *value = size;
        }
    }
    for (key, cap, value) in [
        ("deadline", caps.deadline, &mut limits.deadline),
        ("hostTime", caps.host_time, &mut limits.host_time),
    ] {
        if let Some(item) = mapping.get(key)
            && let Some(duration) = item.duration()
            && bounded(&item, duration, cap, units::write_duration)
        {
            *value = duration;
        }
    }
    if let Some(item) = mapping.get("logLines")
        && let Some(lines) = item.count()
        && bounded(&item, lines, u64::from(caps.log_lines), units::write_count)
    {
        limits.log_lines = u32::try_from(lines).unwrap_or(caps.log_lines);
    }
    limits
}

fn bounded<T: PartialOrd + Default>(item: &Item<'_>, value: T, cap: T, write: impl Fn(T) -> String) -> bool {
    // Log lines may be none; everything else needs something to run with.
    if value == T::default() && !item.path.ends_with("logLines") {
        item.wrong(Check::LimitPositive, "must be more than zero", None);
        return false;
    }
    if value > cap {
        item.wrong(
            Check::LimitWithinCap,
            format!("is more than this host allows, {}", write(cap)),
            Some("ask for less, or have `limits.plugins` raised in the host's configuration".to_owned()),
        );
        return false;
    }
    true
}

/// Reads `grants`.
fn grants(item: &Item<'_>) -> Grants {
    let mut grants = Grants::default();
    let Some(mapping) = item.mapping(GRANTS) else {
        return grants;
    };
    let items = |key: &str| mapping.get(key).and_then(|item| item.list()).unwrap_or_default();
    grants.fleet = items("fleet").iter().filter_map(path_grant).collect();
    grants.cluster = items("cluster").iter().filter_map(kind_grant).collect();
    grants.http = items("http").iter().filter_map(host_grant).collect();
    grants.actions = items("actions").iter().filter_map(action_grant).collect();
    grants.variables = items("variables").iter().filter_map(variable).collect();
    grants
}

fn methods(item: Option<Item<'_>>, allowed: &[&'static str]) -> Option<Vec<String>> {
    let Some(item) = item else { return Some(Vec::new()) };
    let choices: Vec<(&str, &str)> = allowed.iter().map(|method| (*method, *method)).collect();
    Some(
        item.list()?
            .iter()
            .filter_map(|item| item.choice(&choices))
            .map(str::to_owned)
            .collect(),
    )
}

fn path_grant(item: &Item<'_>) -> Option<PathGrant> {
    let mapping = item.mapping(&["methods", "path"])?;
    let mut methods = methods(mapping.get("methods"), &["GET", "POST"])?;
    if methods.is_empty() {
        methods.push("GET".to_owned());
    }
    let path = pattern(&mapping.require("path")?, IN_PATHS, path_pattern)?;
    Some(PathGrant { methods, path })
}

fn kind_grant(item: &Item<'_>) -> Option<KindGrant> {
    let mapping = item.mapping(&["apiVersion", "kind", "namespace", "name"])?;
    let namespace = mapping
        .get("namespace")
        .and_then(|item| name_or_any(&item, Name::Label));
    let object = mapping.get("name").and_then(|item| pattern(&item, &[], object_name));
    let api_version = mapping.require("apiVersion").and_then(|item| api_version(&item));
    let kind = mapping.require("kind").and_then(|item| name(&item, Name::Pascal));
    let kind = kind?;
    if kind == "Secret" && object.is_none() && !mapping.has("name") {
        item.wrong(
            Check::SecretNamed,
            "would show every Secret",
            Some("name the one that is needed with `name`".to_owned()),
        );
    }
    Some(KindGrant {
        api_version: api_version?,
        kind,
        namespace,
        name: object,
    })
}

fn host_grant(item: &Item<'_>) -> Option<HostGrant> {
    let mapping = item.mapping(&["host", "methods", "insecure"])?;
    let methods = methods(
        mapping.get("methods"),
        &["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"],
    )?;
    let insecure = mapping.get("insecure").and_then(|item| item.boolean()).unwrap_or(false);
    let item = mapping.require("host")?;
    let host = item.text()?;
    let (name, port) = host
        .split_once(':')
        .map_or((host, None), |(name, port)| (name, Some(port)));
    let is_name = !name.is_empty()
        && name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '-'));
    let is_port = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
    if !is_name || !is_port {
        let hint = "write `host` or `host:port`, without scheme, path or `*`";
        // Credentials that stand where they may not are not repeated.
        let shown = if host.contains('@') { "it" } else { &format!("`{host}`") };
        item.wrong(Check::Host, format!("{shown} is not a host"), Some(hint.to_owned()));
        return None;
    }
    Some(HostGrant {
        host: host.to_owned(),
        methods,
        insecure,
    })
}

fn action_grant(item: &Item<'_>) -> Option<ActionGrant> {
    let mapping = item.mapping(&["methods", "url"])?;
    let methods = match mapping.require("methods") {
        Some(item) => methods(Some(item), &["POST", "PUT", "PATCH", "DELETE"]),
        None => None,
    };
    let url = pattern(&mapping.require("url")?, IN_PATHS, |text| {
        if text.starts_with('/') {
            return path_pattern(text);
        }
        let Some(rest) = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")) else {
            return misfit(Check::UrlScheme, "is neither a path nor an absolute URL");
        };
        match rest.find('/') {
            Some(0) | None => misfit(Check::UrlHostAndPath, "names no host and path"),
            Some(end) if rest[..end].contains(['*', '@']) => {
                misfit(Check::UrlHost, "has `*` or credentials in its host")
            }
            Some(end) => path_pattern(&rest[end..]),
        }
    })?;
    let methods = methods?;
    if methods.is_empty() {
        item.wrong(
            Check::ActionMethods,
            "allows no method",
            Some("name some of POST, PUT, PATCH and DELETE".to_owned()),
        );
        return None;
    }
    Some(ActionGrant { methods, url })
}

fn variable(item: &Item<'_>) -> Option<String> {
    let variable = name(item, Name::Variable)?;
    if variable.starts_with("BERTH_") || variable.starts_with("KUBERNETES_") {
        item.wrong(
            Check::VariableNotOurs,
            format!("`{variable}` configures the host and is not shown to plugins"),
            None,
        );
        return None;
    }
    Some(variable)
}
