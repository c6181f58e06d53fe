//! HTTP messages -> CloudEvents in their JSON format.

use axum::http::{HeaderMap, HeaderName, header};
use berth_engine::subject::Event;
use serde_json::{Map, Value};

use super::answer::Fault;
use crate::source::{Refusal, check::Check, decode};

/// How an event is laid out in a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Form {
    /// The body is the event.
    Structured,
    /// Headers are the attributes, the body is the data.
    Binary,
    /// The body is a list of events.
    Batch,
}

/// Which form the headers announce.
pub(super) fn form(headers: &HeaderMap) -> Result<Form, Fault> {
    let content_type = content_type(headers)?;
    let essence = content_type
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    match essence.as_str() {
        "application/cloudevents+json" => Ok(Form::Structured),
        "application/cloudevents-batch+json" => Ok(Form::Batch),
        _ if headers.contains_key("ce-specversion") => Ok(Form::Binary),
        _ => {
            let refused = || Fault::ContentType(content_type.clone());
            Check::ContentType.passes(false, refused).map(|()| Form::Structured)
        }
    }
}

/// The events of a message; refused ones in their place.
pub(super) fn events(form: &Form, headers: &HeaderMap, body: &[u8]) -> Result<Vec<Result<Event, Refusal>>, Fault> {
    match form {
        Form::Structured => {
            let document = Check::Json.succeeds(serde_json::from_slice(body), Refusal::NotJson);
            Ok(vec![document.and_then(decode)])
        }
        Form::Binary => Ok(vec![binary(headers, body)?.and_then(decode)]),
        Form::Batch => {
            let list: Option<Vec<Value>> = serde_json::from_slice(body).ok();
            Check::BatchList.passes(list.is_some(), || Fault::BatchInvalid)?;
            Ok(list.unwrap_or_default().into_iter().map(decode).collect())
        }
    }
}

/// Puts headers and body together as the JSON format does.
fn binary(headers: &HeaderMap, body: &[u8]) -> Result<Result<Value, Refusal>, Fault> {
    let mut event = Map::new();
    for (name, _) in headers {
        if let Some(attribute) = name.as_str().strip_prefix("ce-") {
            event.insert(attribute.to_owned(), Value::String(unescaped(&text(headers, name)?)));
        }
    }
    let content_type = content_type(headers)?;
    if !content_type.is_empty() {
        event.insert("datacontenttype".to_owned(), Value::String(content_type));
    }
    if !body.is_empty() {
        match Check::BodyJson.succeeds(serde_json::from_slice(body), |_| Refusal::DataNotAnObject) {
            Ok(data) => event.insert("data".to_owned(), data),
            Err(refusal) => return Ok(Err(refusal)),
        };
    }
    Ok(Ok(Value::Object(event)))
}

fn content_type(headers: &HeaderMap) -> Result<String, Fault> {
    if headers.contains_key(header::CONTENT_TYPE) {
        text(headers, &header::CONTENT_TYPE)
    } else {
        Ok(String::new())
    }
}

fn text(headers: &HeaderMap, name: &HeaderName) -> Result<String, Fault> {
    let Some(value) = headers.get(name) else {
        return Ok(String::new());
    };
    let text = value.to_str().ok();
    Check::HeaderText.passes(text.is_some(), || Fault::HeaderInvalid(name.to_string()))?;
    Ok(text.unwrap_or_default().to_owned())
}

/// Attributes are percent-encoded in headers. What is not a valid escape stays as it is.
fn unescaped(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut index = 0;
    while let Some(byte) = bytes.get(index) {
        let escape = bytes
            .get(index + 1..index + 3)
            .and_then(|digits| std::str::from_utf8(digits).ok());
        match escape.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(value) if *byte == b'%' => {
                plain.push(value);
                index += 3;
            }
            Some(_) | None => {
                plain.push(*byte);
                index += 1;
            }
        }
    }
    String::from_utf8(plain).unwrap_or_else(|_| text.to_owned())
}
