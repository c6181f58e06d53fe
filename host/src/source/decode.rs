//! A CloudEvent in its JSON format -> what it is about.
//!
//! Senders configure freely which fields an event carries, so whatever can be derived is
//! derived, and whatever is unknown is ignored. The subject is fetched anyway before
//! anything is done with it.

use berth_engine::subject::{Event, Generation, OwnerRef, SubjectKey, SubjectRef};
use cloudevents::AttributesReader as _;
use serde_json::Value;

const PREFIX: &str = "com.redhat.hyperfleet.";
const SUFFIX: &str = ".reconcile";
const API: &str = "/api/hyperfleet/v1";

/// Why an event can never be handled.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The body is not JSON.
    #[error("the event is not JSON")]
    NotJson(#[source] serde_json::Error),
    /// The body is JSON, but not an object.
    #[error("the event is not a JSON object")]
    NotAnObject,
    /// Another version of CloudEvents.
    #[error("`specversion` is {0}, not \"1.0\"")]
    SpecVersion(Value),
    /// A required attribute is missing or empty.
    #[error("the attribute `{0}` is missing or not a text")]
    AttributeMissing(&'static str),
    /// It is not a valid CloudEvent.
    #[error("not a valid CloudEvent")]
    Malformed(#[source] serde_json::Error),
    /// Its type is not one of HyperFleet's.
    #[error("the type `{0}` is not `com.redhat.hyperfleet.<kind>.reconcile`")]
    TypeUnknown(String),
    /// It has no data.
    #[error("the event has no `data`")]
    DataMissing,
    /// Its data is not a JSON object.
    #[error("`data` is not a JSON object")]
    DataNotAnObject,
    /// Its data names no resource.
    #[error("`data.id` is missing or not a text")]
    IdMissing,
    /// An identifier that cannot be part of a path or of a label.
    #[error("`{field}` is not usable as an identifier: {id}")]
    IdInvalid {
        /// Which field.
        field: &'static str,
        /// What it says.
        id: Value,
    },
    /// A kind that is not one.
    #[error("`{field}` is not a kind: {kind}")]
    KindInvalid {
        /// Which field.
        field: &'static str,
        /// What it says.
        kind: Value,
    },
    /// A generation that is not a whole number.
    #[error("`data.generation` is not a whole number: {0}")]
    GenerationInvalid(Value),
    /// A path that is not one of the HyperFleet API.
    #[error("`{field}` is not a path of the HyperFleet API: {href}")]
    HrefInvalid {
        /// Which field.
        field: &'static str,
        /// What it says.
        href: Value,
    },
    /// A path that is another resource's.
    #[error("`data.href` is not the path of `{id}`: {href}")]
    HrefForeign {
        /// `data.id`.
        id: String,
        /// What it says.
        href: String,
    },
}

impl Refusal {
    /// PascalCase and stable.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NotJson(_) => "EventNotJson",
            Self::NotAnObject => "EventNotAnObject",
            Self::SpecVersion(_) => "SpecVersionUnsupported",
            Self::AttributeMissing(_) => "AttributeMissing",
            Self::Malformed(_) => "EventMalformed",
            Self::TypeUnknown(_) => "TypeUnknown",
            Self::DataMissing => "DataMissing",
            Self::DataNotAnObject => "DataNotAnObject",
            Self::IdMissing => "IdMissing",
            Self::IdInvalid { .. } => "IdInvalid",
            Self::KindInvalid { .. } => "KindInvalid",
            Self::GenerationInvalid(_) => "GenerationInvalid",
            Self::HrefInvalid { .. } => "HrefInvalid",
            Self::HrefForeign { .. } => "HrefForeign",
        }
    }
}

/// Reads an event in the JSON format of CloudEvents 1.0.
///
/// # Errors
/// When it is none, or names no resource. Sending it again does not help.
pub fn decode(document: Value) -> Result<Event, Refusal> {
    let Value::Object(fields) = &document else {
        return Err(Refusal::NotAnObject);
    };
    match fields.get("specversion") {
        Some(Value::String(version)) if version == "1.0" => {}
        Some(other) => return Err(Refusal::SpecVersion(other.clone())),
        None => return Err(Refusal::AttributeMissing("specversion")),
    }
    for attribute in ["id", "source", "type"] {
        if fields.get(attribute).and_then(Value::as_str).is_none_or(str::is_empty) {
            return Err(Refusal::AttributeMissing(attribute));
        }
    }
    let event: cloudevents::Event = serde_json::from_value(document.clone()).map_err(Refusal::Malformed)?;
    let kind = kind_of_type(event.ty())?;
    let subject = subject(&data(&event)?, &kind)?;
    Ok(Event {
        id: event.id().to_owned(),
        kind: event.ty().to_owned(),
        subject,
        document,
    })
}

