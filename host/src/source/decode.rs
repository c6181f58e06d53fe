//! A CloudEvent in its JSON format -> what it is about.
//!
//! Senders configure freely which fields an event carries, so whatever can be derived is
//! derived, and whatever is unknown is ignored. The subject is fetched anyway before
//! anything is done with it.

use std::borrow::Cow;

use berth_engine::subject::{Event, Generation, OwnerRef, SubjectKey, SubjectRef};
use cloudevents::AttributesReader as _;
use serde::Deserialize as _;
use serde_json::{Map, Value};

use super::check::Check;

const PREFIX: &str = "com.redhat.hyperfleet.";
const SUFFIX: &str = ".reconcile";
const API: &str = "/api/hyperfleet/v1";
/// Kinds of HyperFleet itself. There may be more.
const KNOWN: [&str; 2] = ["Cluster", "NodePool"];

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
    #[error("`specversion` is {}, not \"1.0\"", shown(.0))]
    SpecVersion(Value),
    /// A required attribute is missing or empty.
    #[error("the attribute `{0}` is missing or not a text")]
    AttributeMissing(&'static str),
    /// It is not a valid CloudEvent.
    #[error("not a valid CloudEvent")]
    Malformed(#[source] serde_json::Error),
    /// Its type is not one of HyperFleet's.
    #[error("the type {} is not `com.redhat.hyperfleet.<kind>.reconcile`: it {wrong}", shown(.ty))]
    TypeUnknown {
        /// What it says.
        ty: Value,
        /// What is wrong with it.
        wrong: &'static str,
    },
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
    #[error("`{field}` {wrong}: {}", shown(.id))]
    IdInvalid {
        /// Which field.
        field: &'static str,
        /// What it says.
        id: Value,
        /// What is wrong with it.
        wrong: &'static str,
    },
    /// A kind that is not one.
    #[error("`{field}` {wrong}: {}", shown(.kind))]
    KindInvalid {
        /// Which field.
        field: &'static str,
        /// What it says.
        kind: Value,
        /// What is wrong with it.
        wrong: &'static str,
    },
    /// A generation that is not a whole number.
    #[error("`data.generation` {wrong}: {}", shown(.generation))]
    GenerationInvalid {
        /// What it says.
        generation: Value,
        /// What is wrong with it.
        wrong: &'static str,
    },
    /// A path that is not one of the HyperFleet API.
    #[error("`{field}` {wrong}: {}", shown(.href))]
    HrefInvalid {
        /// Which field.
        field: &'static str,
        /// What it says.
        href: Value,
        /// What is wrong with it.
        wrong: &'static str,
    },
    /// A path that is another resource's.
    #[error("`{field}` is not the path of `{id}`: {}", shown(&Value::from(.href.as_str())))]
    HrefForeign {
        /// Which field.
        field: &'static str,
        /// The identifier beside it.
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
            Self::TypeUnknown { .. } => "TypeUnknown",
            Self::DataMissing => "DataMissing",
            Self::DataNotAnObject => "DataNotAnObject",
            Self::IdMissing => "IdMissing",
            Self::IdInvalid { .. } => "IdInvalid",
            Self::KindInvalid { .. } => "KindInvalid",
            Self::GenerationInvalid { .. } => "GenerationInvalid",
            Self::HrefInvalid { .. } => "HrefInvalid",
            Self::HrefForeign { .. } => "HrefForeign",
        }
    }
}

/// A value as messages show it: not all of a long one, and no password of a URL.
fn shown(value: &Value) -> String {
    const LONGEST: usize = 100;
    let text = match value {
        Value::String(text) => match text.split_once("://") {
            Some((scheme, rest)) => {
                let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
                let host = rest[..end].rfind('@').map_or(0, |at| at + 1);
                Value::from(format!("{scheme}://{}", &rest[host..])).to_string()
            }
            None => value.to_string(),
        },
        other => other.to_string(),
    };
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}… ({} bytes)", &text[..end], text.len()),
        None => text,
    }
}

