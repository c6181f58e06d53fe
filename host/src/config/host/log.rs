//! What `log.level` may be.

use tracing_subscriber::{EnvFilter, filter::LevelFilter};

use super::merge::unreadable;
use crate::config::units::Unreadable;

const HINT: &str = "write `error`, `warn`, `info`, `debug` or `trace`, or directives such as `info,berth=debug`";

/// Reads a level, or directives. A word alone must be a level: as the name of a target it would silence all else.
pub(super) fn level(text: &str) -> Result<String, Unreadable> {
    let refused = |word: &str| Err(unreadable(format!("`{word}` is not a log level"), HINT));
    for directive in text.split(',').map(str::trim) {
        let is_word = !directive.contains(['=', '[', '{']);
        if directive.is_empty() || is_word && directive.parse::<LevelFilter>().is_err() {
            return refused(directive);
        }
    }
    match EnvFilter::try_new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => refused(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_directives_are_read_and_whatever_silences_the_log_by_mistake_is_not() {
        for good in [
            "info",
            "ERROR",
            "off",
            "info,berth=debug",
            "warn,berth::queue=trace",
            "info,[reconcile{adapter=dns}]=debug",
        ] {
            assert!(level(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "inf",
            "berth",
            "info,berth",
            "berth=loud",
            "info,,debug",
            "info,berth=debug=x",
        ] {
            let told = level(bad).map_err(|refused| (refused.message, refused.hint));
            assert!(
                told.as_ref()
                    .is_err_and(|(message, hint)| message.ends_with("is not a log level") && hint == HINT),
                "{bad}: {told:?}"
            );
        }
    }
}
