//! A way to the broker that counts what is acknowledged on it.
//!
//! RabbitMQ tells how many messages are ready in a queue, and not, to its clients, how many are
//! still to be acknowledged. Whoever stands between sees every acknowledgement.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
    time::timeout,
};

/// A way to the broker. Closed when dropped.
pub(super) struct Way {
    port: u16,
    acknowledged: watch::Receiver<usize>,
    listener: JoinHandle<()>,
}

impl Drop for Way {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

impl Way {
    /// A way to this port of loopback.
    pub(super) async fn to(broker: u16) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        let (count, acknowledged) = watch::channel(0);
        let count = Arc::new(count);
        let listener = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let count = Arc::clone(&count);
                // A connection ends with its client or with the broker; whoever waits is told by time.
                tokio::spawn(async move { drop(forward(client, broker, &count).await) });
            }
        });
        Ok(Self {
            port,
            acknowledged,
            listener,
        })
    }

    /// Its port.
    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// How many messages were acknowledged on it.
    pub(super) fn acknowledged(&self) -> usize {
        *self.acknowledged.borrow()
    }

    /// Waits until so many messages were acknowledged on it.
    pub(super) async fn comes_to(&self, count: usize, patience: Duration) -> Result<()> {
        let mut acknowledged = self.acknowledged.clone();
        let all = acknowledged.wait_for(|all| *all >= count);
        timeout(patience, all)
            .await
            .with_context(|| format!("{} of {count} messages were acknowledged", self.acknowledged()))?
            .context("nobody counts any more")?;
        Ok(())
    }
}

async fn forward(client: TcpStream, broker: u16, count: &watch::Sender<usize>) -> std::io::Result<()> {
    let server = TcpStream::connect(("127.0.0.1", broker)).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
        (client.into_split(), server.into_split());
    let there = async {
        let mut frames = Frames::default();
        let mut bytes = vec![0; 64 << 10];
        loop {
            let some = from_client.read(&mut bytes).await?;
            if some == 0 {
                return Ok(());
            }
            to_server.write_all(&bytes[..some]).await?;
            let found = frames.acknowledgements(&bytes[..some]);
            if found > 0 {
                count.send_modify(|all| *all += found);
            }
        }
    };
    tokio::select! {
        ended = there => ended,
        ended = copy(&mut from_server, &mut to_client) => ended.map(drop),
    }
}

/// What a client of AMQP 0.9.1 sends, in frames.
#[derive(Default)]
struct Frames {
    greeted: bool,
    /// The begin of a frame whose end has not come yet.
    begun: Vec<u8>,
}

/// The protocol's name and version, which come before all frames.
const GREETING: usize = 8;
/// Type, channel and length of a frame.
const HEAD: usize = 7;
/// The octet after a frame.
const END: usize = 1;
const METHOD: u8 = 1;
/// `basic.ack`: its class and its method.
const ACK: [u8; 4] = [0, 60, 0, 80];

impl Frames {
    /// How many acknowledgements end in these bytes. Both clients acknowledge messages one by one.
    fn acknowledgements(&mut self, bytes: &[u8]) -> usize {
        self.begun.extend_from_slice(bytes);
        let mut at = 0;
        if !self.greeted {
            if self.begun.len() < GREETING {
                return 0;
            }
            (self.greeted, at) = (true, GREETING);
        }
        let mut found = 0;
        while let Some([kind, _, _, a, b, c, d]) = self.begun.get(at..at + HEAD) {
            let length = usize::try_from(u32::from_be_bytes([*a, *b, *c, *d])).unwrap_or(usize::MAX);
            let end = at.saturating_add(HEAD + END).saturating_add(length);
            let Some(frame) = self.begun.get(at + HEAD..end) else {
                break;
            };
            found += usize::from(*kind == METHOD && frame.starts_with(&ACK));
            at = end;
        }
        self.begun.drain(..at);
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&[kind, 0, 1], &length[..], payload, &[0xce]].concat()
    }

    #[test]
    fn acknowledgements_are_counted_however_the_bytes_are_cut() {
        let ack = frame(METHOD, &[&ACK[..], &[0, 0, 0, 0, 0, 0, 0, 9, 0]].concat());
        let nack = frame(METHOD, &[0, 60, 0, 120, 0, 0, 0, 0, 0, 0, 0, 9, 2]);
        let body = frame(3, &ACK);
        let heartbeat = frame(8, &[]);
        let sent = [&b"AMQP\0\0\x09\x01"[..], &ack, &nack, &heartbeat, &ack, &body, &ack].concat();
        for size in 1..=sent.len() {
            let mut frames = Frames::default();
            let found: usize = sent.chunks(size).map(|chunk| frames.acknowledgements(chunk)).sum();
            assert_eq!(found, 3, "in pieces of {size}");
            assert!(frames.begun.is_empty());
        }
    }

    #[tokio::test]
    async fn what_goes_through_is_not_changed_and_is_counted() {
        let broker = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let way = Way::to(broker.local_addr().unwrap().port()).await.unwrap();
        let mut client = TcpStream::connect(("127.0.0.1", way.port())).await.unwrap();
        let (mut server, _) = broker.accept().await.unwrap();
        let sent = [&b"AMQP\0\0\x09\x01"[..], &frame(METHOD, &ACK)].concat();
        client.write_all(&sent).await.unwrap();
        let mut arrived = vec![0; sent.len()];
        server.read_exact(&mut arrived).await.unwrap();
        assert_eq!(arrived, sent);
        server.write_all(b"hello").await.unwrap();
        let mut answered = [0; 5];
        client.read_exact(&mut answered).await.unwrap();
        assert_eq!(&answered, b"hello");
        way.comes_to(1, Duration::from_secs(60)).await.unwrap();
        assert!(way.comes_to(2, Duration::from_millis(1)).await.is_err());
    }
}
