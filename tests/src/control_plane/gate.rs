//! A network path to the API server that a test can cut.

use std::{path::PathBuf, time::Duration};

use anyhow::Result;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

/// What becomes of connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Path {
    /// They get through.
    Open,
    /// They are cut, and new ones are refused.
    Refused,
    /// Nothing gets through any more, and nobody says so, as in a network partition.
    Silent,
}

/// A path to the API server of its own, on a port of its own. Closed when dropped.
#[derive(Debug)]
pub struct Gate {
    port: u16,
    path: watch::Sender<Path>,
    kubeconfig: PathBuf,
    listener: JoinHandle<()>,
}

impl Gate {
    pub(crate) fn new(port: u16, api: u16, kubeconfig: PathBuf) -> Self {
        let path = watch::Sender::new(Path::Open);
        let listener = tokio::spawn(listen(port, api, path.subscribe()));
        Self {
            port,
            path,
            kubeconfig,
            listener,
        }
    }

    /// A gate to any port of loopback.
    #[must_use]
    pub fn to(port: u16) -> Self {
        let [own] = super::free_ports();
        Self::new(own, port, PathBuf::new())
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The file that tells how to connect through it.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.kubeconfig.clone()
    }

    /// Sets what becomes of connections, those that exist included.
    pub fn set(&self, path: Path) {
        self.path.send_replace(path);
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.path.send_replace(Path::Refused);
        self.listener.abort();
    }
}

async fn listen(port: u16, api: u16, mut path: watch::Receiver<Path>) {
    loop {
        if path.wait_for(|path| *path != Path::Refused).await.is_err() {
            return;
        }
        let listener = match TcpListener::bind(("127.0.0.1", port)).await {
            Ok(listener) => listener,
            Err(_) => {
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            }
        };
        let offered = path.clone();
        loop {
            tokio::select! {
                accepted = listener.accept() => {
                    if let Ok((client, _)) = accepted {
                        tokio::spawn(connect(client, api, offered.clone()));
                    }
                }
                refused = path.wait_for(|path| *path == Path::Refused) => match refused {
                    Ok(_) => break,
                    Err(_) => return,
                },
            }
        }
    }
}

async fn connect(mut client: TcpStream, api: u16, path: watch::Receiver<Path>) {
    if let Err(error) = forward(&mut client, api, path).await {
        // Connections end in errors when they are cut; the clients are what is tested.
        drop(error);
    }
}

async fn forward(client: &mut TcpStream, api: u16, mut path: watch::Receiver<Path>) -> Result<()> {
    path.wait_for(|path| *path != Path::Silent).await?;
    let mut server = TcpStream::connect(("127.0.0.1", api)).await?;
    tokio::select! {
        ended = copy_bidirectional(client, &mut server) => {
            ended?;
            return Ok(());
        }
        changed = path.wait_for(|path| *path != Path::Open) => drop(changed?),
    }
    // What is on its way is lost with the connection, and nobody hears of it before the path is back.
    path.wait_for(|path| *path != Path::Silent).await?;
    Ok(())
}
