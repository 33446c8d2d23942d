//! Logging: tracing to standard output, as text for people or JSON for machines.
//!
//! **Invariant:** every line goes through the [`Redactor`], also those of other crates and panics.
//! **Invariant:** crates that log requests, headers or payloads below `warn` are held at `warn`,
//! whatever the configured filter says: no filter can make them show a secret.
//!
//! Fields have fixed names: `operation.id`, `step.name`, `step.attempt`, `cluster.name`,
//! `user.id`, `service`, `duration_ms`. There is one span per interaction, attempt and check.

use std::io;

use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::{EnvFilter, FilterExt, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{Log, LogFormat};
use crate::domain::redact::Redactor;

/// The crates that are never logged below `warn`: they carry tokens, payloads or statements.
const HELD_AT_WARN: [&str; 13] = [
    "h2",
    "hickory_proto",
    "hickory_resolver",
    "hyper",
    "hyper_util",
    "kube",
    "kube_client",
    "reqwest",
    "rustls",
    "serenity",
    "sqlx",
    "tower",
    "tungstenite",
];

/// Why logging did not start.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter of the configuration does not parse.
    #[error(
        "the log filter {filter:?} does not parse; write, for example, `info,pangeo_bot=debug`"
    )]
    Filter {
        /// The filter.
        filter: String,
        /// What is wrong.
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
    /// Something in this process logs already.
    #[error("logging was started twice")]
    Twice(#[source] tracing_subscriber::util::TryInitError),
}

/// Starts logging to standard output for the whole process. Panics become log lines as well.
///
/// # Errors
/// [`TelemetryError`]: the configuration has to be mended.
pub fn start(log: &Log, redactor: &Redactor) -> Result<(), TelemetryError> {
    subscriber(log, redactor, io::stdout)?
        .try_init()
        .map_err(TelemetryError::Twice)?;
    std::panic::set_hook(Box::new(|panic| {
        let place = panic
            .location()
            .map(ToString::to_string)
            .unwrap_or_default();
        let text = panic.payload_as_str().unwrap_or("without a message");
        tracing::error!(panic.place = place, "a task panicked: {text}");
    }));
    Ok(())
}

/// The subscriber that [`start`] installs, with another place to write to.
///
/// # Errors
/// [`TelemetryError::Filter`].
pub fn subscriber<W>(
    log: &Log,
    redactor: &Redactor,
    to: W,
) -> Result<impl Subscriber + Send + Sync + use<W>, TelemetryError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let wanted =
        EnvFilter::builder()
            .parse(&log.filter)
            .map_err(|source| TelemetryError::Filter {
                filter: log.filter.clone(),
                source,
            })?;
    let allowed = Targets::new()
        .with_default(LevelFilter::TRACE)
        .with_targets(HELD_AT_WARN.map(|target| (target, LevelFilter::WARN)));
    let to = RedactingWriter {
        redactor: redactor.clone(),
        to,
    };
    let lines = lines(log.format, to).with_filter(wanted.and(allowed));
    Ok(tracing_subscriber::registry().with(lines))
}

fn lines<S, W>(format: LogFormat, to: W) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .with_writer(to);
    match format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    }
}

/// Makes writers that redact each line before they pass it on.
struct RedactingWriter<W> {
    redactor: Redactor,
    to: W,
}

impl<'a, W: MakeWriter<'a>> MakeWriter<'a> for RedactingWriter<W> {
    type Writer = RedactingLine<W::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        RedactingLine {
            redactor: self.redactor.clone(),
            to: self.to.make_writer(),
        }
    }
}

/// Redacts what is written in one call; the subscriber writes a whole event in one call.
struct RedactingLine<W> {
    redactor: Redactor,
    to: W,
}

impl<W: io::Write> io::Write for RedactingLine<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        self.to.write_all(self.redactor.redact(&text).as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::SecretString;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: LogFormat, filter: &str, log: impl FnOnce()) -> String {
        let redactor = Redactor::new();
        redactor.learn(&SecretString::from("correct \"horse\""));
        let memory = Memory::default();
        let to = memory.clone();
        let settings = Log {
            format,
            filter: filter.to_owned(),
        };
        let subscriber = subscriber(&settings, &redactor, move || to.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, log);
        let bytes = memory.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn lines_are_redacted_in_messages_fields_and_spans() {
        for format in [LogFormat::Text, LogFormat::Json] {
            let text = logged(format, "info", || {
                let _span = tracing::info_span!("step", input = "correct \"horse\"").entered();
                tracing::info!(
                    value = "correct \"horse\"",
                    "sent password=hunter2 {}",
                    "ok"
                );
            });
            assert!(text.contains("[redacted]"), "{text}");
            assert!(
                !text.contains("horse") && !text.contains("hunter2"),
                "{text}"
            );
        }
    }

    #[test]
    fn json_lines_stay_json() {
        let text = logged(LogFormat::Json, "info", || {
            tracing::warn!(
                token = "abc123",
                client_secret = "a b",
                "said {:?}",
                "correct \"horse\""
            );
        });
        let line: serde_json::Value = serde_json::from_str(text.trim()).unwrap();
        assert_eq!(line["token"], "[redacted]");
        assert_eq!(line["client_secret"], "[redacted]");
        assert_eq!(line["level"], "WARN");
        assert!(!text.contains("horse"), "{text}");
    }

    #[test]
    fn no_filter_makes_other_crates_tell_what_they_send() {
        let text = logged(
            LogFormat::Text,
            "trace,serenity::http=trace,sqlx=debug",
            || {
                tracing::debug!(target: "serenity::http::request", "payload");
                tracing::info!(target: "sqlx::query", "statement");
                tracing::warn!(target: "serenity::gateway", "reconnects");
                tracing::trace!(target: "pangeo_bot::web", "ours");
            },
        );
        assert!(
            !text.contains("payload") && !text.contains("statement"),
            "{text}"
        );
        assert!(
            text.contains("reconnects") && text.contains("ours"),
            "{text}"
        );
    }

    #[test]
    fn a_filter_that_does_not_parse_is_named() {
        let settings = Log {
            format: LogFormat::Text,
            filter: "a=b=c".to_owned(),
        };
        let error = subscriber(&settings, &Redactor::new(), io::sink)
            .err()
            .unwrap();
        assert!(error.to_string().contains("a=b=c"));
    }
}
