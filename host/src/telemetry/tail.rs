//! The last log lines of each plugin, kept in memory for administrators who look or follow: what the plugin wrote, and what
//! the host has to say of it. By the id of the plugin, so that a reader stays over a swap.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dashmap::DashMap;
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use jiff::Timestamp;
use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::broadcast::{self, error::RecvError};

use super::escape;
use crate::request_id::RequestId;

/// A follower may fall behind by so many lines at least, however few are kept.
const MIN_BEHIND: usize = 64;

/// How much a line matters. In JSON a word in lower case, as the enum `log-level` of the plugin service has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// For whoever writes the plugin.
    Trace,
    /// For whoever looks for a fault.
    Debug,
    /// What happened.
    Info,
    /// What somebody should look at.
    Warn,
    /// What went wrong.
    Error,
}

/// A line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    /// When it was written.
    pub at: Timestamp,
    /// How much it matters.
    pub level: Level,
    /// What it says.
    pub message: String,
    /// What belongs to it.
    pub fields: Vec<Field>,
    /// The request that it was written for; absent where the host says something of itself.
    #[serde(serialize_with = "id_as_text")]
    pub request_id: Option<RequestId>,
}

/// A value of a line with its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Field {
    /// The name.
    pub name: String,
    /// The value.
    pub value: String,
}

fn id_as_text<S: serde::Serializer>(id: &Option<RequestId>, serializer: S) -> Result<S::Ok, S::Error> {
    id.as_ref().map(RequestId::as_str).serialize(serializer)
}

/// The tails of all plugins. A plugin has one from the first time that it is asked for until it is forgotten.
pub struct Tails {
    tails: DashMap<Box<str>, Arc<Tail>>,
    keep: usize,
    line_bytes: usize,
    lines_per_second: NonZeroU32,
}

impl Tails {
    /// Tails that keep the last `keep` lines of each plugin, each of at most `line_bytes`. A plugin may write
    /// `lines_per_second` (at least one), and as many at once after a pause.
    #[must_use]
    pub fn new(keep: usize, line_bytes: usize, lines_per_second: u32) -> Self {
        let lines_per_second = NonZeroU32::new(lines_per_second).unwrap_or(NonZeroU32::MIN);
        Self { tails: DashMap::new(), keep, line_bytes, lines_per_second }
    }

    /// The tail of this plugin, an empty one where there was none.
    #[must_use]
    pub fn of(&self, plugin: &str) -> Arc<Tail> {
        if let Some(tail) = self.tails.get(plugin) {
            return tail.clone();
        }
        let new = || {
            Arc::new(Tail {
                keep: self.keep,
                line_bytes: self.line_bytes,
                state: Mutex::default(),
                lines: RateLimiter::direct(Quota::per_second(self.lines_per_second)),
                notes: RateLimiter::direct(Quota::per_second(NonZeroU32::MIN)),
                dropped: AtomicU64::new(0),
            })
        };
        self.tails.entry(plugin.into()).or_insert_with(new).clone()
    }

    /// The plugin is gone: what is kept of it too, and who follows it is at the end.
    pub fn forget(&self, plugin: &str) {
        if let Some((_, tail)) = self.tails.remove(plugin) {
            *tail.state.lock() = State::default();
        }
    }
}

/// The last lines of one plugin.
pub struct Tail {
    keep: usize,
    line_bytes: usize,
    state: Mutex<State>,
    /// The lines that the plugin may write, over all its versions and calls.
    lines: DefaultDirectRateLimiter,
    /// How often it is said that some were dropped.
    notes: DefaultDirectRateLimiter,
    /// Lines that were dropped since that was last said.
    dropped: AtomicU64,
}

#[derive(Default)]
struct State {
    /// Oldest first.
    lines: VecDeque<Arc<Line>>,
    /// Only where somebody follows.
    live: Option<broadcast::Sender<Arc<Line>>>,
}

impl Tail {
    /// Takes one of the lines that the plugin may write in a second. None where there is no more; else how many lines were
    /// dropped and are to be mentioned before this one, which happens once a second.
    #[must_use]
    pub fn admit(&self) -> Option<u64> {
        if self.lines.check().is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        if self.dropped.load(Ordering::Relaxed) == 0 || self.notes.check().is_err() {
            return Some(0);
        }
        Some(self.dropped.swap(0, Ordering::Relaxed))
    }

