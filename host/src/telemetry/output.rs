//! Standard output and standard error, each behind a bounded queue and a thread of its own.
//!
//! Where nobody reads, or the disk is full, only that thread waits or fails: a line that finds no room is dropped and counted,
//! and once lines go out again one of them says how many are missing. The queue is bounded by bytes, because the length of
//! lines differs by three orders of magnitude.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

/// The queue of an output for which nothing was set, in bytes.
pub const DEFAULT_BUFFER: usize = 1 << 20;
/// How long the end of the process waits for lines to be written, where nothing was set.
pub const DEFAULT_FLUSH: Duration = Duration::from_millis(500);
/// The pause before an output that takes nothing for now is tried again.
const TRY_AGAIN: Duration = Duration::from_millis(10);

/// What says how many lines are missing: a whole line, with its line feed.
type Notice = Box<dyn Fn(u64) -> String + Send>;

/// An output.
pub struct Output {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    /// Something is in the queue.
    work: Condvar,
    /// Everything is written.
    idle: Condvar,
    buffer: AtomicUsize,
    full: AtomicU64,
    failed: AtomicU64,
}

#[derive(Default)]
struct Queue {
    lines: Vec<u8>,
    /// Lines that were dropped after those in the queue.
    refused: u64,
    /// Bytes that the thread took out and is writing.
    under_way: usize,
    /// How missing lines are told; nothing tells them where it is not set.
    notice: Option<Notice>,
}

impl Output {
    /// An output to `sink`, whose queue holds `buffer` bytes. The same again may be under way to the sink.
    fn start(sink: impl Write + Send + 'static, buffer: usize) -> Self {
        let shared = Arc::new(Shared { buffer: AtomicUsize::new(buffer), ..Shared::default() });
        let writer = Writer { sink, lost: 0, torn: false };
        let own = shared.clone();
        let thread = std::thread::Builder::new().name("arcana-output".into()).spawn(move || writer.run(&own));
        if thread.is_err() {
            // Without its thread an output takes nothing, as if nobody read.
            shared.buffer.store(0, Ordering::Relaxed);
        }
        Self { shared }
    }

    /// Queues lines, each with its line feed, or drops and counts them. Never waits for the output.
    pub fn write(&self, lines: &[u8]) {
        let mut queue = self.shared.queue.lock();
        if queue.lines.len().saturating_add(lines.len()) > self.shared.buffer.load(Ordering::Relaxed) {
            let count = count(lines);
            queue.refused += count;
            self.shared.full.fetch_add(count, Ordering::Relaxed);
            return;
        }
        let was_empty = queue.lines.is_empty();
        queue.lines.extend_from_slice(lines);
        drop(queue);
        if was_empty {
            self.shared.work.notify_one();
        }
    }

    /// Sets how many bytes are queued, and how missing lines are told.
    pub(super) fn configure(&self, buffer: usize, notice: impl Fn(u64) -> String + Send + 'static) {
        self.shared.buffer.store(buffer, Ordering::Relaxed);
        self.shared.queue.lock().notice = Some(Box::new(notice));
    }

    /// Waits until everything is written, so long at most; whether it is.
    fn flush(&self, until: Instant) -> bool {
        let mut queue = self.shared.queue.lock();
        while queue.under_way > 0 || !queue.lines.is_empty() {
            if self.shared.idle.wait_until(&mut queue, until).timed_out() {
                return false;
            }
        }
        true
    }

    /// Bytes that wait to be written or are being written.
    #[must_use]
    pub fn queued(&self) -> usize {
        let queue = self.shared.queue.lock();
        queue.lines.len() + queue.under_way
    }

    /// Lines that were dropped because the queue was full: nobody reads, or not fast enough.
    #[must_use]
    pub fn dropped_full(&self) -> u64 {
        self.shared.full.load(Ordering::Relaxed)
    }

    /// Lines that were dropped because writing failed: the reader is gone, or the disk is full.
    #[must_use]
    pub fn dropped_failed(&self) -> u64 {
        self.shared.failed.load(Ordering::Relaxed)
    }
}

