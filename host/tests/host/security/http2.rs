//! A client of HTTP/2 that takes as much as a test wants: the `h2` crate without anything around it.

use bytes::Bytes;
use h2::client::{Builder, ResponseFuture, SendRequest};
use h2::{Error, Reason};
use http::{HeaderMap, Method, Request};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// A connection and the task that runs it.
pub struct Connection {
    pub requests: SendRequest<Bytes>,
    pub task: JoinHandle<Result<(), Error>>,
    authority: String,
}

impl Connection {
    /// A connection to this address (`http://host:port`), each of whose streams takes so many bytes of an answer.
    pub async fn open(address: &str, window: u32) -> Self {
        let authority = address.strip_prefix("http://").unwrap().to_owned();
        let stream = TcpStream::connect(&authority).await.unwrap();
        let mut builder = Builder::new();
        builder.initial_window_size(window);
        let (requests, connection) = builder.handshake(stream).await.unwrap();
        Self { requests, task: tokio::spawn(connection), authority }
    }

    /// Sends a request with this body; none ends it with the head.
    pub async fn send(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&[u8]>,
    ) -> ResponseFuture {
        let mut request = Request::builder().method(method).uri(format!("http://{}{path}", self.authority));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let ready = self.requests.clone().ready().await.unwrap();
        self.requests = ready;
        let request = request.body(()).unwrap();
        let (response, mut send) = self.requests.send_request(request, body.is_none()).unwrap();
        if let Some(body) = body {
            send.send_data(Bytes::copy_from_slice(body), true).unwrap();
        }
        response
    }

    /// The status of an answer to GET, whose body is kept and not taken; none where the connection is closed.
    pub async fn try_get(&mut self, path: &str, headers: &[(&str, &str)]) -> Option<(u16, h2::RecvStream)> {
        self.requests = self.requests.clone().ready().await.ok()?;
        let response = self.send(Method::GET, path, headers, None).await.await.ok()?;
        Some((response.status().as_u16(), response.into_body()))
    }

    /// The status and the headers of an answer to GET, whose body is kept and not taken.
    pub async fn get(&mut self, path: &str, headers: &[(&str, &str)]) -> (u16, HeaderMap, h2::RecvStream) {
        let response = self.send(Method::GET, path, headers, None).await.await.unwrap();
        let (head, body) = response.into_parts();
        (head.status.as_u16(), head.headers, body)
    }
}

/// Reads until the stream ends, without ever giving back a byte of its window; the reason where it was reset.
pub async fn until_reset(mut body: h2::RecvStream) -> Option<Reason> {
    loop {
        match body.data().await {
            None => return None,
            Some(Ok(_)) => {}
            Some(Err(error)) => return error.reason(),
        }
    }
}
