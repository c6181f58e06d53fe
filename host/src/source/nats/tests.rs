use std::time::Duration;

use async_nats::jetstream::AckKind;

use super::{Answer, answer};
use crate::source::Settle;

fn bytes(settle: &Settle) -> String {
    match answer(settle) {
        Answer::Kind(kind) => String::from_utf8_lossy(&bytes_of(kind)).into_owned(),
        Answer::Terminate(text) => text,
    }
}

fn bytes_of(kind: AckKind) -> Vec<u8> {
    match kind {
        AckKind::Ack => b"+ACK".to_vec(),
        AckKind::Nak(None) => b"-NAK".to_vec(),
        AckKind::Nak(Some(delay)) => format!("-NAK {}", delay.as_secs()).into_bytes(),
        other => format!("{other:?}").into_bytes(),
    }
}

#[test]
fn the_server_is_told_what_becomes_of_a_message() {
    assert_eq!(bytes(&Settle::Ack), "+ACK");
    assert_eq!(bytes(&Settle::RetryAfter(Duration::from_secs(9))), "-NAK 9");
    assert_eq!(bytes(&Settle::RetryAfter(Duration::ZERO)), "-NAK");
    let aside = Settle::SetAside {
        reason: "EventNotJson",
        message: "the event is not JSON:\n EOF".to_owned(),
    };
    assert_eq!(bytes(&aside), "+TERM EventNotJson: the event is not JSON: EOF");
}
