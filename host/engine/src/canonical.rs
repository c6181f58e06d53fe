//! JSON in one form, so that equal documents are equal texts: keys sorted, no blanks.

use serde_json::Value;

/// Writes `value` in canonical form.
#[must_use]
pub fn text(value: &Value) -> String {
    let mut text = String::with_capacity(1024);
    write(value, &mut text);
    text
}

/// Writes an object that has only some of its entries, in their order.
pub(crate) fn some<'v>(entries: impl Iterator<Item = (&'v String, &'v Value)>) -> String {
    let mut text = String::with_capacity(1024);
    write_entries(entries, &mut text);
    text
}

fn write(value: &Value, out: &mut String) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Number(number) => {
            use std::fmt::Write as _;
            // Writing to a string cannot fail.
            let _ = write!(out, "{number}");
        }
        Value::String(string) => write_string(string, out),
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write(item, out);
            }
            out.push(']');
        }
        Value::Object(map) => {
            // The map sorts its keys itself, unless some crate switches that off for all.
            if map.keys().is_sorted() {
                write_entries(map.iter(), out);
            } else {
                let mut entries: Vec<_> = map.iter().collect();
                entries.sort_unstable_by_key(|(key, _)| *key);
                write_entries(entries.into_iter(), out);
            }
        }
    }
}

fn write_entries<'v>(entries: impl Iterator<Item = (&'v String, &'v Value)>, out: &mut String) {
    out.push('{');
    for (index, (key, item)) in entries.enumerate() {
        if index > 0 {
            out.push(',');
        }
        write_string(key, out);
        out.push(':');
        write(item, out);
    }
    out.push('}');
}

/// Writes a JSON string with the least escaping.
fn write_string(string: &str, out: &mut String) {
    use std::fmt::Write as _;
    out.push('"');
    let is_plain = |byte: u8| byte >= 0x20 && byte != b'"' && byte != b'\\';
    // Most are plain. Without a way out of the loop, many bytes are looked at in one step.
    if string.bytes().fold(true, |all, byte| all & is_plain(byte)) {
        out.push_str(string);
        out.push('"');
        return;
    }
    let mut from = 0;
    for (at, byte) in string.bytes().enumerate() {
        if is_plain(byte) {
            continue;
        }
        out.push_str(&string[from..at]);
        from = at + 1;
        match byte {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            0x08 => out.push_str("\\b"),
            0x0c => out.push_str("\\f"),
            control => {
                // Writing to a string cannot fail.
                let _ = write!(out, "\\u{control:04x}");
            }
        }
    }
    out.push_str(&string[from..]);
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn keys_are_sorted_at_every_depth() {
        let value = json!({"b": [{"z": 1, "a": -2.5}], "a": {"y": null, "x": true}});
        assert_eq!(text(&value), r#"{"a":{"x":true,"y":null},"b":[{"a":-2.5,"z":1}]}"#);
    }

    #[test]
    fn strings_are_read_back_as_they_were() {
        let value = json!("quote \" back \\ line \n tab \t bell \u{7} umlaut ü snowman ☃ del \u{7f}");
        assert_eq!(serde_json::from_str::<Value>(&text(&value)).ok(), Some(value));
    }
}
