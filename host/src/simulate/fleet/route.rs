//! Addresses: which request means what.

use std::borrow::Cow;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{
    problem::{self, Problem, Trouble},
    resource::{Kind, Resource},
    state::FleetState,
    status::Incoming,
};
use crate::fleet::Response;

/// What a path means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target<'a> {
    Metadata,
    Collection(Scope<'a>),
    One(Scope<'a>, &'a str),
    Statuses(Scope<'a>, &'a str),
    ForceDelete(Scope<'a>, &'a str),
}

/// Which resources a path speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope<'a> {
    /// Of every kind.
    All,
    /// Of one kind, under any owner.
    Kind(Kind),
    /// Under this cluster.
    Under(&'a str),
}

impl Scope<'_> {
    fn holds(self, resource: &Resource) -> bool {
        match self {
            Self::All => true,
            Self::Kind(kind) => resource.kind == kind,
            Self::Under(owner) => resource.owner.as_deref() == Some(owner),
        }
    }
}

impl FleetState {
    /// Answers one request. `path` begins with `/`; `query` has no `?`.
    pub fn handle(&mut self, now: Timestamp, method: &str, path: &str, query: Option<&str>, body: &[u8]) -> Response {
        // The API's clock counts microseconds.
        let now = Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now);
        self.route(now, method, path, query.unwrap_or_default(), body)
            .unwrap_or_else(|problem| problem.response(now, path))
    }

    fn route(
        &mut self,
        now: Timestamp,
        method: &str,
        path: &str,
        query: &str,
        body: &[u8],
    ) -> Result<Response, Problem> {
        let target = target(path).ok_or_else(|| Trouble::NoSuchRoute.because(format!("no route for {path}")))?;
        let ok = |status, body: &Value| Ok(problem::success(now, status, body));
        match (target, method) {
            (Target::Metadata, "GET") => ok(
                200,
                &json!({"id": "hyperfleet", "kind": "API", "href": "/api/hyperfleet"}),
            ),
            (Target::Collection(scope), "GET") => ok(200, &self.list(scope, &Query::parse(query)?)?),
            (Target::Collection(scope), "POST") => {
                let body = object(body)?;
                let (kind, owner) = match scope {
                    Scope::Kind(Kind::Cluster) => (Kind::Cluster, None),
                    Scope::Under(owner) => (Kind::NodePool, Some(owner)),
                    Scope::All if body.get("kind").and_then(Value::as_str) == Some(Kind::Cluster.name()) => {
                        (Kind::Cluster, None)
                    }
                    Scope::Kind(Kind::NodePool) | Scope::All => {
                        return Err(Trouble::NeedsOwner.because("create it under its cluster"));
                    }
                };
                ok(201, &self.insert(now, kind, owner, &body)?)
            }
            (Target::One(scope, id), "GET") => ok(200, &self.within(scope, id)?.json()),
            (Target::One(scope, id), "PATCH") => {
                let body = object(body)?;
                self.within(scope, id)?;
                ok(200, &self.change(now, id, &body)?)
            }
            (Target::One(scope, id), "DELETE") => {
                self.within(scope, id)?;
                ok(202, &self.remove(now, id)?)
            }
            (Target::ForceDelete(scope, id), "POST") => {
                let body = object(body)?;
                self.within(scope, id)?;
                self.remove_by_force(id, &body)?;
                Ok(problem::nothing(now))
            }
            (Target::Statuses(scope, id), "GET") => {
                let rows = self
                    .within(scope, id)?
                    .rows
                    .iter()
                    .map(super::resource::Row::json)
                    .collect();
                ok(200, &Query::parse(query)?.page(rows))
            }
            (Target::Statuses(scope, id), "PUT") => {
                let incoming = Incoming::parse(body, now)?;
                self.within(scope, id)?;
                match self.report(now, id, incoming)? {
                    Some(row) => ok(201, &row.json()),
                    None => Ok(problem::nothing(now)),
                }
            }
            (
                Target::Metadata
                | Target::Collection(_)
                | Target::One(..)
                | Target::Statuses(..)
                | Target::ForceDelete(..),
                _,
            ) => Err(Trouble::NotAllowed.because(format!("{method} is not allowed for {path}"))),
        }
    }

    /// The row that a report to this path would replace; for the fault that swallows reports.
    pub(super) fn stored_row(&self, path: &str, body: &[u8], now: Timestamp) -> Option<Value> {
        let Some(Target::Statuses(scope, id)) = target(path) else {
            return None;
        };
        let incoming = Incoming::parse(body, now).ok()?;
        Some(self.within(scope, id).ok()?.row(incoming.adapter())?.json())
    }

    fn within(&self, scope: Scope<'_>, id: &str) -> Result<&Resource, Problem> {
        let resource = self.found(id)?;
        if scope.holds(resource) {
            Ok(resource)
        } else {
            Err(Trouble::NoSuchResource.because(format!("no resource with id '{id}'")))
        }
    }

    fn list(&self, scope: Scope<'_>, query: &Query<'_>) -> Result<Value, Problem> {
        if let Scope::Under(owner) = scope {
            self.within(Scope::Kind(Kind::Cluster), owner)?;
        }
        let mut found: Vec<&Resource> = Vec::new();
        for resource in self.resources.values().filter(|resource| scope.holds(resource)) {
            if query.kind.as_deref().is_none_or(|kind| kind == resource.kind.name()) && query.matches(resource)? {
                found.push(resource);
            }
        }
        match query
            .order
            .as_deref()
            .unwrap_or("created_time desc")
            .split_whitespace()
            .collect::<Vec<_>>()[..]
        {
            ["created_time"] | ["created_time", "asc"] => {}
            ["created_time", "desc"] => found.reverse(),
            ["name"] | ["name", "asc"] => found.sort_by(|a, b| a.name.cmp(&b.name)),
            ["name", "desc"] => found.sort_by(|a, b| b.name.cmp(&a.name)),
            _ => return Err(Trouble::Invalid.because("the simulation orders by created_time or name only")),
        }
        Ok(query.page(found.into_iter().map(Resource::json).collect()))
    }
}

