//! Logs: one line an event on the standard error output, for people or for machines. Lines go through [`output`], so that
//! logging never waits, and through [`escape`], so that an event is one line whatever its fields hold.

use std::fmt::{self, Write as _};
use std::io::{self, IsTerminal as _};
use std::panic::PanicHookInfo;
use std::time::Duration;

use jiff::Timestamp;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::MakeExt as _;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::{self, Writer};

use super::{escape, output};

/// How lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people: time, level, module, message, fields; in colour on a terminal.
    Pretty,
    /// For machines: a JSON object a line with `timestamp`, `level`, `target`, `message` and the fields beside them.
    Json,
}

/// How to log.
#[derive(Debug, Clone)]
pub struct LogSettings<'a> {
    /// How lines look.
    pub format: Format,
    /// A level, or directives such as `info,arcana::runtime=debug`.
    pub filter: &'a str,
    /// Bytes of lines that wait to be written; further ones are dropped.
    pub buffer: usize,
    /// How long the end of the process waits for them.
    pub flush: Duration,
}

impl<'a> LogSettings<'a> {
    /// Lines for people with this filter.
    #[must_use]
    pub const fn pretty(filter: &'a str) -> Self {
        Self { format: Format::Pretty, filter, buffer: output::DEFAULT_BUFFER, flush: output::DEFAULT_FLUSH }
    }
}

/// Why logging did not start.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter is none.
    #[error("the log filter is not valid: {0}")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// Logging was started before in this process.
    #[error("{0}")]
    Started(#[from] tracing::dispatcher::SetGlobalDefaultError),
}

/// Starts logging for the whole process, the messages of panics included.
///
/// # Errors
/// The filter is not valid, or logging was started before.
pub fn init(settings: &LogSettings<'_>) -> Result<(), LogError> {
    let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let format = settings.format;
    let dispatch = dispatch(format, settings.filter, colour, || Queued)?;
    tracing::dispatcher::set_global_default(dispatch)?;
    output::set_flush(settings.flush);
    output::stderr().configure(settings.buffer, move |lost| {
        let message = format!("{lost} log lines before this one were dropped: the output was full, gone or too slow");
        own_line(format, "WARN", "arcana::telemetry", &message)
    });
    // The library's own hook writes to the standard error output at once, and waits for its reader.
    std::panic::set_hook(Box::new(move |info| {
        output::stderr().write(own_line(format, "ERROR", "panic", &panic_message(info)).as_bytes());
    }));
    Ok(())
}

fn panic_message(info: &PanicHookInfo<'_>) -> String {
    let thread = std::thread::current();
    let mut text = format!("thread '{}' panicked", thread.name().unwrap_or("<unnamed>"));
    if let Some(location) = info.location() {
        let _ = write!(text, " at {location}");
    }
    if let Some(message) = info.payload_as_str() {
        let _ = write!(text, ": {message}");
    }
    let backtrace = std::backtrace::Backtrace::capture();
    if backtrace.status() == std::backtrace::BacktraceStatus::Captured {
        let _ = write!(text, "\n{backtrace}");
    }
    text
}

/// A line that is none of tracing's: not filtered, and written without asking for anything that may be in use.
fn own_line(format: Format, level: &str, target: &str, message: &str) -> String {
    let timestamp = Timestamp::now();
    match format {
        Format::Pretty => format!("{timestamp:.6} {level:>5} {target}: {}\n", escape::line(message)),
        Format::Json => {
            let timestamp = format!("{timestamp:.6}");
            let line = serde_json::json!({
                "timestamp": timestamp, "level": level, "target": target, "message": message,
            });
            String::from_utf8_lossy(&escape::json_line(format!("{line}\n").as_bytes())).into_owned()
        }
    }
}

fn dispatch<W>(format: Format, filter: &str, colour: bool, writer: W) -> Result<tracing::Dispatch, LogError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let builder = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::builder().parse(filter)?)
        .with_ansi(colour)
        // It would go to the standard error output past the queue.
        .log_internal_errors(false);
    Ok(match format {
        Format::Pretty => {
            let fields = format::debug_fn(field).delimited(" ");
            tracing::Dispatch::new(builder.fmt_fields(fields).with_writer(writer).finish())
        }
        Format::Json => {
            let builder = builder.json().flatten_event(true).with_span_list(false);
            tracing::Dispatch::new(builder.with_writer(JsonLines(writer)).finish())
        }
    })
}