fn count(lines: &[u8]) -> u64 {
    lines.iter().map(|byte| u64::from(*byte == b'\n')).sum()
}

/// The side of the thread.
struct Writer<S> {
    sink: S,
    /// Lines that are missing and were not told yet.
    lost: u64,
    /// A line was written in part: the next one must not go on in it.
    torn: bool,
}

impl<S: Write> Writer<S> {
    fn run(mut self, shared: &Shared) {
        let mut batch = Vec::new();
        loop {
            let refused;
            {
                let mut queue = shared.queue.lock();
                while queue.lines.is_empty() {
                    queue.under_way = 0;
                    shared.idle.notify_all();
                    shared.work.wait(&mut queue);
                }
                std::mem::swap(&mut queue.lines, &mut batch);
                queue.under_way = batch.len();
                refused = std::mem::take(&mut queue.refused);
            }
            // What is missing was before these lines; while even that cannot be said they would fail too.
            let failed = match self.tell(shared) {
                true => self.lines(&batch),
                false => count(&batch),
            };
            shared.failed.fetch_add(failed, Ordering::Relaxed);
            self.lost += failed + refused;
            if failed == 0 {
                self.tell(shared);
            }
            batch.clear();
        }
    }

    /// Says how many lines are missing, where some are; whether the output takes lines.
    fn tell(&mut self, shared: &Shared) -> bool {
        if self.lost == 0 {
            return true;
        }
        let notice = shared.queue.lock().notice.as_ref().map(|notice| notice(self.lost)).unwrap_or_default();
        let told = self.lines(notice.as_bytes()) == 0;
        if told {
            self.lost = 0;
        }
        told
    }

    /// Writes lines; answers how many of them failed.
    fn lines(&mut self, lines: &[u8]) -> u64 {
        if self.torn && !lines.is_empty() {
            match self.sink.write(b"\n") {
                Ok(1..) => self.torn = false,
                _ => return count(lines),
            }
        }
        let mut rest = lines;
        while !rest.is_empty() {
            match self.sink.write(rest) {
                Ok(written @ 1..) => {
                    self.torn = rest.get(written - 1) != Some(&b'\n');
                    rest = rest.get(written..).unwrap_or_default();
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::sleep(TRY_AGAIN),
                Ok(_) | Err(_) => return count(rest),
            }
        }
        0
    }
}

static STDOUT: OnceLock<Output> = OnceLock::new();
static STDERR: OnceLock<Output> = OnceLock::new();
/// How long [`flush`] waits, in milliseconds; 0 where nothing was set.
static FLUSH: AtomicU64 = AtomicU64::new(0);

/// The standard output of a command that serves.
pub fn stdout() -> &'static Output {
    STDOUT.get_or_init(|| open(io::stdout().as_fd()))
}

/// The standard error output: the log.
pub fn stderr() -> &'static Output {
    STDERR.get_or_init(|| open(io::stderr().as_fd()))
}

/// A handle of its own: that of the library holds a lock while it writes, which the message of a panic would wait for, and
/// a buffer that is written once more when the process ends.
fn open(fd: std::os::fd::BorrowedFd<'_>) -> Output {
    match fd.try_clone_to_owned() {
        Ok(fd) => Output::start(File::from(fd), DEFAULT_BUFFER),
        Err(_) => Output::start(io::sink(), DEFAULT_BUFFER),
    }
}

/// A line on the standard output, where somebody reads it.
pub fn print(line: &str) {
    stdout().write(format!("{line}\n").as_bytes());
}

/// A line on the standard error output beside the log, where somebody reads it.
pub fn complain(line: &str) {
    stderr().write(format!("{line}\n").as_bytes());
}

