//! Why a subscription ended, and what helps.

use std::{io, path::PathBuf, time::Duration};

use lapin::ErrorKind;

/// Why a subscription ended. No text holds a credential.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error("{file} cannot be read")]
    File {
        file: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the address of RabbitMQ is not usable: {0}; write it as `amqps://user@rabbitmq.example.com:5671/vhost`")]
    Address(String),
    #[error("cannot connect to RabbitMQ at {host}:{port}{hint}")]
    Connecting {
        host: String,
        port: u16,
        hint: &'static str,
        #[source]
        source: Box<lapin::Error>,
    },
    #[error("RabbitMQ refused to {doing}{hint}")]
    Refused {
        doing: Doing,
        hint: &'static str,
        #[source]
        source: Box<lapin::Error>,
    },
    #[error("the name `{0}` has more than 255 bytes")]
    NameTooLong(String),
    #[error("RabbitMQ did not answer within {0:?}")]
    Silent(Duration),
    #[error("RabbitMQ cancelled the consumer of the queue `{0}`: it was deleted, or its node went away")]
    Cancelled(String),
    #[error("RabbitMQ did not store a message in the dead-letter exchange `{0}`")]
    NotStored(String),
    #[error("the connection to RabbitMQ was lost")]
    Lost(#[source] lapin::Error),
    #[error("handling a message panicked; this is a defect of berth")]
    Panicked,
}

/// What was asked of the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Doing {
    Exchange(String),
    Queue(String),
    Bind(String),
    Consume(String),
}

impl std::fmt::Display for Doing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exchange(name) => write!(f, "declare the exchange `{name}`"),
            Self::Queue(name) => write!(f, "declare the queue `{name}`"),
            Self::Bind(name) => write!(f, "bind the queue `{name}`"),
            Self::Consume(name) => write!(f, "deliver from the queue `{name}`"),
        }
    }
}

impl Fault {
    pub(super) fn connecting(host: String, port: u16, source: lapin::Error) -> Self {
        let hint = match code(&source) {
            Some(ACCESS_REFUSED) => ": user name and password are not accepted",
            Some(NOT_ALLOWED) => ": the virtual host does not exist, or the user may not use it",
            Some(_) | None => "",
        };
        Self::Connecting {
            host,
            port,
            hint,
            source: Box::new(source),
        }
    }

    pub(super) fn refused(doing: Doing, source: lapin::Error) -> Self {
        match code(&source) {
            Some(code) => Self::Refused {
                hint: hint(code, &doing),
                doing,
                source: Box::new(source),
            },
            None => Self::Lost(source),
        }
    }
}

const ACCESS_REFUSED: u16 = 403;
const NOT_FOUND: u16 = 404;
const RESOURCE_LOCKED: u16 = 405;
const PRECONDITION_FAILED: u16 = 406;
const NOT_ALLOWED: u16 = 530;

/// The reply code, where the broker gave one.
pub(super) fn code(error: &lapin::Error) -> Option<u16> {
    match error.kind() {
        ErrorKind::ProtocolError(error) => Some(error.get_id()),
        _ => None,
    }
}

/// What helps against a reply code.
fn hint(code: u16, doing: &Doing) -> &'static str {
    match (code, doing) {
        (PRECONDITION_FAILED, Doing::Exchange(_)) => {
            ": it exists with another type; set `exchangeType` to the type that it has"
        }
        (PRECONDITION_FAILED, Doing::Queue(_)) => {
            ": it exists with other arguments; HyperFleet's queues are classic and have none, so `quorum` and \
             `deliveryLimit` must say what it was made with, or choose another `subscription`"
        }
        (ACCESS_REFUSED, Doing::Exchange(_) | Doing::Queue(_)) => {
            ": the user needs the right to configure it in this virtual host"
        }
        (ACCESS_REFUSED, Doing::Bind(_)) => {
            ": the user needs the rights to write the queue and to read the exchange in this virtual host"
        }
        (ACCESS_REFUSED, Doing::Consume(_)) => ": the user needs the right to read it, or somebody consumes it alone",
        (NOT_FOUND, _) => ": it does not exist",
        (RESOURCE_LOCKED, _) => ": it belongs to another connection alone",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conflict_names_the_setting_that_resolves_it() {
        let exchange = hint(PRECONDITION_FAILED, &Doing::Exchange("e".to_owned()));
        assert!(exchange.contains("`exchangeType`"), "{exchange}");
        let queue = hint(PRECONDITION_FAILED, &Doing::Queue("q".to_owned()));
        assert!(queue.contains("`quorum`"), "{queue}");
        assert_eq!(hint(PRECONDITION_FAILED, &Doing::Bind("q".to_owned())), "");
    }

    #[test]
    fn missing_rights_are_named() {
        let configure = hint(ACCESS_REFUSED, &Doing::Queue("q".to_owned()));
        assert!(configure.contains("configure"), "{configure}");
        let read = hint(ACCESS_REFUSED, &Doing::Consume("q".to_owned()));
        assert!(read.contains("read"), "{read}");
    }
}
