//! A stand-in for the host, for a plugin's own tests.
//!
//! ```
//! use berth_sdk::{cluster, testing::Fake, Reference};
//!
//! let fake = Fake::new().object(serde_json::json!({
//!     "apiVersion": "v1", "kind": "ConfigMap",
//!     "metadata": {"name": "quota", "namespace": "tenants"},
//! }));
//! let quota = Reference {
//!     api_version: "v1".into(), kind: "ConfigMap".into(), namespace: Some("tenants".into()), name: "quota".into(),
//! };
//! fake.run(|| assert!(cluster::get(&quota).is_ok()));
//! ```
//!
//! Outside of [`Fake::run`] nothing is granted, as in a host whose document grants nothing,
//! and log lines are dropped.

use std::{cell::RefCell, collections::BTreeMap};

use serde_json::Value;

use crate::{
    Facts, Json, Reference, Subject,
    cluster::{self, Search},
    fleet::{self, Lookup},
    http::{self, Request, Response},
    log::Level,
};

thread_local! {
    static CURRENT: RefCell<Option<Fake>> = const { RefCell::new(None) };
}

/// What the host has to tell during one test.
#[derive(Debug, Clone, Default)]
pub struct Fake {
    objects: Option<Vec<Value>>,
    fleet: BTreeMap<String, Result<Json, fleet::Error>>,
    cluster: Option<cluster::Error>,
    http: BTreeMap<String, Result<Response, http::Error>>,
    lines: Vec<(Level, String)>,
}

impl Fake {
    /// Grants nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Grants reading Kubernetes, and adds an object.
    #[must_use]
    pub fn object(mut self, document: Value) -> Self {
        self.objects.get_or_insert_default().push(document);
        self
    }

    /// Grants reading Kubernetes, without any object.
    #[must_use]
    pub fn empty_cluster(mut self) -> Self {
        self.objects.get_or_insert_default();
        self
    }

    /// Lets every question to Kubernetes fail.
    #[must_use]
    pub fn cluster_error(self, error: cluster::Error) -> Self {
        Self {
            cluster: Some(error),
            ..self
        }
    }

    /// Answers a path of the HyperFleet API, whatever the method.
    #[must_use]
    pub fn fleet(mut self, path: &str, answer: Result<Value, fleet::Error>) -> Self {
        self.fleet.insert(path.to_owned(), answer.map(Json::from));
        self
    }

    /// Answers a URL, whatever the method.
    #[must_use]
    pub fn http(mut self, url: &str, answer: Result<Response, http::Error>) -> Self {
        self.http.insert(url.to_owned(), answer);
        self
    }

    /// Runs `test` with this host; answers what it returns and the lines that were logged.
    pub fn run<T>(self, test: impl FnOnce() -> T) -> (T, Vec<(Level, String)>) {
        // The guard puts the former host back even if the test panics.
        struct Restore(Option<Fake>);
        impl Drop for Restore {
            fn drop(&mut self) {
                let former = self.0.take();
                CURRENT.with(|current| *current.borrow_mut() = former);
            }
        }
        let restore = Restore(CURRENT.with(|current| current.borrow_mut().replace(self)));
        let result = test();
        let lines = CURRENT
            .with(|current| current.borrow_mut().take())
            .map(|fake| fake.lines)
            .unwrap_or_default();
        drop(restore);
        (result, lines)
    }
}

/// Facts about a resource as the HyperFleet API returns it; change what else the test needs.
///
/// `kind`, `id`, `href`, `generation` and `deleted_time` are read from it.
#[must_use]
pub fn facts(resource: Value) -> Facts {
    let text = |field: &str| {
        resource
            .get(field)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let subject = Subject {
        kind: text("kind"),
        id: text("id"),
        href: text("href"),
        generation: resource
            .get("generation")
            .and_then(Value::as_u64)
            .map_or(1, |value| value as u32),
        deleting: resource.get("deleted_time").is_some_and(|time| !time.is_null()),
        owner: None,
        document: Json::default(),
    };
    Facts {
        adapter: "test".to_owned(),
        subject: Subject {
            document: resource.into(),
            ..subject
        },
        config: Json::from_text("{}"),
        now: "2026-01-01T00:00:00.000000Z".to_owned(),
        ..Facts::default()
    }
}

pub(crate) mod host {
    use super::{
        CURRENT, Fake, Json, Level, Lookup, Reference, Request, Response, Search, Value, cluster, fleet, http,
    };

    pub(crate) fn log(level: Level, message: &str) {
        CURRENT.with(|current| {
            if let Some(fake) = current.borrow_mut().as_mut() {
                fake.lines.push((level, message.to_owned()));
            }
        });
    }

    pub(crate) fn fleet_get(path: &str) -> Result<Json, fleet::Error> {
        ask(|fake| fake.fleet.get(path).cloned()).unwrap_or_else(|| Err(fleet::Error::Denied(path.to_owned())))
    }

    pub(crate) fn fleet_query(lookup: &Lookup) -> Result<Json, fleet::Error> {
        fleet_get(&lookup.path)
    }

    pub(crate) fn cluster_get(target: &Reference) -> Result<Json, cluster::Error> {
        let objects = objects(&target.kind)?;
        objects
            .into_iter()
            .find(|object| {
                text(object, "/apiVersion") == Some(&target.api_version)
                    && text(object, "/kind") == Some(&target.kind)
                    && text(object, "/metadata/namespace") == target.namespace.as_deref()
                    && text(object, "/metadata/name") == Some(&target.name)
            })
            .map(Json::from)
            .ok_or(cluster::Error::NotFound)
    }

    pub(crate) fn cluster_find(search: &Search) -> Result<Vec<Json>, cluster::Error> {
        let mut hits = objects(&search.kind)?;
        hits.retain(|object| {
            let labels = object.pointer("/metadata/labels");
            let label = |name: &str| labels.and_then(|labels| labels.get(name)).and_then(Value::as_str);
            text(object, "/apiVersion") == Some(&search.api_version)
                && text(object, "/kind") == Some(&search.kind)
                && search
                    .namespace
                    .as_deref()
                    .is_none_or(|name| text(object, "/metadata/namespace") == Some(name))
                && search.labels.iter().all(|(name, value)| label(name) == Some(value))
        });
        let key = |object: &Value| {
            ["/metadata/namespace", "/metadata/name"].map(|path| text(object, path).map(str::to_owned))
        };
        hits.sort_by_key(key);
        Ok(hits.into_iter().take(500).map(Json::from).collect())
    }

    pub(crate) fn http_send(request: &Request) -> Result<Response, http::Error> {
        ask(|fake| fake.http.get(&request.url).cloned())
            .unwrap_or_else(|| Err(http::Error::Denied(request.url.clone())))
    }

    fn objects(kind: &str) -> Result<Vec<Value>, cluster::Error> {
        if let Some(error) = ask(|fake| fake.cluster.clone()) {
            return Err(error);
        }
        ask(|fake| fake.objects.clone()).ok_or_else(|| cluster::Error::Denied(kind.to_owned()))
    }

    fn ask<T>(question: impl FnOnce(&Fake) -> Option<T>) -> Option<T> {
        CURRENT.with(|current| current.borrow().as_ref().and_then(question))
    }

    fn text<'a>(object: &'a Value, path: &str) -> Option<&'a str> {
        object.pointer(path).and_then(Value::as_str)
    }
}
