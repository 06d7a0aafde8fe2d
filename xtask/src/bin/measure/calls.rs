//! The load over gRPC: few connections with many calls at once on each, on one thread, and every answer checked.

use std::fmt::Debug;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use prost::Message;

use crate::grpc;
use crate::hpack::Head;
use crate::http2::Connection;
use crate::process::Server;
use crate::turn::{Turn, Window, turn};

/// Connections that calls are shared out to.
pub(crate) const CONNECTIONS: usize = 4;

/// What is called on one server, and what it has to answer.
#[derive(Clone)]
pub(crate) struct Calls {
    port: u16,
    pid: u32,
    head: Rc<Head>,
    /// Connections take turns at them.
    calls: Rc<[Call]>,
    /// Calls at once on each connection.
    places: usize,
}

/// A request and its answer, both with the prefix of gRPC.
struct Call {
    request: Vec<u8>,
    answer: Vec<u8>,
}

impl Calls {
    /// Calls of one method with these messages, so many at once. Each is made once by another client first, and `check` says
    /// whether its answer is right; later answers have to be the same.
    ///
    /// # Errors
    /// A call fails or is answered wrongly.
    pub(crate) async fn new<Q: Message, A: Message + Default + Debug>(
        server: &Server,
        path: &'static str,
        messages: &[Q],
        at_once: usize,
        check: impl Fn(&A) -> bool,
    ) -> Result<Self> {
        let mut calls = Vec::new();
        for message in messages {
            let request = message.encode_to_vec();
            let answer = grpc::ask(server.grpc_port, path, None, request.clone().into()).await?;
            let read = A::decode(answer.clone())?;
            if !check(&read) {
                bail!("{path} answers {read:?}");
            }
            calls.push(Call { request: with_prefix(&request)?, answer: with_prefix(&answer)? });
        }
        Ok(Self {
            port: server.grpc_port,
            pid: server.pid(),
            head: Rc::new(Head::new(path)),
            calls: calls.into(),
            places: at_once.div_ceil(CONNECTIONS),
        })
    }

    /// Calls for so long, beyond a moment of warming up.
    ///
    /// # Errors
    /// Nothing could be called at all. Wrong answers are counted.
    pub(crate) async fn run(&self, time: Duration) -> Result<Turn> {
        let calls = self.clone();
        turn(self.pid, time, CONNECTIONS, async move |number, window| calls.ask(number, window).await).await
    }

    /// One connection's part; after something went wrong it connects anew.
    async fn ask(&self, number: usize, window: Window) -> Turn {
        let mut part = Turn::default();
        while part.goes_on(&window, Instant::now()) {
            match self.ask_on_one(number, window, &mut part).await {
                Ok(()) => break,
                Err(error) => part.fail(format!("{error:#}")),
            }
        }
        part
    }

    async fn ask_on_one(&self, number: usize, window: Window, part: &mut Turn) -> Result<()> {
        let Some(call) = self.calls.iter().cycle().nth(number) else { bail!("there is nothing to ask") };
        let mut connection = Connection::open(self.port, self.places).await?;
        let mut begun = vec![Instant::now(); self.places];
        for place in 0..self.places {
            connection.call(place, &self.head, &call.request)?;
        }
        let (mut under_way, mut complete) = (self.places, Vec::new());
        while under_way > 0 {
            connection.wait(&mut complete).await?;
            let now = Instant::now();
            for place in complete.drain(..) {
                if connection.body(place) != call.answer {
                    bail!("another answer than before: {}", connection.body(place).escape_ascii());
                }
                if let Some(begin) = begun.get_mut(place) {
                    part.right(&window, std::mem::replace(begin, now), now);
                }
                if part.goes_on(&window, now) {
                    connection.call(place, &self.head, &call.request)?;
                } else {
                    under_way -= 1;
                }
            }
        }
        Ok(())
    }
}

/// A message that is not compressed, behind its length.
fn with_prefix(message: &[u8]) -> Result<Vec<u8>> {
    Ok([&[0][..], &u32::try_from(message.len())?.to_be_bytes(), message].concat())
}
