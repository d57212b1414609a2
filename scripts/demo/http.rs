//! Serves a router over HTTP/1.1 and outlives impolite clients.

use std::convert::Infallible;
use std::future::Future;
use std::time::Duration;

use axum::extract::Request;
use axum::Router;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{service_fn, Service};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};

use crate::caller::Peer;

/// A client that has not sent all of its headers by then is disconnected.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// Larger headers are answered with 431.
const MAX_HEADER_BYTES: usize = 16 * 1024;
/// How long requests in flight may go on when the server stops.
const GRACE: Duration = Duration::from_secs(1);

/// Serves `router` until `stop` is ready.
pub async fn serve(listener: TcpListener, router: Router, stop: impl Future<Output = ()>) {
    let open = GracefulShutdown::new();
    tokio::pin!(stop);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stop => break,
        };
        match accepted {
            Ok((stream, peer)) => connect(stream, Peer(peer.ip()), router.clone(), &open),
            // Out of file descriptors, most likely: the open connections free them.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
    let _ = tokio::time::timeout(GRACE, open.shutdown()).await;
}

fn connect(stream: TcpStream, peer: Peer, router: Router, open: &GracefulShutdown) {
    let _ = stream.set_nodelay(true);
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        let response = router.call(request);
        async move { Ok::<_, Infallible>(response.await.unwrap_or_else(|never| match never {})) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(MAX_HEADER_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    tokio::spawn(open.watch(connection));
}
