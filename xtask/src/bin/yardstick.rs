//! What the host is measured against: a bare axum server on the runtime that the host uses, which answers one constant.

use std::net::Ipv4Addr;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use axum::serve::ListenerExt as _;
use tokio::net::TcpListener;

/// Serves on the loopback port that is the only argument.
fn main() -> anyhow::Result<()> {
    let port: u16 = std::env::args().nth(1).unwrap_or_default().parse()?;
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(serve(port))
}

async fn serve(port: u16) -> anyhow::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    // As the host does: without it small answers would wait for an acknowledgement.
    let listener = listener.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    });
    let hello = || async { ([(CONTENT_TYPE, "application/json")], r#"{"message":"hello"}"#) };
    axum::serve(listener, Router::new().route("/", get(hello))).await?;
    Ok(())
}