/// A field of a line for people: as the default has it, but a part of one line whatever it holds.
fn field(writer: &mut Writer<'_>, field: &tracing::field::Field, value: &dyn fmt::Debug) -> fmt::Result {
    let name = field.name();
    if name != "message" {
        match writer.has_ansi_escapes() {
            true => write!(writer, "\u{1b}[3m{name}\u{1b}[0m\u{1b}[2m=\u{1b}[0m")?,
            false => write!(writer, "{name}=")?,
        }
    }
    write!(escape::Escaping(writer), "{value:?}")
}

/// The queue of the standard error output.
struct Queued;

impl io::Write for Queued {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        output::stderr().write(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Makes writers that are given a whole line of JSON at a time, as tracing does, and escape the rest of what could end it.
struct JsonLines<W>(W);

impl<'w, W: MakeWriter<'w>> MakeWriter<'w> for JsonLines<W> {
    type Writer = JsonLine<W::Writer>;

    fn make_writer(&'w self) -> Self::Writer {
        JsonLine(self.0.make_writer())
    }
}

struct JsonLine<W>(W);

impl<W: io::Write> io::Write for JsonLine<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.write_all(&escape::json_line(line))?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: Format, filter: &str) -> String {
        let buffer = Buffer::default();
        let writer = buffer.clone();
        let dispatch = dispatch(format, filter, false, move || writer.clone()).unwrap();
        tracing::dispatcher::with_default(&dispatch, || {
            tracing::info!(target: "arcana::runtime", plugin = "acme/x", "line\nbroken \u{1b}[31m");
            tracing::debug!(target: "arcana::runtime", "quiet");
        });
        String::from_utf8(buffer.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn json_lines_are_objects_with_the_fields_at_the_top() {
        let text = logged(Format::Json, "info");
        let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 1, "{text}");
        assert_eq!(lines[0]["level"], "INFO");
        assert_eq!(lines[0]["target"], "arcana::runtime");
        assert_eq!(lines[0]["plugin"], "acme/x");
        assert!(lines[0]["timestamp"].is_string());
    }

    #[test]
    fn the_filter_decides_by_module() {
        assert_eq!(logged(Format::Json, "info,arcana::runtime=debug").lines().count(), 2);
        assert_eq!(logged(Format::Pretty, "error"), "");
        assert!(logged(Format::Pretty, "info").contains("plugin=\"acme/x\""));
        assert!(dispatch(Format::Pretty, "arcana=loud", false, io::sink).is_err());
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert!(!logged(Format::Pretty, "info").contains('\u{1b}'));
    }

    #[test]
    fn an_event_is_one_line_whatever_its_fields_hold() {
        let hostile = "a\nb\r\u{b}\u{c}\u{1b}[2J\u{85}\u{2028}\u{2029}\u{202e}z";
        for (format, colour) in [(Format::Pretty, false), (Format::Pretty, true), (Format::Json, false)] {
            let buffer = Buffer::default();
            let writer = buffer.clone();
            let dispatch = dispatch(format, "info", colour, move || writer.clone()).unwrap();
            tracing::dispatcher::with_default(&dispatch, || {
                let span = tracing::info_span!("span", of = hostile, by = %hostile);
                let _in = span.enter();
                let error = std::io::Error::other(hostile);
                let error: &dyn std::error::Error = &error;
                tracing::info!(path = %hostile, name = hostile, debug = ?hostile, error, "{hostile}");
            });
            let text = String::from_utf8(buffer.0.lock().unwrap().clone()).unwrap();
            let mut line = text.strip_suffix('\n').unwrap().to_owned();
            if colour {
                for code in ["[0m", "[1m", "[2m", "[3m", "[32m"] {
                    line = line.replace(&format!("\u{1b}{code}"), "");
                }
            }
            assert!(!line.contains(escape::is_escaped), "{format:?} {colour}: {line:?}");
            assert!(line.matches("[2J").count() >= 4, "{line}");
            if format == Format::Json {
                let value: serde_json::Value = serde_json::from_str(&line).unwrap();
                assert_eq!(value["message"], hostile);
            }
        }
    }

    #[test]
    fn lines_of_its_own_look_like_the_others() {
        let line = own_line(Format::Pretty, "WARN", "arcana::telemetry", "a\nb");
        assert!(line.ends_with("  WARN arcana::telemetry: a\\nb\n") && line.contains("Z "), "{line}");
        let line = own_line(Format::Json, "WARN", "arcana::telemetry", "a\nb\u{2028}");
        let value: serde_json::Value = serde_json::from_str(line.trim_end_matches('\n')).unwrap();
        assert_eq!((&value["level"], &value["message"]), (&"WARN".into(), &"a\nb\u{2028}".into()));
    }
}
