//! Reading what other systems answer: never more than a limit, never trusted.

use futures::StreamExt;

/// The longest text from outside that an error carries, in characters.
const MAX_SHOWN: usize = 400;

/// Why a body could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    /// Longer than the limit.
    #[error("the answer is longer than {limit} bytes")]
    TooLong {
        /// The limit in bytes.
        limit: usize,
    },
    /// The connection broke before the end of the body.
    #[error("the answer broke off")]
    Broken(#[source] reqwest::Error),
}

/// The whole body, which may have `limit` bytes at most.
pub(crate) async fn read_limited(
    response: reqwest::Response,
    limit: usize,
) -> Result<Vec<u8>, ReadError> {
    let mut body = Vec::new();
    let mut chunks = response.bytes_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| ReadError::Broken(error.without_url()))?;
        if body.len() + chunk.len() > limit {
            return Err(ReadError::TooLong { limit });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// The end of a body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Tail {
    /// Its last bytes.
    pub(crate) bytes: Vec<u8>,
    /// How long the whole body was, in bytes.
    pub(crate) total: u64,
}

/// The last `keep` bytes of the body, which may have `limit` bytes at most in all.
pub(crate) async fn read_tail(
    response: reqwest::Response,
    keep: usize,
    limit: usize,
) -> Result<Tail, ReadError> {
    let mut bytes: Vec<u8> = Vec::new();
    let mut total: usize = 0;
    let mut chunks = response.bytes_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| ReadError::Broken(error.without_url()))?;
        total += chunk.len();
        if total > limit {
            return Err(ReadError::TooLong { limit });
        }
        bytes.extend_from_slice(&chunk);
        // Cut only now and then, so that a long body is not moved for every chunk.
        if bytes.len() > keep.saturating_mul(2) {
            bytes.drain(..bytes.len() - keep);
        }
    }
    if bytes.len() > keep {
        bytes.drain(..bytes.len() - keep);
    }
    Ok(Tail {
        bytes,
        total: u64::try_from(total).unwrap_or(u64::MAX),
    })
}

/// An error text of another system, fit to be shown: Python tracebacks reduced to their messages,
/// directories taken from paths, control characters gone, 400 characters at most.
pub(crate) fn shorten(text: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut code_follows = false;
    for line in text.lines() {
        let line = line.trim();
        let is_frame = line.starts_with("File ") && line.contains(", line ");
        // A frame is followed by the line of code, which says nothing to the reader.
        let is_noise = line.is_empty()
            || is_frame
            || std::mem::take(&mut code_follows)
            || line.starts_with("Traceback (most recent call last)")
            || line.ends_with("failed validation with the following error(s):")
            || line.chars().all(|c| "^~ ".contains(c));
        code_follows = is_frame;
        if !is_noise && kept.last() != Some(&line) {
            kept.push(line);
        }
    }
    let joined = without_directories(&kept.join(" "));
    let mut shown: String = joined
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(MAX_SHOWN)
        .collect();
    if joined.chars().count() > MAX_SHOWN {
        shown.push('…');
    }
    shown
}

/// Reduces absolute paths of two components or more to the last one; URLs stay.
fn without_directories(text: &str) -> String {
    text.split(' ')
        .map(|word| {
            let start = word.find('/').filter(|at| {
                word.get(..*at)
                    .is_some_and(|before| before.chars().all(|c| "\"'`([{<=".contains(c)))
            });
            match (start, word.rfind('/')) {
                (Some(first), Some(last)) if last > first => {
                    let (before, after) = (word.get(..first), word.get(last + 1..));
                    format!(
                        "{}{}",
                        before.unwrap_or_default(),
                        after.unwrap_or_default()
                    )
                }
                (Some(_) | None, Some(_) | None) => word.to_owned(),
            }
        })
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    // Both texts were seen with IM 2.0.0, here with fewer frames.
    #[test]
    fn a_traceback_of_the_tosca_parser_becomes_its_message() {
        let text = "Error parsing request body: Error parsing TOSCA template: \n\
            The pre-parsed input failed validation with the following error(s): \n\n\
            \tUnknownInputError: Unknown input \"fe_cpuz\".\n\
            \t\tFile /usr/lib/python3/site-packages/IM/im_service.py, line 200, in main\n\
            \t\t\tlaunch_daemon()\n\
            \t\tFile /usr/lib/python3/site-packages/toscaparser/functions.py, line 178, in validate\n\
            \t\t\tExceptionCollector.appendException(\n";
        assert_eq!(
            shorten(text),
            "Error parsing request body: Error parsing TOSCA template: \
             UnknownInputError: Unknown input \"fe_cpuz\"."
        );
    }

    #[test]
    fn a_plain_traceback_keeps_its_last_line() {
        let text = "Traceback (most recent call last):\n  File \"/srv/im/a.py\", line 3, in f\n    \
            g(token)\n    ^^^^^^^^\nKeyError: 'fe_cpus' in /srv/im/secret/dir/a.yaml\n";
        assert_eq!(shorten(text), "KeyError: 'fe_cpus' in a.yaml");
    }

    #[test]
    fn urls_and_plain_texts_stay() {
        let text = "Error getting cloud info: Cloud ID nope not found.";
        assert_eq!(shorten(text), text);
        assert_eq!(
            shorten("see https://im.egi.eu/im/x"),
            "see https://im.egi.eu/im/x"
        );
        assert_eq!(
            shorten("it is and/or that, /version"),
            "it is and/or that, /version"
        );
    }

    #[test]
    fn long_and_hostile_texts_are_cut_and_cleaned() {
        let shown = shorten(&format!("a\u{1b}[31m\0{}", "é".repeat(5000)));
        assert_eq!(shown.chars().count(), MAX_SHOWN + 1);
        assert!(!shown.contains(|c: char| c.is_control()));
    }
}
