//! What names and patterns look like.

use crate::config::{check::Check, reader::Item, suggest::nearest};

/// What a text may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Name {
    /// A DNS label: adapters, namespaces.
    Label,
    /// A DNS subdomain: service accounts and most objects.
    Subdomain,
    /// A kind or a condition's type or reason.
    Pascal,
    /// A step, a resource or a plugin: how expressions name it.
    Step,
    /// An environment variable.
    Variable,
}

impl Name {
    fn allows(self, text: &str) -> bool {
        let lower = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit();
        let label = |text: &str| {
            (1..=63).contains(&text.len())
                && text.chars().all(|letter| lower(letter) || letter == '-')
                && text.starts_with(lower)
                && text.ends_with(lower)
        };
        match self {
            Self::Label => label(text),
            Self::Subdomain => text.len() <= 253 && text.split('.').all(label),
            Self::Pascal => {
                text.len() <= 63
                    && text.starts_with(|letter: char| letter.is_ascii_uppercase())
                    && text.chars().all(|letter| letter.is_ascii_alphanumeric())
            }
            Self::Step => {
                text.len() <= 63
                    && text.starts_with(|letter: char| letter.is_ascii_alphabetic())
                    && text
                        .chars()
                        .all(|letter| letter.is_ascii_alphanumeric() || letter == '-' || letter == '_')
            }
            Self::Variable => {
                text.starts_with(|letter: char| letter.is_ascii_alphabetic() || letter == '_')
                    && text
                        .chars()
                        .all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
            }
        }
    }

    fn check(self) -> Check {
        match self {
            Self::Label => Check::Label,
            Self::Subdomain => Check::Subdomain,
            Self::Pascal => Check::Pascal,
            Self::Step => Check::Step,
            Self::Variable => Check::Variable,
        }
    }

    fn rule(self) -> &'static str {
        match self {
            Self::Label => {
                "use lower-case letters, digits and `-`, at most 63, beginning and ending with a letter or digit"
            }
            Self::Subdomain => {
                "use lower-case letters, digits, `-` and `.`, beginning and ending with a letter or digit"
            }
            Self::Pascal => "use letters and digits, beginning with a capital: `NodePool`",
            Self::Step => "use letters, digits, `-` and `_`, at most 63, beginning with a letter",
            Self::Variable => "use letters, digits and `_`, not beginning with a digit",
        }
    }
}

/// A name of that form.
pub(super) fn name(item: &Item<'_>, form: Name) -> Option<String> {
    let text = item.text()?;
    if form.allows(text) {
        return Some(text.to_owned());
    }
    item.wrong(
        form.check(),
        format!("`{text}` is not a usable name"),
        Some(form.rule().to_owned()),
    );
    None
}

/// A name of that form, or a template that is to yield one.
pub(super) fn name_or_template(item: &Item<'_>, form: Name) -> Option<String> {
    let text = item.text()?;
    if text.contains("{{") {
        Some(text.to_owned())
    } else {
        name(item, form)
    }
}

/// `v1` or `batch/v1`; `*` for any.
pub(super) fn api_version(item: &Item<'_>) -> Option<String> {
    let text = item.text()?;
    let is_version = |version: &str| version.starts_with('v') && Name::Label.allows(version);
    let fits = text == "*"
        || match text.split_once('/') {
            Some((group, version)) => Name::Subdomain.allows(group) && is_version(version),
            None => is_version(text),
        };
    if !fits {
        item.wrong(
            Check::ApiVersion,
            format!("`{text}` is not a group and version"),
            Some("write it as in a manifest: `v1` or `batch/v1`".to_owned()),
        );
    }
    fits.then(|| text.to_owned())
}

/// A name of that form, or `*` for any.
pub(super) fn name_or_any(item: &Item<'_>, form: Name) -> Option<String> {
    if item.text()? == "*" {
        Some("*".to_owned())
    } else {
        name(item, form)
    }
}

/// Why a text has not the form that it must have.
pub(super) struct Misfit {
    pub(super) check: Check,
    pub(super) problem: String,
}