/// Reads an event in the JSON format of CloudEvents 1.0.
///
/// # Errors
/// When it is none, or names no resource. Sending it again does not help.
pub fn decode(document: Value) -> Result<Event, Refusal> {
    let none = Map::new();
    let fields = document.as_object();
    Check::Object.passes(fields.is_some(), || Refusal::NotAnObject)?;
    let fields = fields.unwrap_or(&none);
    let version = fields.get("specversion");
    let missing = || Refusal::AttributeMissing("specversion");
    Check::SpecVersionGiven.passes(version.is_some(), missing)?;
    let version = version.unwrap_or(&Value::Null);
    let other = || Refusal::SpecVersion(version.clone());
    Check::SpecVersionKnown.passes(version == "1.0", other)?;
    for (check, attribute) in [
        (Check::IdGiven, "id"),
        (Check::SourceGiven, "source"),
        (Check::TypeGiven, "type"),
    ] {
        let given = fields.get(attribute).and_then(Value::as_str);
        let missing = || Refusal::AttributeMissing(attribute);
        check.passes(given.is_some_and(|text| !text.is_empty()), missing)?;
    }
    let event = cloudevents::Event::deserialize(&document);
    let event: cloudevents::Event = Check::Attributes.succeeds(event, Refusal::Malformed)?;
    let kind = kind_of_type(event.ty())?;
    let subject = subject(&*data(&event)?, &kind)?;
    Ok(Event {
        id: event.id().to_owned(),
        kind: event.ty().to_owned(),
        subject,
        document: document.into(),
    })
}

/// `com.redhat.hyperfleet.nodepool.reconcile`, with or without a version behind it.
fn kind_of_type(ty: &str) -> Result<String, Refusal> {
    let unknown = |wrong| {
        move || Refusal::TypeUnknown {
            ty: Value::from(ty),
            wrong,
        }
    };
    let rest = ty.strip_prefix(PREFIX);
    Check::TypePrefix.passes(rest.is_some(), unknown("begins otherwise"))?;
    let rest = rest.unwrap_or(ty);
    let kind = rest.strip_suffix(".v1").unwrap_or(rest).strip_suffix(SUFFIX);
    Check::TypeSuffix.passes(kind.is_some(), unknown("ends otherwise"))?;
    let kind = kind.unwrap_or(rest);
    Check::TypeKind.passes(is_kind(kind), unknown("has no kind"))?;
    Ok(spelt(kind))
}

fn is_kind(kind: &str) -> bool {
    (1..=63).contains(&kind.len())
        && kind.starts_with(|letter: char| letter.is_ascii_alphabetic())
        && kind.chars().all(|letter| letter.is_ascii_alphanumeric())
}

