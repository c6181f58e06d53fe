//! Patterns of paths: `*` is one segment, a final `**` the rest, templates are filled in.

use super::Substitutions;

/// A pattern whose templates are filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern(Option<Vec<Segment>>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    /// Exactly this text.
    Literal(String),
    /// Any one segment.
    One,
    /// Everything from here, at least one segment.
    Rest,
}

impl Pattern {
    /// Reads a pattern. One that needs a value which is not known, or which would change
    /// its shape, matches nothing.
    pub(super) fn parse(text: &str, known: &Substitutions) -> Self {
        let mut segments = Vec::new();
        // Only the subject's own path may fill several segments.
        let text = match text.trim_start().strip_prefix("{{") {
            Some(rest) => match rest.split_once("}}") {
                Some((name, rest)) if name.trim() == ".subject.href" => {
                    let href = known.subject_href.as_str();
                    if super::plain_path(href).is_err() || href.contains('?') {
                        return Self(None);
                    }
                    segments.extend(href.split('/').map(|segment| Segment::Literal(segment.to_owned())));
                    match rest.strip_prefix('/') {
                        Some(rest) => rest,
                        None if rest.is_empty() => return Self(Some(segments)),
                        None => return Self(None),
                    }
                }
                Some(_) | None => text,
            },
            None => text,
        };
        let parts: Vec<_> = split(text);
        let last = parts.len() - 1;
        for (index, part) in parts.into_iter().enumerate() {
            let segment = match part {
                "*" => Segment::One,
                "**" if index == last => Segment::Rest,
                part => match fill(part, known) {
                    Some(literal) if !literal.contains(['/', '?']) => Segment::Literal(literal),
                    Some(_) | None => return Self(None),
                },
            };
            segments.push(segment);
        }
        Self(Some(segments))
    }

    /// Whether it covers a path, which has been checked to have one meaning.
    pub(super) fn matches(&self, path: &str) -> bool {
        let Some(segments) = &self.0 else { return false };
        let mut parts = path.split('/');
        for segment in segments {
            let part = parts.next();
            let fits = match segment {
                Segment::Rest => return part.is_some_and(|part| !part.is_empty()),
                Segment::One => part.is_some_and(|part| !part.is_empty()),
                Segment::Literal(literal) => part == Some(literal.as_str()),
            };
            if !fits {
                return false;
            }
        }
        parts.next().is_none()
    }
}

/// Splits at `/`, but not within a template.
fn split(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut from, mut within) = (0, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'{' if text[at..].starts_with("{{") => within = true,
            b'}' if text[at..].starts_with("}}") => within = false,
            b'/' if !within => {
                parts.push(&text[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[from..]);
    parts
}

/// Fills templates in; none if a value is unknown or is not a plain name.
pub(super) fn fill(text: &str, known: &Substitutions) -> Option<String> {
    let mut filled = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        let (name, behind) = after.split_once("}}")?;
        let value = match name.trim() {
            ".subject.id" => &known.subject_id,
            ".subject.kind" => &known.subject_kind,
            ".owner.id" => &known.owner_id,
            _ => return None,
        };
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':');
        if value.is_empty() || matches!(value.as_str(), "." | "..") || !value.bytes().all(plain) {
            return None;
        }
        filled.push_str(before);
        filled.push_str(value);
        rest = behind;
    }
    filled.push_str(rest);
    Some(filled)
}