/// `com.redhat.hyperfleet.nodepool.reconcile`, with or without a version behind it.
fn kind_of_type(ty: &str) -> Result<String, Refusal> {
    let unknown = || Refusal::TypeUnknown(ty.to_owned());
    let rest = ty.strip_prefix(PREFIX).ok_or_else(unknown)?;
    let kind = rest
        .strip_suffix(".v1")
        .unwrap_or(rest)
        .strip_suffix(SUFFIX)
        .ok_or_else(unknown)?;
    if is_kind(kind) { Ok(spelt(kind)) } else { Err(unknown()) }
}

fn is_kind(kind: &str) -> bool {
    (1..=63).contains(&kind.len())
        && kind.starts_with(|letter: char| letter.is_ascii_alphabetic())
        && kind.chars().all(|letter| letter.is_ascii_alphanumeric())
}

/// As HyperFleet spells it: types are in lower case, kinds are not.
fn spelt(kind: &str) -> String {
    for known in ["Cluster", "NodePool"] {
        if known.eq_ignore_ascii_case(kind) {
            return known.to_owned();
        }
    }
    let mut letters = kind.chars();
    letters
        .next()
        .map(|first| first.to_ascii_uppercase())
        .into_iter()
        .chain(letters)
        .collect()
}

fn data(event: &cloudevents::Event) -> Result<Value, Refusal> {
    let data = match event.data() {
        None => return Err(Refusal::DataMissing),
        Some(cloudevents::Data::Json(value)) => value.clone(),
        Some(cloudevents::Data::String(text)) => serde_json::from_str(text).map_err(|_| Refusal::DataNotAnObject)?,
        Some(cloudevents::Data::Binary(bytes)) => {
            serde_json::from_slice(bytes).map_err(|_| Refusal::DataNotAnObject)?
        }
    };
    match data {
        Value::Null => Err(Refusal::DataMissing),
        Value::Object(_) => Ok(data),
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => Err(Refusal::DataNotAnObject),
    }
}

fn subject(data: &Value, kind_of_type: &str) -> Result<SubjectRef, Refusal> {
    let id = match present(data, "id") {
        None => return Err(Refusal::IdMissing),
        Some(id) => identifier("data.id", id)?,
    };
    let kind = match present(data, "kind") {
        None => kind_of_type.to_owned(),
        Some(kind) => self::kind("data.kind", kind)?,
    };
    let generation = match present(data, "generation") {
        None => 0,
        Some(value) => generation(value)?,
    };
    let owner = match present(data, "owner_references") {
        Some(Value::Array(list)) => list.first().map(|first| owner(first, &kind)).transpose()?,
        Some(one) => Some(owner(one, &kind)?),
        None => None,
    };
    let href = match present(data, "href") {
        Some(value) => {
            let path = href("data.href", value)?;
            // The path of another resource would make us act on that one's word.
            if path.rsplit('/').next() != Some(id.as_str()) {
                return Err(Refusal::HrefForeign { id, href: path });
            }
            path
        }
        None => derived(&kind, &id, owner.as_ref()),
    };
    Ok(SubjectRef {
        key: SubjectKey { kind, id },
        href,
        generation,
        owner,
    })
}

fn owner(reference: &Value, child: &str) -> Result<OwnerRef, Refusal> {
    let id = match present(reference, "id") {
        Some(id) => identifier("data.owner_references.id", id)?,
        None => {
            return Err(Refusal::IdInvalid {
                field: "data.owner_references.id",
                id: Value::Null,
            });
        }
    };
    let kind = match present(reference, "kind") {
        Some(kind) => self::kind("data.owner_references.kind", kind)?,
        None if child == "NodePool" => "Cluster".to_owned(),
        None => {
            return Err(Refusal::KindInvalid {
                field: "data.owner_references.kind",
                kind: Value::Null,
            });
        }
    };
    let href = match present(reference, "href") {
        Some(value) => href("data.owner_references.href", value)?,
        None => derived(&kind, &id, None),
    };
    Ok(OwnerRef {
        key: SubjectKey { kind, id },
        href,
    })
}

/// A field that says something: absent, null and "" are all nothing.
fn present<'a>(object: &'a Value, field: &str) -> Option<&'a Value> {
    object
        .get(field)
        .filter(|value| !value.is_null() && value.as_str() != Some(""))
}

/// It becomes part of paths and the value of a label.
fn identifier(field: &'static str, value: &Value) -> Result<String, Refusal> {
    let edge = |letter: char| letter.is_ascii_alphanumeric();
    match value.as_str() {
        Some(id)
            if id.len() <= 63
                && id.starts_with(edge)
                && id.ends_with(edge)
                && id
                    .chars()
                    .all(|letter| edge(letter) || matches!(letter, '-' | '_' | '.')) =>
        {
            Ok(id.to_owned())
        }
        Some(_) | None => Err(Refusal::IdInvalid {
            field,
            id: value.clone(),
        }),
    }
}

