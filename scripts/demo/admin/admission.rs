//! Access to the operators' pages, and the origins from which requests are accepted.

use std::net::IpAddr;

use hyper::header::{
    HeaderName, HeaderValue, AUTHORIZATION, COOKIE, HOST, LOCATION, ORIGIN, SET_COOKIE,
    WWW_AUTHENTICATE,
};
use hyper::http::uri::Authority;
use hyper::{Method, StatusCode};
use ring::digest::{digest, SHA256};

use crate::http::{text, Request, Response};

/// The page on which a token may come in the address.
const ENTRY: &str = "/dashboard";
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

/// Returns the response to a request that is not let in, or that signs in; `None` lets it in. Without a
/// token, every user of this machine is let in.
pub fn refuse(token: Option<&str>, request: &Request) -> Option<Response> {
    let Some(token) = token else {
        // DNS rebinding: a foreign page whose name resolves to this machine sends that name.
        if !names_this_machine(host(request)) {
            let words = "Only as localhost, or set --admin-token\n";
            return Some(text(StatusCode::FORBIDDEN, words));
        }
        return refuse_if_lured(request);
    };
    if is(token, bearer(request)) {
        // No page can make a browser send this header to us.
        return None;
    }
    if is(token, cookie(request)) {
        return refuse_if_lured(request);
    }
    let query = request.uri().query().unwrap_or("");
    if request.uri().path() == ENTRY && is(token, query.strip_prefix("token=")) {
        return Some(entry(token));
    }
    let hint = "A token is needed: /dashboard?token=TOKEN, or 'Authorization: Bearer TOKEN'\n";
    let mut refusal = text(StatusCode::UNAUTHORIZED, hint);
    let challenge = HeaderValue::from_static("Bearer realm=\"demo\"");
    refusal.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    Some(refusal)
}

/// Refuses a request that another page makes a browser send: the browser marks it with these headers,
/// which a page cannot change. Following a link to a page is harmless.
///
/// Refuses a changing request that is not from this server's page; a browser sends the origin with
/// each POST.
fn refuse_if_lured(request: &Request) -> Option<Response> {
    let value = |name: &HeaderName| request.headers().get(name).map(HeaderValue::as_bytes);
    let site = value(&FETCH_SITE).is_none_or(|site| [&b"same-origin"[..], b"none"].contains(&site));
    let reads = [Method::GET, Method::HEAD].contains(request.method());
    let follows = reads && value(&FETCH_MODE) == Some(b"navigate");
    let origin = match value(&ORIGIN) {
        None => reads,
        Some(origin) => is_own(origin, host(request)),
    };
    if (site || follows) && origin {
        return None;
    }
    let words = "Only from the dashboard itself, or with 'Authorization: Bearer TOKEN'\n";
    Some(text(StatusCode::FORBIDDEN, words))
}

/// Returns whether an origin is this server: the same host and port. A proxy may terminate https.
fn is_own(origin: &[u8], host: &str) -> bool {
    let origin = std::str::from_utf8(origin).unwrap_or("");
    let authority = origin
        .strip_prefix("http://")
        .or_else(|| origin.strip_prefix("https://"));
    authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host))
}

/// Sets the cookie that lets the browser in from now on, and takes the token out of its address.
/// The target is fixed: a path from the request, such as `//evil.example`, may name another host.
fn entry(token: &str) -> Response {
    let mut response = text(StatusCode::SEE_OTHER, "");
    let headers = response.headers_mut();
    headers.insert(LOCATION, HeaderValue::from_static(ENTRY));
    let cookie = format!("token={token}; HttpOnly; SameSite=Strict; Path=/");
    if let Ok(cookie) = HeaderValue::try_from(cookie) {
        headers.insert(SET_COOKIE, cookie);
    }
    response
}

/// Returns the token of an Authorization header; the scheme is case-insensitive (RFC 9110, 11.1).
fn bearer(request: &Request) -> Option<&str> {
    let value = request.headers().get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then_some(token.trim_start())
}

fn cookie(request: &Request) -> Option<&str> {
    let value = request.headers().get(COOKIE)?.to_str().ok()?;
    let mut parts = value.split(';');
    parts.find_map(|part| part.trim().strip_prefix("token="))
}

/// Compares digests, so that the time reveals nothing about the token.
fn is(token: &str, said: Option<&str>) -> bool {
    said.is_some_and(|said| {
        digest(&SHA256, said.as_bytes()).as_ref() == digest(&SHA256, token.as_bytes()).as_ref()
    })
}

/// Returns the requested host: the target's own host takes precedence over the header (RFC 9112,
/// 3.2.2).
fn host(request: &Request) -> &str {
    let header = || request.headers().get(HOST)?.to_str().ok();
    let target = request.uri().authority().map(|a| a.as_str());
    target.or_else(header).unwrap_or("")
}

fn names_this_machine(host: &str) -> bool {
    let name = host.parse::<Authority>();
    let name = name.as_ref().map_or("", Authority::host);
    let ip = name.trim_matches(['[', ']']).parse::<IpAddr>();
    name.eq_ignore_ascii_case("localhost") || ip.is_ok_and(|ip| ip.to_canonical().is_loopback())
}
