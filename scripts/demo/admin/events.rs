//! What the page is sent each second, as server-sent events.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Bytes;
use hyper::header::{HeaderValue, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use hyper::StatusCode;
use tokio::sync::mpsc;

use super::Admin;
use crate::http::{text, Body, Response};

/// So many pages may be open at once.
const MAX_PAGES: usize = 100;
/// A page that has not taken an event by then is given up.
const PATIENCE: Duration = Duration::from_secs(10);

/// How many pages are open.
#[derive(Default)]
pub struct Pages(Arc<AtomicUsize>);

/// One of them, for as long as this lives.
struct Page(Arc<AtomicUsize>);

impl Pages {
    fn open(&self) -> Option<Page> {
        let page = Page(self.0.clone());
        (self.0.fetch_add(1, Ordering::Relaxed) < MAX_PAGES).then_some(page)
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Admin {
    /// The history, and then a snapshot each second for as long as the page is open.
    pub fn events(self: Arc<Self>) -> Response {
        let Some(page) = self.pages.open() else {
            let words = format!("{MAX_PAGES} pages are open already\n");
            let mut refusal = text(StatusCode::SERVICE_UNAVAILABLE, words);
            let soon = HeaderValue::from_static("10");
            refusal.headers_mut().insert(RETRY_AFTER, soon);
            return refusal;
        };
        let (sender, events) = mpsc::channel(1);
        tokio::spawn(self.send(sender, page));
        let mut response = Response::new(Body::Stream(events));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        response
    }

    async fn send(self: Arc<Self>, page: mpsc::Sender<Bytes>, _open: Page) {
        let mut snapshots = self.board.snapshots();
        let mut event = format!("event: history\ndata: {}\n\n", self.board.history());
        while page.send_timeout(event.into(), PATIENCE).await.is_ok() {
            let Ok(()) = snapshots.changed().await else {
                return;
            };
            event = format!("data: {}\n\n", *snapshots.borrow_and_update());
        }
    }
}