fn target(path: &str) -> Option<Target<'_>> {
    let rest = path.strip_prefix("/api/hyperfleet")?.trim_end_matches('/');
    if rest.is_empty() {
        return Some(Target::Metadata);
    }
    let segments: Vec<&str> = rest.strip_prefix("/v1/")?.split('/').collect();
    let (scope, rest) = match *segments.as_slice() {
        ["clusters", owner, "nodepools", ref rest @ ..] => (Scope::Under(owner), rest),
        ["clusters", ref rest @ ..] => (Scope::Kind(Kind::Cluster), rest),
        ["nodepools", ref rest @ ..] => (Scope::Kind(Kind::NodePool), rest),
        ["resources", ref rest @ ..] => (Scope::All, rest),
        _ => return None,
    };
    match *rest {
        [] => Some(Target::Collection(scope)),
        [id] => Some(Target::One(scope, id)),
        [id, "statuses"] => Some(Target::Statuses(scope, id)),
        [id, "force-delete"] => Some(Target::ForceDelete(scope, id)),
        _ => None,
    }
}

/// The parameters of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Query<'a> {
    page: usize,
    size: usize,
    order: Option<Cow<'a, str>>,
    search: Option<Cow<'a, str>>,
    kind: Option<Cow<'a, str>>,
}

impl<'a> Query<'a> {
    fn parse(query: &'a str) -> Result<Self, Problem> {
        let mut parsed = Self {
            page: 1,
            size: 20,
            order: None,
            search: None,
            kind: None,
        };
        for (key, value) in url::form_urlencoded::parse(query.as_bytes()) {
            match key.as_ref() {
                "page" => parsed.page = number("page", &value, 100_000)?,
                "size" => parsed.size = number("size", &value, 100)?,
                "order" => parsed.order = Some(value),
                "search" => parsed.search = Some(value).filter(|search| !search.is_empty()),
                "kind" => parsed.kind = Some(value),
                // The API ignores what it does not know.
                _ => {}
            }
        }
        Ok(parsed)
    }

    fn page(&self, items: Vec<Value>) -> Value {
        let total = items.len();
        let items: Vec<Value> = items
            .into_iter()
            .skip((self.page - 1) * self.size)
            .take(self.size)
            .collect();
        json!({"page": self.page, "size": items.len(), "total": total, "items": items})
    }

    /// Understands equalities joined with `and`; the API's language has more.
    fn matches(&self, resource: &Resource) -> Result<bool, Problem> {
        let Some(search) = &self.search else {
            return Ok(true);
        };
        let document = resource.json();
        for term in search.split(" and ") {
            let unsupported = || {
                Trouble::Invalid.because(format!(
                    "the simulation searches by field='value' only, not by {term:?}"
                ))
            };
            let (field, value) = term.split_once('=').ok_or_else(unsupported)?;
            let value = value
                .trim()
                .strip_prefix('\'')
                .and_then(|value| value.strip_suffix('\''))
                .ok_or_else(unsupported)?;
            let pointer = format!("/{}", field.trim().replacen('.', "/", 1));
            if document.pointer(&pointer).and_then(Value::as_str) != Some(value) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn number(name: &str, value: &str, largest: usize) -> Result<usize, Problem> {
    value
        .parse()
        .ok()
        .filter(|number| (1..=largest).contains(number))
        .ok_or_else(|| Trouble::Invalid.because(format!("{name} must be a number from 1 to {largest}")))
}

fn object(body: &[u8]) -> Result<Map<String, Value>, Problem> {
    match serde_json::from_slice(body) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(Trouble::Invalid.because("the body must be an object")),
        Err(error) => Err(Trouble::Malformed.because(format!("the body is not valid JSON: {error}"))),
    }
}
