//! What the page is sent each second, as server-sent events.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Bytes;
use hyper::header::{HeaderValue, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use hyper::StatusCode;
use tokio::sync::mpsc;
use tokio::time::{interval, MissedTickBehavior};

use super::Admin;
use crate::census::Census;
use crate::http::{text, Body, Response};
use crate::metrics::escaped;

/// Between two events.
const BEAT: Duration = Duration::from_secs(1);
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
    /// A snapshot each second, for as long as the page is open.
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
        let mut beat = interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            beat.tick().await;
            let census = self.census.get().await;
            let event = format!("data: {}\n\n", self.snapshot(census.as_ref().as_ref().ok()));
            if page.send_timeout(event.into(), PATIENCE).await.is_err() {
                return;
            }
        }
    }

    /// What the page shows, as JSON.
    fn snapshot(&self, census: Option<&Census>) -> String {
        let limiter = &self.limiter;
        let cost = limiter.costs.usual;
        let limits = limiter.demand.limits.iter();
        let limits = limits.map(|limit| format!("\"{}\"", escaped(&limit.words(cost))));
        let requests = limiter.metrics.requests();
        let requests = requests.map(|(outcome, count)| format!("\"{outcome}\":{count}"));
        let takes = limiter.metrics.takes();
        let takes = takes.map(|(bound, count)| format!("[{bound},{count}]"));
        let top = census.map(|census| {
            let offenders = census.top.iter().map(|offender| {
                format!(
                    "{{\"key\":\"{}\",\"denials\":{},\"error\":{},\"since\":{}}}",
                    escaped(&offender.shown()),
                    offender.denials,
                    offender.error,
                    offender.since
                )
            });
            format!("[{}]", joined(offenders))
        });
        format!(
            "{{\"up\":{},\"cost\":{cost},\"limits\":[{}],\"requests\":{{{}}},\"takes\":[{}],\
             \"top\":{}}}",
            limiter.store.is_up(),
            joined(limits),
            joined(requests),
            joined(takes),
            top.as_deref().unwrap_or("null"),
        )
    }
}

fn joined(items: impl Iterator<Item = String>) -> String {
    items.collect::<Vec<_>>().join(",")
}
