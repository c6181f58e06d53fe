//! A body on its way out.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::registry::remote::Sent;

/// The size of a piece, in bytes.
const PIECE: usize = 256 << 10;

/// Bytes that go out in pieces, each of which is told. The length is known before.
pub(super) struct Outgoing {
    rest: Bytes,
    sent: u64,
    told: Sent,
}

impl Outgoing {
    pub(super) fn new(bytes: Bytes, told: Sent) -> Self {
        Self {
            rest: bytes,
            sent: 0,
            told,
        }
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = self.get_mut();
        if this.rest.is_empty() {
            return Poll::Ready(None);
        }
        let piece = this.rest.split_to(this.rest.len().min(PIECE));
        this.sent += piece.len() as u64;
        (this.told)(this.sent);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}
