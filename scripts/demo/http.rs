//! Serves HTTP/1.1 and outlives impolite clients.

use std::any::Any;
use std::convert::Infallible;
use std::future::{poll_fn, Future};
use std::net::IpAddr;
use std::pin::{pin, Pin};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::{select, Either};
use hyper::body::{Body as _, Bytes, Frame, Incoming, SizeHint};
use hyper::header::{HeaderValue, CONTENT_TYPE, HOST};
use hyper::http::uri::Authority;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{StatusCode, Version};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout, timeout_at, Instant};

pub type Request = hyper::Request<Incoming>;
pub type Response = hyper::Response<Body>;

/// The address that a connection comes from, attached to each of its requests.
#[derive(Clone, Copy)]
pub struct Peer(pub IpAddr);

/// A client that has not sent all of its headers by then is disconnected.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// The same for a body.
const BODY_TIMEOUT: Duration = Duration::from_secs(5);
/// Larger headers are answered with 431.
const MAX_HEADER_BYTES: usize = 16 * 1024;

/// What is sent back.
pub enum Body {
    Text(Bytes),
    /// Whatever comes, for as long as there is somebody who sends.
    Stream(mpsc::Receiver<Bytes>),
    /// Something else, until the last of which is sent this is kept.
    Keeping {
        body: Box<Body>,
        _kept: Box<dyn Any + Send>,
    },
}

/// A status and no body.
pub fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::Text(Bytes::new()));
    *response.status_mut() = status;
    response
}

/// A plain text with its status.
pub fn text(status: StatusCode, text: impl Into<Bytes>) -> Response {
    let mut response = typed("text/plain; charset=utf-8", text);
    *response.status_mut() = status;
    response
}

/// A document of this media type.
pub fn typed(media_type: &'static str, document: impl Into<Bytes>) -> Response {
    let mut response = Response::new(Body::Text(document.into()));
    let media_type = HeaderValue::from_static(media_type);
    response.headers_mut().insert(CONTENT_TYPE, media_type);
    response
}

/// Reads a request's body, of at most so many bytes.
///
/// # Errors
/// What to answer to a body that is too large, too slow or cut off.
pub async fn read(body: &mut Incoming, most: usize) -> Result<Vec<u8>, (StatusCode, &'static str)> {
    let mut bytes = Vec::new();
    let all = async {
        while let Some(frame) = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await {
            let frame = frame.map_err(|_| (StatusCode::BAD_REQUEST, "The body is cut off\n"))?;
            bytes.extend_from_slice(frame.data_ref().unwrap_or(&Bytes::new()));
            if bytes.len() > most {
                return Err((StatusCode::PAYLOAD_TOO_LARGE, "The body is too large\n"));
            }
        }
        Ok(())
    };
    match timeout(BODY_TIMEOUT, all).await {
        Ok(read) => read.map(|()| bytes),
        Err(_) => Err((StatusCode::REQUEST_TIMEOUT, "The body is too slow\n")),
    }
}

/// Serves until `stop` is ready, and from then on those who were there until the time that it
/// tells.
pub async fn serve<S, F>(listener: TcpListener, service: S, stop: impl Future<Output = Instant>)
where
    S: Fn(Request) -> F + Clone + Send + 'static,
    F: Future<Output = Response> + Send + 'static,
{
    let open = GracefulShutdown::new();
    let mut stop = pin!(stop);
    let end = loop {
        let accepted = match select(pin!(listener.accept()), &mut stop).await {
            Either::Left((accepted, _)) => accepted,
            Either::Right((end, _)) => break end,
        };
        match accepted {
            Ok((stream, peer)) => connect(stream, Peer(peer.ip()), service.clone(), &open),
            // Out of file descriptors, most likely: the open connections free them.
            Err(_) => sleep(Duration::from_millis(50)).await,
        }
    };
    drop(listener);
    let _ = timeout_at(end, open.shutdown()).await;
}

fn connect<S, F>(stream: TcpStream, peer: Peer, service: S, open: &GracefulShutdown)
where
    S: Fn(Request) -> F + Clone + Send + 'static,
    F: Future<Output = Response> + Send + 'static,
{
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |mut request: Request| {
        request.extensions_mut().insert(peer);
        let answer = match host_is_told(&request) {
            true => Ok(service(request)),
            false => Err(text(StatusCode::BAD_REQUEST, "One valid Host is needed\n")),
        };
        async move {
            Ok::<_, Infallible>(match answer {
                Ok(response) => response.await,
                Err(refusal) => refusal,
            })
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(MAX_HEADER_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    tokio::spawn(open.watch(connection));
}

/// RFC 9112, 3.2: without a Host, with two or with one that is none, the answer is 400. Only
/// HTTP/1.0 may leave it out.
fn host_is_told(request: &Request) -> bool {
    let mut hosts = request.headers().get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) => request.version() < Version::HTTP_11,
        (Some(host), None) => host.is_empty() || is_host(host.as_bytes()),
        (Some(_), Some(_)) => false,
    }
}

fn is_host(host: &[u8]) -> bool {
    Authority::try_from(host).is_ok_and(|authority| {
        let port = authority.as_str().strip_prefix(authority.host());
        let port = port.map(|port| port.strip_prefix(':').unwrap_or(port));
        port.is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit()))
    })
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Text(text) if text.is_empty() => Poll::Ready(None),
            Self::Text(text) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(text))))),
            Self::Stream(stream) => stream
                .poll_recv(cx)
                .map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes)))),
            Self::Keeping { body, .. } => Pin::new(body.as_mut()).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Text(text) => text.is_empty(),
            Self::Stream(_) => false,
            Self::Keeping { body, .. } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Text(text) => SizeHint::with_exact(text.len() as u64),
            Self::Stream(_) => SizeHint::default(),
            Self::Keeping { body, .. } => body.size_hint(),
        }
    }
}