fn kind(field: &'static str, value: &Value) -> Result<String, Refusal> {
    match value.as_str() {
        Some(kind) if is_kind(kind) => Ok(spelt(kind)),
        Some(_) | None => Err(Refusal::KindInvalid {
            field,
            kind: value.clone(),
        }),
    }
}

/// Rules of the sender may make `1.0` or `"1"` of it.
fn generation(value: &Value) -> Result<Generation, Refusal> {
    let number = match value {
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => String::new(),
    };
    let whole = number.strip_suffix(".0").unwrap_or(&number);
    whole.parse().map_err(|_| Refusal::GenerationInvalid(value.clone()))
}

/// The path of a link. A host in front of it is dropped: berth asks its own API only.
fn href(field: &'static str, value: &Value) -> Result<String, Refusal> {
    let invalid = || Refusal::HrefInvalid {
        field,
        href: value.clone(),
    };
    let text = value.as_str().ok_or_else(invalid)?;
    let path = match text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")) {
        Some(rest) => rest.find('/').map(|start| &rest[start..]).ok_or_else(invalid)?,
        None => text,
    };
    let path = path.strip_suffix('/').unwrap_or(path);
    let segments = path.strip_prefix('/').ok_or_else(invalid)?;
    let is_plain = |segment: &str| {
        !matches!(segment, "" | "." | "..")
            && segment
                .chars()
                .all(|letter| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.' | '~'))
    };
    if segments.split('/').all(is_plain) {
        Ok(path.to_owned())
    } else {
        Err(invalid())
    }
}

