//! Single calls of gRPC by tonic's client, for what is not measured: it tells why a call fails, and nobody here wrote how it
//! reads an answer.

use anyhow::{Context, Result, anyhow};
use bytes::{Buf, BufMut, Bytes};
use http::uri::PathAndQuery;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::Endpoint;
use tonic::{Request, Status};

/// Calls once, on a connection of its own; answers the message's bytes.
///
/// # Errors
/// The server cannot be reached, or the status is another than OK.
pub(crate) async fn ask(port: u16, path: &'static str, token: Option<&str>, message: Bytes) -> Result<Bytes> {
    let channel = Endpoint::from_shared(format!("http://127.0.0.1:{port}"))?.connect().await;
    let mut client = Grpc::new(channel.with_context(|| format!("nobody answers gRPC on port {port}"))?);
    client.ready().await?;
    let mut request = Request::new(message);
    if let Some(token) = token {
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse()?);
    }
    let answer = client.unary(request, PathAndQuery::from_static(path), Raw).await;
    answer.map(tonic::Response::into_inner).map_err(|status| anyhow!("{path}: {status}"))
}

/// Messages as the bytes that they are.
#[derive(Debug, Clone, Copy)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}
