//! The load over REST: connections that ask without pause, on one thread, and check what comes back.

use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::turn::{Turn, Window, turn};
use crate::wire::Connection;

/// What is asked of one server, and what it has to answer.
#[derive(Clone)]
pub(crate) struct Load {
    /// Its port on loopback.
    pub(crate) port: u16,
    /// Its process.
    pub(crate) pid: u32,
    /// The whole requests; connections take turns at them.
    pub(crate) requests: Rc<[Vec<u8>]>,
    /// The status that a right answer has. 503 may be one that was refused for want of room; see [`Self::refusable`].
    pub(crate) status: u16,
    /// Whether 503 is an expected answer too, counted by itself.
    pub(crate) refusable: bool,
    /// What is in the body of every connection's first answer.
    pub(crate) body: &'static str,
    /// How many connections ask.
    pub(crate) connections: usize,
}

impl Load {
    /// Asks for so long, beyond a moment of warming up.
    ///
    /// # Errors
    /// Nothing could be asked at all. Wrong answers are counted.
    pub(crate) async fn run(&self, time: Duration) -> Result<Turn> {
        let load = self.clone();
        turn(self.pid, time, self.connections, async move |number, window| load.ask(number, window).await).await
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
        let Some(request) = self.requests.iter().cycle().nth(number) else { bail!("there is nothing to ask") };
        let mut connection = Connection::open(self.port).await?;
        let mut first = true;
        let mut begin = Instant::now();
        while part.goes_on(&window, begin) {
            let answer = connection.ask(request).await?;
            let end = Instant::now();
            if answer.status == self.status {
                if first && !String::from_utf8_lossy(answer.body).contains(self.body) {
                    bail!("{:?} is not in the answer {:?}", self.body, String::from_utf8_lossy(answer.body));
                }
                first = false;
                part.right(&window, begin, end);
            } else if self.refusable && answer.status == 503 {
                part.refusal(&window, end);
            } else {
                bail!("status {} instead of {}: {}", answer.status, self.status, String::from_utf8_lossy(answer.body));
            }
            begin = end;
        }
        Ok(())
    }
}
