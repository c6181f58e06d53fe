//! Where plugins may come from.

use std::{fmt, str::FromStr};

use super::reference::Repository;

/// A text that lists nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` lists no repositories: `registry/path`, `registry/path/*`, `registry/*` or `*` do")]
pub struct AllowError(String);

/// One line of the list of repositories.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Allow {
    /// `*`: every repository of every registry.
    Everything,
    /// `registry/path/*`: every repository below; whole words only, so `a/b/*` does not cover `a/bc`.
    Below(String),
    /// `registry/path`: this one.
    One(Repository),
}

impl Allow {
    /// Whether this line covers `repository`.
    #[must_use]
    pub fn covers(&self, repository: &Repository) -> bool {
        match self {
            Self::Everything => true,
            Self::Below(prefix) => repository.to_string().starts_with(prefix),
            Self::One(one) => one == repository,
        }
    }
}

impl FromStr for Allow {
    type Err = AllowError;

    fn from_str(text: &str) -> Result<Self, AllowError> {
        let bad = || AllowError(super::reference::shortened(text));
        if text == "*" {
            return Ok(Self::Everything);
        }
        match text.strip_suffix("/*") {
            Some(prefix) => {
                // Read as the repository `x` below it, so that the same rules hold.
                let below: Repository = format!("{prefix}/x").parse().map_err(|_| bad())?;
                let below = below.to_string();
                Ok(Self::Below(below[..below.len() - 1].to_owned()))
            }
            None => text.parse().map(Self::One).map_err(|_| bad()),
        }
    }
}

impl fmt::Display for Allow {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everything => to.write_str("*"),
            Self::Below(prefix) => write!(to, "{prefix}*"),
            Self::One(one) => one.fmt(to),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_covers_what_it_says_and_no_more() {
        for (line, repository, covered) in [
            ("*", "registry.example.com/a", true),
            ("registry.example.com/*", "registry.example.com/a/b", true),
            ("registry.example.com/*", "registry.example.com.evil.org/a", false),
            ("registry.example.com/*", "registry.example.com:5000/a", false),
            ("registry.example.com/a/*", "registry.example.com/a/b", true),
            ("registry.example.com/a/*", "registry.example.com/ab/c", false),
            ("registry.example.com/a/*", "registry.example.com/a", false),
            ("registry.example.com/a", "registry.example.com/a", true),
            ("registry.example.com/a", "registry.example.com/a/b", false),
            ("Registry.Example.com/a", "registry.example.com/a", true),
        ] {
            let allow: Allow = line.parse().unwrap();
            assert_eq!(
                allow.covers(&repository.parse().unwrap()),
                covered,
                "{line} {repository}"
            );
        }
    }

    #[test]
    fn a_line_that_lists_nothing_is_refused() {
        for line in [
            "",
            "a",
            "/*",
            "*/*",
            "registry.example.com/a*",
            "registry.example.com",
            "*.example.com/a",
        ] {
            assert!(line.parse::<Allow>().is_err(), "{line}");
        }
    }
}
