//! Checks that the blocks of a template balance.
//!
//! The parser that we use accepts an unclosed block and drops what follows a stray `end`, both silently. So every
//! action is looked at here first.

use crate::problem::Flaw;

/// An open block.
struct Open {
    keyword: &'static str,
    line: usize,
    column: usize,
    has_else: bool,
}

const OPENING: &[&str] = &["if", "range", "with", "define", "block"];

/// Finds the first thing that is out of balance.
pub(super) fn check(source: &str) -> Result<(), Flaw> {
    let mut open: Vec<Open> = Vec::new();
    let mut rest = source;
    while let Some(start) = rest.find("{{") {
        let offset = source.len() - rest.len() + start;
        let (line, column) = position(source, offset);
        let at = |message: String| Flaw::new(format!("{line}:{column}: {message}"));
        let inside = rest.get(start + 2..).unwrap_or_default();
        let Some((action, after)) = action(inside) else {
            return Err(at("the action is not closed".to_owned()).hint("close it with `}}`"));
        };
        rest = after;
        let mut words = action
            .split(|char: char| !char.is_ascii_alphanumeric() && char != '_')
            .filter(|w| !w.is_empty());
        let first = if action.starts_with(|char: char| char.is_ascii_alphabetic()) {
            words.next()
        } else {
            None
        };
        match first {
            Some("end") => {
                let stray =
                    || at("`{{ end }}` without a block".to_owned()).hint("remove it, or open a block before it");
                open.pop().ok_or_else(stray)?;
            }
            Some("else") => {
                let chained = matches!(words.next(), Some("if" | "with"));
                match open.last_mut() {
                    Some(block) if matches!(block.keyword, "if" | "range" | "with") && !block.has_else => {
                        block.has_else = !chained;
                    }
                    Some(_) | None => {
                        return Err(at("`{{ else }}` belongs to no block".to_owned())
                            .hint("it must follow `if`, `with` or `range`, once"));
                    }
                }
            }
            Some("break" | "continue") if !open.iter().any(|block| block.keyword == "range") => {
                return Err(at("`break` and `continue` belong into a `range`".to_owned()));
            }
            Some(word) => {
                if let Some(keyword) = OPENING.iter().find(|keyword| **keyword == word) {
                    open.push(Open {
                        keyword,
                        line,
                        column,
                        has_else: false,
                    });
                }
            }
            None => {}
        }
    }
    match open.pop() {
        None => Ok(()),
        Some(block) => Err(Flaw::new(format!(
            "{}:{}: `{}` is not closed",
            block.line, block.column, block.keyword
        ))
        .hint("add `{{ end }}`")),
    }
}

/// The text of an action without its trimming marks, and what follows it. None if it does not end.
fn action(inside: &str) -> Option<(&str, &str)> {
    let trimmed = inside.strip_prefix("- ").unwrap_or(inside).trim_start();
    if trimmed.starts_with("/*") {
        let comment_end = trimmed.find("*/")? + 2;
        let after = trimmed.get(comment_end..)?;
        let close = after.find("}}")? + 2;
        return Some(("", after.get(close..)?));
    }
    let mut quote: Option<char> = None;
    let mut escaped = false;
    for (index, char) in trimmed.char_indices() {
        match quote {
            Some(_) if escaped => escaped = false,
            Some('`') if char == '`' => quote = None,
            Some('`') => {}
            Some(_) if char == '\\' => escaped = true,
            Some(open) if char == open => quote = None,
            Some(_) => {}
            None if matches!(char, '"' | '\'' | '`') => quote = Some(char),
            None if trimmed.get(index..).is_some_and(|rest| rest.starts_with("}}")) => {
                return Some((trimmed.get(..index)?.trim_end(), trimmed.get(index + 2..)?));
            }
            None => {}
        }
    }
    None
}

/// Line and column, from 1.
fn position(source: &str, offset: usize) -> (usize, usize) {
    let before = source.get(..offset).unwrap_or_default();
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (
        before.matches('\n').count() + 1,
        before.get(line_start..).unwrap_or_default().chars().count() + 1,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(source: &str) -> Option<String> {
        check(source).err().map(|flaw| flaw.message)
    }

    #[test]
    fn balanced_blocks_pass() {
        for source in [
            "plain",
            "{{ if .a }}x{{ else if .b }}y{{ else }}z{{ end }}",
            "{{- range .xs -}}{{ if . }}{{ break }}{{ end }}{{- else -}}none{{- end -}}",
            "{{/* {{ if }} */}}",
            "{{ \"{{ if }}\" }}{{ `}}` }}",
            "{{ define \"x\" }}{{ end }}{{ template \"x\" . }}",
            "{{ .end }}{{ $if }}{{ endpoint }}",
        ] {
            assert_eq!(problem(source), None, "{source}");
        }
    }

    #[test]
    fn what_is_out_of_balance_is_told_with_its_place() {
        assert_eq!(
            problem("a{{ end }}b").as_deref(),
            Some("1:2: `{{ end }}` without a block")
        );
        assert_eq!(problem("a\n {{ if .x }}b").as_deref(), Some("2:2: `if` is not closed"));
        assert_eq!(
            problem("{{ else }}").as_deref(),
            Some("1:1: `{{ else }}` belongs to no block")
        );
        assert_eq!(
            problem("{{ if .a }}{{ else }}{{ else }}{{ end }}").as_deref(),
            Some("1:22: `{{ else }}` belongs to no block")
        );
        assert_eq!(problem("x {{ .a").as_deref(), Some("1:3: the action is not closed"));
        assert_eq!(
            problem("{{ break }}").as_deref(),
            Some("1:1: `break` and `continue` belong into a `range`")
        );
    }
}
