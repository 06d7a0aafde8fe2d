//! Logs: one line an event on the standard error output, for people or for machines.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// How lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people: time, level, module, message, fields; in colour on a terminal.
    Pretty,
    /// For machines: a JSON object a line with `timestamp`, `level`, `target`, `message` and the fields beside them.
    Json,
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

/// Starts logging for the whole process. `filter` is a level, or directives such as `info,arcana::runtime=debug`.
///
/// # Errors
/// The filter is not valid, or logging was started before.
pub fn init(format: Format, filter: &str) -> Result<(), LogError> {
    let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let dispatch = dispatch(format, filter, colour, io::stderr)?;
    Ok(tracing::dispatcher::set_global_default(dispatch)?)
}

fn dispatch<W>(format: Format, filter: &str, colour: bool, writer: W) -> Result<tracing::Dispatch, LogError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let builder = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::builder().parse(filter)?)
        .with_ansi(colour)
        .with_writer(writer);
    Ok(match format {
        Format::Pretty => tracing::Dispatch::new(builder.finish()),
        Format::Json => tracing::Dispatch::new(builder.json().flatten_event(true).with_span_list(false).finish()),
    })
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
}
