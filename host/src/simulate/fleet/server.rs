//! The API over HTTP, on this machine only.

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{ConnectInfo, connect_info::Connected},
    http::{Request, Response, StatusCode, header::AUTHORIZATION},
    serve::{IncomingStream, Listener},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
};
use tokio_util::sync::{CancellationToken, DropGuard};
use url::Url;

use super::simulation::{Arrived, Outcome, Simulation};

/// No request is larger.
const LARGEST_REQUEST: usize = 4 * 1024 * 1024;

/// A running server. Dropping it ends it: its address refuses connections from then on.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    url: Url,
    simulation: Arc<Simulation>,
    _stop: DropGuard,
}

impl Server {
    /// Serves a simulation on a free port of the loopback address.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn spawn(simulation: Arc<Simulation>) -> io::Result<Self> {
        let listener = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let url = Url::parse(&format!("http://{address}")).map_err(io::Error::other)?;
        let stop = CancellationToken::new();
        let service = Self::router(Arc::clone(&simulation)).into_make_service_with_connect_info::<Line>();
        let stopped = stop.clone();
        tokio::spawn(async move {
            let cut = stopped.clone();
            let serve = axum::serve(Lines { listener, stopped }, service);
            // It ends by being told to, never by itself.
            let _ = serve.with_graceful_shutdown(cut.cancelled_owned()).await;
        });
        Ok(Self {
            address,
            url,
            simulation,
            _stop: stop.drop_guard(),
        })
    }

    /// The routes alone, for another listener. Where that tells nothing about connections,
    /// a dropped connection is answered with an empty 502.
    pub fn router(simulation: Arc<Simulation>) -> Router {
        Router::new().fallback(move |request| serve(Arc::clone(&simulation), request))
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it listens, for [`Settings`](crate::fleet::Settings).
    #[must_use]
    pub fn url(&self) -> Url {
        self.url.clone()
    }

    /// Drops every connection, old and new, until [`Server::heal`].
    pub fn partition(&self) {
        self.simulation.set_down(true);
    }

    /// Ends a partition.
    pub fn heal(&self) {
        self.simulation.set_down(false);
    }
}

async fn serve(simulation: Arc<Simulation>, request: Request<Body>) -> Result<Response<Body>, Infallible> {
    let (parts, body) = request.into_parts();
    let line = parts.extensions.get::<ConnectInfo<Line>>().map(|info| info.0.clone());
    let Ok(body) = to_bytes(body, LARGEST_REQUEST).await else {
        return Ok(empty(StatusCode::PAYLOAD_TOO_LARGE));
    };
    let outcome = simulation.answer(Arrived {
        method: parts.method.as_str(),
        path: parts.uri.path(),
        query: parts.uri.query(),
        authorization: parts.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()),
        body: &body,
    });
    let answer = match outcome {
        Outcome::Answered { after, response } => {
            if !after.is_zero() {
                simulation.clock().sleep(after).await;
            }
            response
        }
        Outcome::Dropped => {
            if let Some(line) = line {
                line.cut();
            }
            return Ok(empty(StatusCode::BAD_GATEWAY));
        }
    };
    let mut response = Response::new(Body::from(answer.body));
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    *response.headers_mut() = *answer.headers;
    Ok(response)
}

fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// A connection, as a handler sees it: something that can be cut.
#[derive(Debug, Clone, Default)]
struct Line(Arc<AtomicBool>);

impl Line {
    fn cut(&self) {
        self.0.store(true, Ordering::Release);
    }

    fn check(&self) -> io::Result<()> {
        if self.0.load(Ordering::Acquire) {
            Err(io::ErrorKind::ConnectionReset.into())
        } else {
            Ok(())
        }
    }
}

impl Connected<IncomingStream<'_, Lines>> for Line {
    fn connect_info(stream: IncomingStream<'_, Lines>) -> Self {
        stream.remote_addr().clone()
    }
}

/// Accepts connections that can be cut.
struct Lines {
    listener: TcpListener,
    stopped: CancellationToken,
}

impl Listener for Lines {
    type Io = Cuttable;
    type Addr = Line;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let (stream, _) = Listener::accept(&mut self.listener).await;
        let line = Line::default();
        (
            Cuttable {
                stream,
                line: line.clone(),
                stopped: self.stopped.clone(),
            },
            line,
        )
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        Ok(Line::default())
    }
}

struct Cuttable {
    stream: TcpStream,
    line: Line,
    stopped: CancellationToken,
}

impl Cuttable {
    fn check(&self) -> io::Result<()> {
        if self.stopped.is_cancelled() {
            Err(io::ErrorKind::ConnectionReset.into())
        } else {
            self.line.check()
        }
    }
}

impl AsyncRead for Cuttable {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.check()?;
        Pin::new(&mut this.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Cuttable {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.check()?;
        Pin::new(&mut this.stream).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.check()?;
        Pin::new(&mut this.stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}
