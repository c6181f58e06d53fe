//! Reads one YAML document that must be a map.

use serde_json::Value as Json;

/// Reads it. Only `true` and `false` are booleans, `yes` and `on` are texts.
///
/// # Errors
/// What is wrong with the text, with line and column where that is known.
pub(crate) fn object(text: &str) -> Result<Json, String> {
    let options = serde_saphyr::options! { strict_booleans: true };
    let document: Json = serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let message = error.to_string();
        format!(
            "this is not one YAML document: {}",
            message.lines().next().unwrap_or_default()
        )
    })?;
    if document.is_object() {
        Ok(document)
    } else {
        Err("the YAML must be a map".to_owned())
    }
}