    /// A line that the plugin has written while it served this request: one line, in which line feeds and commands to a
    /// terminal are escaped, cut at the limit of a line.
    pub fn write<'f>(
        &self,
        level: Level,
        message: &str,
        fields: impl IntoIterator<Item = (&'f str, &'f str)>,
        request_id: Option<RequestId>,
    ) {
        // Escaping makes text longer; it is cut before, so that no more than a line is escaped, and after.
        let message = escape::line(clip(message, self.line_bytes));
        let message = clip(&message, self.line_bytes);
        let fields: Vec<(Cow<'_, str>, Cow<'_, str>)> = clip_fields(fields, self.line_bytes - message.len())
            .map(|(name, value)| (escape::line(name), escape::line(value)))
            .collect();
        let fields = fields.iter().map(|(name, value)| (&**name, &**value));
        let fields = clip_fields(fields, self.line_bytes - message.len());
        let line = Arc::new(Line {
            at: Timestamp::now(),
            level,
            message: message.to_owned(),
            fields: fields.map(|(name, value)| Field { name: name.to_owned(), value: value.to_owned() }).collect(),
            request_id,
        });
        let mut state = self.state.lock();
        if state.live.as_ref().is_some_and(|live| live.send(line.clone()).is_err()) {
            // The last one who followed has left.
            state.live = None;
        }
        state.lines.push_back(line);
        while state.lines.len() > self.keep {
            state.lines.pop_front();
        }
    }

    /// Something that the host has to say of the plugin, beside what it tells its own log.
    pub fn say(&self, level: Level, message: &str) {
        self.write(level, message, [], None);
    }

    /// The last lines, so many at most, oldest first.
    #[must_use]
    pub fn read(&self, last: usize) -> Reader {
        let state = self.state.lock();
        Reader { past: state.last(last), live: None }
    }

    /// The same, and whatever is written from now on.
    #[must_use]
    pub fn follow(&self, last: usize) -> Reader {
        // Under one lock: no line is there twice, and none is missing between the two.
        let mut state = self.state.lock();
        let behind = self.keep.max(MIN_BEHIND);
        let live = state.live.get_or_insert_with(|| broadcast::channel(behind).0).subscribe();
        Reader { past: state.last(last), live: Some(live) }
    }
}

impl State {
    fn last(&self, last: usize) -> VecDeque<Arc<Line>> {
        self.lines.iter().skip(self.lines.len().saturating_sub(last)).cloned().collect()
    }
}

/// The lines of a plugin, one after the other.
pub struct Reader {
    past: VecDeque<Arc<Line>>,
    live: Option<broadcast::Receiver<Arc<Line>>>,
}

impl Reader {
    /// The next line, and how many before it were missed because the reader was too slow. None where no more will come.
    pub async fn next(&mut self) -> Option<(Arc<Line>, u64)> {
        if let Some(line) = self.past.pop_front() {
            return Some((line, 0));
        }
        let live = self.live.as_mut()?;
        let mut missed = 0_u64;
        loop {
            match live.recv().await {
                Ok(line) => return Some((line, missed)),
                Err(RecvError::Lagged(lines)) => missed += lines,
                Err(RecvError::Closed) => return None,
            }
        }
    }
}

/// The longest start of `text` that is no longer than `max` bytes.
#[must_use]
pub fn clip(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}