/// It has not.
pub(super) fn misfit(check: Check, problem: impl Into<String>) -> Result<(), Misfit> {
    let problem = problem.into();
    Err(Misfit { check, problem })
}

/// A pattern with placeholders, of which only `allowed` are known. `form` is what the text
/// must look like once placeholders are replaced.
pub(super) fn pattern(item: &Item<'_>, allowed: &[&str], form: impl Fn(&str) -> Result<(), Misfit>) -> Option<String> {
    let text = item.text()?;
    let mut filled = String::new();
    let mut rest = text;
    while let Some(start) = rest.find("{{") {
        filled.push_str(&rest[..start]);
        let Some(length) = rest[start..].find("}}") else {
            item.wrong(Check::PlaceholderClosed, "a placeholder is not closed with `}}`", None);
            return None;
        };
        let placeholder = rest[start + 2..start + length].trim();
        if !allowed.contains(&placeholder) {
            let known = allowed
                .iter()
                .map(|one| format!("`{{{{ {one} }}}}`"))
                .collect::<Vec<_>>()
                .join(", ");
            let hint = match (nearest(placeholder, allowed.iter().copied()), allowed.is_empty()) {
                (_, true) => "placeholders are not possible here".to_owned(),
                (Some(near), false) => format!("did you mean `{{{{ {near} }}}}`?"),
                (None, false) => format!("known here: {known}"),
            };
            item.wrong(
                Check::PlaceholderKnown,
                format!("unknown placeholder `{{{{ {placeholder} }}}}`"),
                Some(hint),
            );
            return None;
        }
        // A stand-in that is itself a valid name, and a path where the value is one.
        filled.push_str(if placeholder == ".subject.href" { "/x" } else { "x" });
        rest = &rest[start + length + 2..];
    }
    filled.push_str(rest);
    match form(&filled) {
        Ok(()) => Some(text.to_owned()),
        Err(Misfit { check, problem }) => {
            // Credentials that stand where they may not are not repeated.
            let shown = if text.contains('@') {
                "the text"
            } else {
                &format!("`{text}`")
            };
            item.wrong(check, format!("{shown} {problem}"), None);
            None
        }
    }
}

/// The form of an object's name. Kubernetes decides for each kind; RBAC objects may have colons.
pub(super) fn object_name(text: &str) -> Result<(), Misfit> {
    let fits = text.len() <= 253
        && text
            .chars()
            .all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || matches!(letter, '-' | '.' | ':'));
    if fits {
        Ok(())
    } else {
        misfit(
            Check::ObjectName,
            "is not an object's name: use lower-case letters, digits, `-`, `.` and `:`",
        )
    }
}

/// The form of a namespace, or `*` for any.
pub(super) fn namespace_pattern(text: &str) -> Result<(), Misfit> {
    if text == "*" || Name::Label.allows(text) {
        return Ok(());
    }
    misfit(
        Check::Namespace,
        "is not a namespace: use lower-case letters, digits and `-`, or `*` for any",
    )
}

/// The form of a path pattern: whole segments, `*` for one, a final `**` for the rest.
pub(super) fn path_pattern(text: &str) -> Result<(), Misfit> {
    let Some(path) = text.strip_prefix('/') else {
        return misfit(Check::PathAbsolute, "is not a path: it must begin with `/`");
    };
    let segments: Vec<&str> = path.split('/').collect();
    for (index, segment) in segments.iter().enumerate() {
        let last = index + 1 == segments.len();
        match *segment {
            "" => return misfit(Check::PathFull, "has an empty segment"),
            "." | ".." => return misfit(Check::PathDown, format!("has the segment `{segment}`")),
            "*" => {}
            "**" if last => {}
            "**" => return misfit(Check::PathRestLast, "has `**` before its end"),
            other if other.contains('*') => {
                return misfit(
                    Check::PathWholeSegments,
                    format!("has `*` within the segment `{other}`"),
                );
            }
            other if other.contains(['?', '#', ' ', '\\', '%']) => {
                return misfit(
                    Check::PathLetters,
                    format!("has a character in `{other}` that a path cannot have"),
                );
            }
            _ => {}
        }
    }
    Ok(())
}