fn derived(kind: &str, id: &str, owner: Option<&OwnerRef>) -> String {
    let parent = owner.map_or(API, |owner| owner.href.as_str());
    format!("{parent}/{}s/{id}", kind.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use serde_json::json;

    use super::*;

    fn event(changes: Value) -> Value {
        let mut event = json!({
            "specversion": "1.0", "id": "e-1", "source": "hyperfleet-sentinel",
            "type": "com.redhat.hyperfleet.cluster.reconcile", "datacontenttype": "application/json",
            "data": {"id": "c-1", "kind": "Cluster", "href": "/api/hyperfleet/v1/clusters/c-1", "generation": 3}
        });
        for (key, value) in changes.as_object().unwrap() {
            event[key] = value.clone();
        }
        event
    }

    fn told(document: Value) -> String {
        match decode(document) {
            Ok(event) => {
                let owner = event
                    .subject
                    .owner
                    .map(|owner| format!(" of {} {}", owner.key, owner.href));
                format!(
                    "{} {} @{}{}",
                    event.subject.key,
                    event.subject.href,
                    event.subject.generation,
                    owner.unwrap_or_default()
                )
            }
            Err(refusal) => format!("{}: {refusal}", refusal.reason()),
        }
    }

    #[test]
    fn events_of_hyperfleet_are_read_leniently() {
        let nodepool = "com.redhat.hyperfleet.nodepool.reconcile";
        let all: Vec<String> = [
            json!({}),
            json!({"type": "com.redhat.hyperfleet.cluster.reconcile.v1"}),
            json!({"traceparent": "00-a-b-01", "unknownextension": 7}),
            json!({"data": {"id": "c-1"}}),
            json!({"data": {"id": "c-1", "kind": "", "href": null, "generation": "4", "more": {"x": 1}}}),
            json!({"data": {"id": "c-1", "generation": 4.0, "href": "https://api.example.com/api/hyperfleet/v1/clusters/c-1/"}}),
            json!({"type": nodepool, "data": {"id": "n-1", "owner_references": {"id": "c-1", "kind": "Cluster", "href": "/api/hyperfleet/v1/clusters/c-1"}}}),
            json!({"type": nodepool, "data": {"id": "n-1", "kind": "nodepool", "owner_references": [{"id": "c-1"}]}}),
            json!({"type": nodepool, "data": {"id": "n-1"}}),
            json!({"type": "com.redhat.hyperfleet.channel.reconcile", "data": {"id": "x"}}),
            json!({"data": "{\"id\": \"c-1\"}", "datacontenttype": "text/plain"}),
        ]
        .into_iter()
        .map(|changes| told(event(changes)))
        .collect();
        insta::assert_snapshot!(all.join("\n"), @r"
        Cluster/c-1 /api/hyperfleet/v1/clusters/c-1 @3
        Cluster/c-1 /api/hyperfleet/v1/clusters/c-1 @3
        Cluster/c-1 /api/hyperfleet/v1/clusters/c-1 @3
        Cluster/c-1 /api/hyperfleet/v1/clusters/c-1 @0
        Cluster/c-1 /api/hyperfleet/v1/clusters/c-1 @4
        Cluster/c-1 /api/hyperfleet/v1/clusters/c-1 @4
        NodePool/n-1 /api/hyperfleet/v1/clusters/c-1/nodepools/n-1 @0 of Cluster/c-1 /api/hyperfleet/v1/clusters/c-1
        NodePool/n-1 /api/hyperfleet/v1/clusters/c-1/nodepools/n-1 @0 of Cluster/c-1 /api/hyperfleet/v1/clusters/c-1
        NodePool/n-1 /api/hyperfleet/v1/nodepools/n-1 @0
        Channel/x /api/hyperfleet/v1/channels/x @0
        Cluster/c-1 /api/hyperfleet/v1/clusters/c-1 @0
        ");
    }

    #[test]
    fn what_can_never_succeed_is_refused_with_its_own_reason() {
        let mut all = vec![told(json!([])), told(json!({}))];
        for changes in [
            json!({"specversion": "0.3"}),
            json!({"specversion": 1.0}),
            json!({"id": ""}),
            json!({"source": null}),
            json!({"type": 7}),
            json!({"time": "yesterday"}),
            json!({"type": "com.example.cluster.reconcile"}),
            json!({"type": "com.redhat.hyperfleet.cluster.created"}),
            json!({"type": "com.redhat.hyperfleet..reconcile"}),
            json!({"data": null}),
            json!({"data": []}),
            json!({"data": "text"}),
            json!({"data": {}}),
            json!({"data": {"id": 7}}),
            json!({"data": {"id": "../c-1"}}),
            json!({"data": {"id": "c-1", "kind": "no kind"}}),
            json!({"data": {"id": "c-1", "generation": -1}}),
            json!({"data": {"id": "c-1", "generation": 1.5}}),
            json!({"data": {"id": "c-1", "generation": 99_999_999_999_u64}}),
            json!({"data": {"id": "c-1", "href": "clusters/c-1"}}),
            json!({"data": {"id": "c-1", "href": "/a/../b"}}),
            json!({"data": {"id": "c-1", "href": "//evil/x?y"}}),
            json!({"data": {"id": "c-1", "href": "/api/hyperfleet/v1/clusters/c-2"}}),
            json!({"data": {"id": "c-1", "owner_references": {"kind": "Cluster"}}}),
            json!({"data": {"id": "c-1", "owner_references": {"id": "o-1"}}}),
        ] {
            all.push(told(event(changes)));
        }
        insta::assert_snapshot!(all.join("\n"), @r#"
        EventNotAnObject: the event is not a JSON object
        AttributeMissing: the attribute `specversion` is missing or not a text
        SpecVersionUnsupported: `specversion` is "0.3", not "1.0"
        SpecVersionUnsupported: `specversion` is 1.0, not "1.0"
        AttributeMissing: the attribute `id` is missing or not a text
        AttributeMissing: the attribute `source` is missing or not a text
        AttributeMissing: the attribute `type` is missing or not a text
        EventMalformed: not a valid CloudEvent
        TypeUnknown: the type `com.example.cluster.reconcile` is not `com.redhat.hyperfleet.<kind>.reconcile`
        TypeUnknown: the type `com.redhat.hyperfleet.cluster.created` is not `com.redhat.hyperfleet.<kind>.reconcile`
        TypeUnknown: the type `com.redhat.hyperfleet..reconcile` is not `com.redhat.hyperfleet.<kind>.reconcile`
        DataMissing: the event has no `data`
        DataNotAnObject: `data` is not a JSON object
        DataNotAnObject: `data` is not a JSON object
        IdMissing: `data.id` is missing or not a text
        IdInvalid: `data.id` is not usable as an identifier: 7
        IdInvalid: `data.id` is not usable as an identifier: "../c-1"
        KindInvalid: `data.kind` is not a kind: "no kind"
        GenerationInvalid: `data.generation` is not a whole number: -1
        GenerationInvalid: `data.generation` is not a whole number: 1.5
        GenerationInvalid: `data.generation` is not a whole number: 99999999999
        HrefInvalid: `data.href` is not a path of the HyperFleet API: "clusters/c-1"
        HrefInvalid: `data.href` is not a path of the HyperFleet API: "/a/../b"
        HrefInvalid: `data.href` is not a path of the HyperFleet API: "//evil/x?y"
        HrefForeign: `data.href` is not the path of `c-1`: /api/hyperfleet/v1/clusters/c-2
        IdInvalid: `data.owner_references.id` is not usable as an identifier: null
        KindInvalid: `data.owner_references.kind` is not a kind: null
        "#);
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".*", id in ".*") {
            drop(serde_json::from_str(&text).map(decode));
            drop(decode(event(json!({"data": {"id": id, "href": text}}))));
        }
    }
}
