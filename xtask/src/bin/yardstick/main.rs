//! What the host is measured against, on the runtime that the host uses: a bare axum server that answers one constant, and
//! a bare tonic server that greets.

mod echo;
mod messages;

use std::net::Ipv4Addr;

use anyhow::Context;
use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use axum::serve::ListenerExt as _;
use tokio::net::TcpListener;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

/// Serves on the loopback ports that are the arguments: HTTP on the first, gRPC on the second.
fn main() -> anyhow::Result<()> {
    let mut ports = std::env::args().skip(1).map(|port| port.parse::<u16>());
    let mut port = || ports.next().context("two ports are needed");
    let (http, grpc) = (port()??, port()??);
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        // What answers last is bound first: whoever is answered by the one finds the other.
        let grpc = TcpIncoming::bind((Ipv4Addr::LOCALHOST, grpc).into())?.with_nodelay(Some(true));
        let grpc = async { Ok(Server::builder().add_service(echo::Kitchen).serve_with_incoming(grpc).await?) };
        tokio::try_join!(serve(http), grpc)?;
        Ok(())
    })
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