pub(super) fn set_flush(longest: Duration) {
    FLUSH.store(u64::try_from(longest.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
}

/// Waits until what was queued is written, for a short time at most (`observability.log.flush`). For the end of the process.
pub fn flush() {
    let longest = match FLUSH.load(Ordering::Relaxed) {
        0 => DEFAULT_FLUSH,
        millis => Duration::from_millis(millis),
    };
    let until = Instant::now() + longest;
    for output in [STDOUT.get(), STDERR.get()].into_iter().flatten() {
        output.flush(until);
    }
}

/// Flushes when dropped: also where the process ends by a panic.
pub struct FlushAtEnd;

impl Drop for FlushAtEnd {
    fn drop(&mut self) {
        flush();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    /// Writes what it is allowed to, a step at a time.
    struct Stepped {
        steps: Receiver<io::Result<usize>>,
        written: Sender<Vec<u8>>,
    }

    impl Write for Stepped {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let Ok(step) = self.steps.recv() else { return Err(io::ErrorKind::BrokenPipe.into()) };
            let taken = step?.min(bytes.len());
            let _ = self.written.send(bytes[..taken].to_vec());
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Bench {
        output: Output,
        steps: Sender<io::Result<usize>>,
        written: Receiver<Vec<u8>>,
    }

    fn bench(buffer: usize) -> Bench {
        let ((steps, allowed), (out, written)) = (channel(), channel());
        let output = Output::start(Stepped { steps: allowed, written: out }, buffer);
        output.configure(buffer, |lost| format!("{lost} missing\n"));
        Bench { output, steps, written }
    }

    impl Bench {
        fn all(&self) -> String {
            String::from_utf8(self.written.try_iter().flatten().collect()).unwrap()
        }

        fn flush(&self) -> bool {
            self.output.flush(Instant::now() + Duration::from_secs(60))
        }
    }

    #[test]
    fn a_stalled_reader_costs_lines_and_never_time() {
        let bench = bench(64);
        // The thread takes this one out and waits in the sink.
        bench.output.write(b"first\n");
        while bench.output.shared.queue.lock().under_way == 0 {
            std::thread::yield_now();
        }
        for n in 0..100 {
            bench.output.write(format!("line {n:02}\n").as_bytes());
        }
        assert_eq!(bench.output.dropped_full(), 92);
        assert!(!bench.output.flush(Instant::now()), "nothing was read");
        for _ in 0..3 {
            bench.steps.send(Ok(1000)).unwrap();
        }
        assert!(bench.flush());
        let text = bench.all();
        assert!(text.starts_with("first\nline 00\n") && text.ends_with("line 07\n92 missing\n"), "{text}");
    }

    #[test]
    fn what_fails_is_told_once_it_works_again() {
        let bench = bench(1000);
        for error in [io::ErrorKind::StorageFull, io::ErrorKind::BrokenPipe] {
            bench.steps.send(Err(error.into())).unwrap();
            bench.output.write(b"a\nb\n");
            assert!(bench.flush());
        }
        assert_eq!((bench.output.dropped_failed(), bench.all().as_str()), (4, ""));
        // In part first: what comes next begins a line of its own.
        bench.steps.send(Ok(1000)).unwrap();
        bench.steps.send(Ok(2)).unwrap();
        bench.steps.send(Err(io::ErrorKind::StorageFull.into())).unwrap();
        bench.output.write(b"torn\n");
        assert!(bench.flush());
        for _ in 0..3 {
            bench.steps.send(Ok(1000)).unwrap();
        }
        bench.output.write(b"whole\n");
        assert!(bench.flush());
        assert_eq!(bench.all(), "4 missing\nto\n1 missing\nwhole\n");
    }

    #[test]
    fn a_pause_is_no_failure() {
        let bench = bench(1000);
        for error in [io::ErrorKind::Interrupted, io::ErrorKind::WouldBlock] {
            bench.steps.send(Err(error.into())).unwrap();
        }
        bench.steps.send(Ok(1000)).unwrap();
        bench.output.write(b"line\n");
        assert!(bench.flush());
        assert_eq!((bench.all().as_str(), bench.output.dropped_failed()), ("line\n", 0));
    }
}
