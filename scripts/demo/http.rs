//! Serves HTTP/1.1 and outlives impolite clients.

use std::convert::Infallible;
use std::future::Future;
use std::net::IpAddr;
use std::pin::pin;
use std::time::Duration;

use futures_util::future::{select, Either};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{HeaderName, HeaderValue, CONTENT_TYPE, HOST};
use hyper::http::uri::Authority;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{HeaderMap, StatusCode, Version};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

pub type Request = hyper::Request<Incoming>;
pub type Response = hyper::Response<UnsyncBoxBody<Bytes, Infallible>>;

/// The address that a connection comes from, attached to each of its requests.
#[derive(Clone, Copy)]
pub struct Peer(pub IpAddr);

/// A client that has not sent all of its headers by then is disconnected.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// The same for a body.
const BODY_TIMEOUT: Duration = Duration::from_secs(5);
/// Larger headers are answered with 431, larger bodies with 413.
const MAX_BYTES: usize = 16 * 1024;

/// Returns a plain text with a status.
pub fn text(status: StatusCode, text: impl Into<Bytes>) -> Response {
    let mut response = typed("text/plain; charset=utf-8", text);
    *response.status_mut() = status;
    response
}

/// Returns a document of this media type.
pub fn typed(media_type: &'static str, document: impl Into<Bytes>) -> Response {
    let mut response = Response::new(Full::new(document.into()).boxed_unsync());
    let media_type = HeaderValue::from_static(media_type);
    response.headers_mut().insert(CONTENT_TYPE, media_type);
    response
}

/// Returns the value of a header that must not be repeated.
///
/// # Errors
/// The header is repeated; contains the answer.
pub fn single<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> Result<Option<&'a HeaderValue>, String> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (value, None) => Ok(value),
        (_, Some(_)) => Err(format!("The header {name} comes twice\n")),
    }
}

/// Reads a request's body.
///
/// # Errors
/// The answer to a body that is too large, too slow or cut off.
pub async fn read(body: &mut Incoming) -> Result<Bytes, Response> {
    let (status, why) = match timeout(BODY_TIMEOUT, Limited::new(body, MAX_BYTES).collect()).await {
        Ok(Ok(read)) => return Ok(read.to_bytes()),
        Ok(Err(error)) if error.is::<hyper::Error>() => {
            (StatusCode::BAD_REQUEST, "The body is cut off\n")
        }
        Ok(Err(_)) => (StatusCode::PAYLOAD_TOO_LARGE, "The body is too large\n"),
        Err(_) => (StatusCode::REQUEST_TIMEOUT, "The body is too slow\n"),
    };
    Err(text(status, why))
}

/// Listens on an address.
///
/// # Errors
/// The system's, with the address.
pub async fn listen(address: &str) -> Result<TcpListener, String> {
    TcpListener::bind(address)
        .await
        .map_err(|error| format!("{address}: {error}"))
}

/// Serves until `stop` is ready, then serves the open connections for at most `grace`.
pub async fn serve<S, F>(
    listener: TcpListener,
    service: S,
    stop: impl Future<Output = ()>,
    grace: Duration,
) where
    S: Fn(Request) -> F + Clone + Send + 'static,
    F: Future<Output = Response> + Send + 'static,
{
    let open = GracefulShutdown::new();
    let mut stop = pin!(stop);
    loop {
        let accepted = match select(pin!(listener.accept()), &mut stop).await {
            Either::Left((accepted, _)) => accepted,
            Either::Right(_) => break,
        };
        match accepted {
            Ok((stream, peer)) => connect(stream, Peer(peer.ip()), service.clone(), &open),
            // Out of file descriptors, most likely: the open connections free them.
            Err(_) => sleep(Duration::from_millis(50)).await,
        }
    }
    drop(listener);
    let _ = timeout(grace, open.shutdown()).await;
}

fn connect<S, F>(stream: TcpStream, peer: Peer, service: S, open: &GracefulShutdown)
where
    S: Fn(Request) -> F + Clone + Send + 'static,
    F: Future<Output = Response> + Send + 'static,
{
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |mut request: Request| {
        request.extensions_mut().insert(peer);
        let answer = is_host_valid(&request).then(|| service(request));
        async move {
            Ok::<_, Infallible>(match answer {
                Some(response) => response.await,
                None => text(StatusCode::BAD_REQUEST, "One valid Host is needed\n"),
            })
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(MAX_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    tokio::spawn(open.watch(connection));
}

/// Returns whether the request has one valid Host; otherwise the answer is 400 (RFC 9112, 3.2).
/// Only HTTP/1.0 may omit it.
fn is_host_valid(request: &Request) -> bool {
    match single(request.headers(), &HOST) {
        Ok(None) => request.version() < Version::HTTP_11,
        Ok(Some(host)) => host.is_empty() || is_host(host.as_bytes()),
        Err(_) => false,
    }
}

fn is_host(host: &[u8]) -> bool {
    Authority::try_from(host).is_ok_and(|authority| {
        let port = authority.as_str().strip_prefix(authority.host());
        let port = port.map(|port| port.strip_prefix(':').unwrap_or(port));
        port.is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit()))
    })
}
