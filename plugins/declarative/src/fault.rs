//! Why an expression or a template gave nothing.

/// Why an expression or a template gave nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// A field that it reads does not exist (yet), or is null.
    Missing {
        /// Which one, from its root: `objects.job.status`. As much of it as is known.
        path: String,
    },
    /// It cannot be evaluated over these facts, whatever is added to them: wrong types, division by zero.
    Broken {
        /// What is wrong.
        message: String,
    },
}

impl Fault {
    /// A field that does not exist.
    pub fn missing(path: impl Into<String>) -> Self {
        Self::Missing { path: path.into() }
    }

    /// Anything else.
    pub fn broken(message: impl Into<String>) -> Self {
        Self::Broken {
            message: message.into(),
        }
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Missing { path } => write!(f, "`{path}` does not exist yet"),
            Self::Broken { message } => f.write_str(message),
        }
    }
}