/// As HyperFleet spells it: types are in lower case, kinds are not.
fn spelt(kind: &str) -> String {
    for known in KNOWN {
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

fn data(event: &cloudevents::Event) -> Result<Cow<'_, Value>, Refusal> {
    let no_json = |_| Refusal::DataNotAnObject;
    let data = match event.data() {
        None => Cow::Owned(Value::Null),
        Some(cloudevents::Data::Json(value)) => Cow::Borrowed(value),
        Some(cloudevents::Data::String(text)) => {
            Cow::Owned(Check::DataText.succeeds(serde_json::from_str(text), no_json)?)
        }
        Some(cloudevents::Data::Binary(bytes)) => {
            Cow::Owned(Check::DataBytes.succeeds(serde_json::from_slice(bytes), no_json)?)
        }
    };
    Check::DataGiven.passes(!data.is_null(), || Refusal::DataMissing)?;
    Check::DataObject.passes(data.is_object(), || Refusal::DataNotAnObject)?;
    Ok(data)
}

fn subject(data: &Value, kind_of_type: &str) -> Result<SubjectRef, Refusal> {
    let id = present(data, "id");
    Check::DataIdGiven.passes(id.is_some(), || Refusal::IdMissing)?;
    let id = identifier("data.id", id.unwrap_or(&Value::Null))?;
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
        Some(value) => href("data.href", value, &kind, &id)?,
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
    let id = present(reference, "id");
    let missing = || Refusal::IdInvalid {
        field: "data.owner_references.id",
        id: Value::Null,
        wrong: "is missing",
    };
    Check::OwnerIdGiven.passes(id.is_some(), missing)?;
    let id = identifier("data.owner_references.id", id.unwrap_or(&Value::Null))?;
    let kind = match present(reference, "kind") {
        Some(kind) => self::kind("data.owner_references.kind", kind)?,
        None => {
            let missing = || Refusal::KindInvalid {
                field: "data.owner_references.kind",
                kind: Value::Null,
                wrong: "is missing",
            };
            // Only of nodepools it is known what owns them.
            Check::OwnerKindGiven.passes(child == "NodePool", missing)?;
            "Cluster".to_owned()
        }
    };
    let href = match present(reference, "href") {
        Some(value) => href("data.owner_references.href", value, &kind, &id)?,
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
    let wrong = |wrong| {
        move || Refusal::IdInvalid {
            field,
            id: value.clone(),
            wrong,
        }
    };
    let edge = |letter: char| letter.is_ascii_alphanumeric();
    let letter = |letter: char| edge(letter) || matches!(letter, '-' | '_' | '.');
    Check::IdText.passes(value.is_string(), wrong("is not a text"))?;
    let id = value.as_str().unwrap_or_default();
    Check::IdLength.passes(id.len() <= 63, wrong("is longer than 63 letters"))?;
    let edges = id.starts_with(edge) && id.ends_with(edge);
    Check::IdEdges.passes(edges, wrong("does not begin and end with a letter or digit"))?;
    let letters = id.chars().all(letter);
    Check::IdLetters.passes(
        letters,
        wrong("has something else than letters, digits, `-`, `_` and `.`"),
    )?;
    Ok(id.to_owned())
}

fn kind(field: &'static str, value: &Value) -> Result<String, Refusal> {
    let wrong = |wrong| {
        move || Refusal::KindInvalid {
            field,
            kind: value.clone(),
            wrong,
        }
    };
    Check::KindText.passes(value.is_string(), wrong("is not a text"))?;
    let kind = value.as_str().unwrap_or_default();
    Check::KindForm.passes(is_kind(kind), wrong("is not a kind: letters and digits, at most 63"))?;
    Ok(spelt(kind))
}

/// Rules of the sender may make `1.0` or `"1"` of it.
fn generation(value: &Value) -> Result<Generation, Refusal> {
    let wrong = |wrong| {
        move || Refusal::GenerationInvalid {
            generation: value.clone(),
            wrong,
        }
    };
    let number = match value {
        Value::Number(number) => Some(number.to_string()),
        Value::String(text) => Some(text.clone()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    };
    Check::GenerationNumber.passes(number.is_some(), wrong("is not a number"))?;
    let number = number.unwrap_or_default();
    let whole = number.strip_suffix(".0").unwrap_or(&number).parse();
    Check::GenerationWhole.succeeds(whole, |_| wrong("is not a whole number from 0 to 4294967295")())
}

/// The path of a link to the resource `id` of a kind. A host in front of it is dropped: berth asks its
/// own API only.
fn href(field: &'static str, value: &Value, kind: &str, id: &str) -> Result<String, Refusal> {
    let wrong = |wrong| {
        move || Refusal::HrefInvalid {
            field,
            href: value.clone(),
            wrong,
        }
    };
    Check::HrefText.passes(value.is_string(), wrong("is not a text"))?;
    let text = value.as_str().unwrap_or_default();
    let path = match text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")) {
        Some(rest) => {
            let start = rest.find('/');
            Check::HrefPath.passes(start.is_some(), wrong("names a host and no path"))?;
            &rest[start.unwrap_or(rest.len())..]
        }
        None => text,
    };
    let path = path.strip_suffix('/').unwrap_or(path);
    Check::HrefAbsolute.passes(path.starts_with('/'), wrong("does not begin with `/`"))?;
    let segments = || path.split('/').skip(1);
    let plain = segments().all(|segment| !matches!(segment, "" | "." | ".."));
    Check::HrefSegments.passes(plain, wrong("has an empty segment, `.` or `..`"))?;
    let letter = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.' | '~');
    let letters = segments().flat_map(str::chars).all(letter);
    Check::HrefLetters.passes(letters, wrong("has something else than a path of the HyperFleet API"))?;
    // The path of another resource would make us act on that one's word.
    let foreign = || Refusal::HrefForeign {
        field,
        id: id.to_owned(),
        href: path.to_owned(),
    };
    let mut backwards = path.rsplit('/');
    Check::HrefOwn.passes(backwards.next() == Some(id), foreign)?;
    let collection = backwards.next().unwrap_or_default();
    let of_another = || Refusal::HrefForeign {
        field,
        id: format!("{kind}/{id}"),
        href: path.to_owned(),
    };
    let of_known = KNOWN.into_iter().find(|known| collection == plural(known));
    Check::HrefKind.passes(of_known.is_none_or(|known| known == kind), of_another)?;
    Ok(path.to_owned())
}

fn derived(kind: &str, id: &str, owner: Option<&OwnerRef>) -> String {
    let parent = owner.map_or(API, |owner| owner.href.as_str());
    format!("{parent}/{}/{id}", plural(kind))
}

/// A kind in paths.
fn plural(kind: &str) -> String {
    format!("{}s", kind.to_ascii_lowercase())
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

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".*", id in ".*") {
            drop(serde_json::from_str(&text).map(decode));
            drop(decode(event(json!({"data": {"id": id, "href": text}}))));
        }
    }
}
