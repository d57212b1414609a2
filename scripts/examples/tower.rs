//! Rate limits for axum, or whatever else is built of tower's layers, by the crate in ../clients/rust. The lines up to
//! the router are those of its README.

use axum::{extract::ConnectInfo, routing::get, Router};
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis_rl_client::{Caller, Limiter, RateLimit, Settings};
use std::{env, error::Error, net::SocketAddr};

async fn hello() -> &'static str {
    "Hello\n"
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = env::var("REDIS_URL").unwrap_or("redis://localhost".into());
    // Without retries: while Redis is away a call fails at once, rather than wait for one more try.
    let client = redis::Client::open(url)?;
    let config = ConnectionManagerConfig::new().set_number_of_retries(0);
    let connection = ConnectionManager::new_lazy_with_config(client, config)?;
    let limiter = Limiter::new(connection, Settings::default());
    limiter.check("limit:check").await?;
    let caller = Caller::default().header("X-Api-Key");
    let limit = RateLimit::new(limiter, "100/m".parse()?, 20).caller(caller, |parts| {
        parts
            .extensions
            .get::<ConnectInfo<SocketAddr>>()
            .map(|peer| peer.0.ip())
    });
    let app = Router::new().route("/", get(hello)).layer(limit);

    let port = env::var("PORT").unwrap_or("8000".into());
    let listener = tokio::net::TcpListener::bind(format!("127.0.0.1:{port}")).await?;
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    Ok(axum::serve(listener, app).await?)
}
