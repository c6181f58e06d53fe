//! What names look like.

/// Whether expressions and templates can spell it after a dot.
pub(crate) fn is_identifier(name: &str) -> bool {
    let mut chars = name.chars();
    chars
        .next()
        .is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
        && chars.all(|next| next.is_ascii_alphanumeric() || next == '_')
}

/// Whether it may name a step or an object: an identifier that may have hyphens inside.
pub(crate) fn is_name(name: &str) -> bool {
    is_identifier(&name.replace('-', "_")) && !name.starts_with('-') && !name.ends_with('-')
}

/// Whether it may be a condition's type or reason: PascalCase as Kubernetes has it.
pub(crate) fn is_pascal_case(name: &str) -> bool {
    name.chars().next().is_some_and(|first| first.is_ascii_uppercase())
        && name.chars().all(|next| next.is_ascii_alphanumeric())
}