/// The fields that fit into so many bytes, the last of them cut.
pub fn clip_fields<'f>(
    fields: impl IntoIterator<Item = (&'f str, &'f str)>,
    max: usize,
) -> impl Iterator<Item = (&'f str, &'f str)> {
    let mut rest = max;
    fields.into_iter().map_while(move |(name, value)| {
        let value = clip(value, rest);
        // An equals sign and a space go with each.
        rest = rest.saturating_sub(name.len() + value.len() + 2);
        (rest > 0).then_some((name, value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(lines: &[(Arc<Line>, u64)]) -> Vec<(&str, u64)> {
        lines.iter().map(|(line, missed)| (line.message.as_str(), *missed)).collect()
    }

    async fn take(reader: &mut Reader, count: usize) -> Vec<(Arc<Line>, u64)> {
        let mut lines = Vec::new();
        for _ in 0..count {
            lines.push(reader.next().await.unwrap());
        }
        lines
    }

    #[tokio::test]
    async fn the_last_lines_are_kept_and_no_more() {
        let tails = Tails::new(3, 64, 1000);
        for n in 0..5 {
            tails.of("acme/x").say(Level::Info, &n.to_string());
        }
        tails.of("acme/y").say(Level::Warn, "other");
        let mut reader = tails.of("acme/x").read(10);
        assert_eq!(texts(&take(&mut reader, 3).await), [("2", 0), ("3", 0), ("4", 0)]);
        assert!(reader.next().await.is_none());
        let mut reader = tails.of("acme/x").read(1);
        assert_eq!(texts(&take(&mut reader, 1).await), [("4", 0)]);
        assert!(reader.next().await.is_none());
        assert!(tails.of("acme/z").read(10).next().await.is_none());
    }

    #[tokio::test]
    async fn a_follower_goes_on_where_the_past_ends() {
        let tails = Tails::new(3, 64, 1000);
        let tail = tails.of("acme/x");
        tail.say(Level::Info, "a");
        let mut reader = tail.follow(10);
        tail.say(Level::Info, "b");
        assert_eq!(texts(&take(&mut reader, 2).await), [("a", 0), ("b", 0)]);
        drop(reader);
        tail.say(Level::Info, "c");
        assert!(tail.state.lock().live.is_none(), "nobody follows any more");
    }

    #[tokio::test]
    async fn who_is_too_slow_is_told_what_was_missed() {
        let tails = Tails::new(2, 64, 1000);
        let tail = tails.of("acme/x");
        let mut reader = tail.follow(0);
        for n in 0..MIN_BEHIND + 5 {
            tail.say(Level::Info, &n.to_string());
        }
        assert_eq!(texts(&take(&mut reader, 2).await), [("5", 5), ("6", 0)]);
    }

    #[tokio::test]
    async fn a_plugin_that_is_gone_ends_its_followers() {
        let tails = Tails::new(2, 64, 1000);
        let tail = tails.of("acme/x");
        tail.say(Level::Info, "a");
        let mut reader = tail.follow(1);
        tails.forget("acme/x");
        assert_eq!(texts(&take(&mut reader, 1).await), [("a", 0)]);
        assert!(reader.next().await.is_none());
        assert!(tails.of("acme/x").read(1).next().await.is_none());
    }

    #[test]
    fn a_line_holds_no_other() {
        let tails = Tails::new(1, 64, 1000);
        let tail = tails.of("acme/x");
        tail.write(Level::Info, "a\nb\u{2028}c\u{1b}", [("k\r", "v\u{85}")], None);
        let line = tail.state.lock().lines[0].clone();
        assert_eq!(line.message, r"a\nb\u{2028}c\u{1b}");
        assert_eq!(line.fields, [Field { name: r"k\r".into(), value: r"v\u{85}".into() }]);
        tail.write(Level::Info, &"\u{1b}".repeat(100), [], None);
        assert!(tail.state.lock().lines[0].message.len() <= 64);
    }

    #[test]
    fn a_plugin_writes_so_many_lines_a_second_and_what_is_missing_is_said() {
        let tails = Tails::new(1, 64, 10);
        let tail = tails.of("acme/x");
        let admitted = (0..1000).filter(|_| tail.admit().is_some()).count();
        // More only where this took longer than it should.
        assert!((10..500).contains(&admitted), "{admitted}");
        assert!(tails.of("acme/y").admit().is_some(), "another plugin");
        let told: u64 = std::iter::from_fn(|| {
            std::thread::yield_now();
            Some(tail.admit().unwrap_or(0))
        })
        .find(|told| *told > 0)
        .unwrap();
        assert!(told >= 500, "{told}");
    }

    #[test]
    fn long_lines_are_cut() {
        let tails = Tails::new(1, 16, 1000);
        let tail = tails.of("acme/x");
        tail.write(Level::Error, &"ü".repeat(20), [("k", "v")], None);
        let line = tail.state.lock().lines[0].clone();
        assert_eq!((line.message.len(), line.fields.len()), (16, 0));
        tail.write(Level::Error, "abc", [("k", "v"), ("long", "0123456789")], Some(RequestId::random()));
        let line = tail.state.lock().lines[0].clone();
        assert_eq!(line.fields, [Field { name: "k".into(), value: "v".into() }]);
        let json = serde_json::to_value(&*line).unwrap();
        assert_eq!((&json["level"], &json["fields"][0]["name"]), (&"error".into(), &"k".into()));
        assert_eq!(json["request_id"].as_str().unwrap().len(), 32);
    }
}
