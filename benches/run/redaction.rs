//! How fast text goes through the redactor, on one core.
//!
//! The texts are a helm and Ansible log with a secret in every hundredth line, and the same with
//! nothing to find. The redactor knows 100 secrets, about as many as a bot with 20 clusters opens.

use std::hint::black_box;
use std::time::{Duration, Instant};

use pangeo_bot::domain::redact::Redactor;
use secrecy::{ExposeSecret, SecretString};

use crate::table::Row;

const SECRETS: u32 = 100;
const CHUNK_BYTES: usize = 16 * 1024;

/// The best of five tries with each log.
pub(crate) fn rows() -> [Row; 2] {
    let redactor = Redactor::new();
    for number in 0..SECRETS {
        redactor.learn(&secret(number));
    }
    [("without secrets", 0), ("a secret in one line of 100", 100)].map(|(name, every)| {
        let text = log(every);
        let speed = (0..5).map(|_| measure(&redactor, &text)).max();
        Row::new(
            format!("redaction on one core, {name}"),
            format!("{} MB/s", speed.unwrap_or_default()),
            "≥ 100 MB/s",
        )
    })
}

fn secret(number: u32) -> SecretString {
    let first = number.wrapping_mul(2_654_435_761);
    SecretString::from(format!("{first:08x}-secret-{number:04}-of-a-cluster"))
}

/// 16 MiB of log; every so many lines one holds a secret, none if 0.
fn log(every: u32) -> Vec<u8> {
    let mut text = Vec::new();
    let mut line = 0;
    while text.len() < 16 * 1024 * 1024 {
        line += 1;
        let (minute, second) = (line / 60 % 60, line % 60);
        let ordinary = format!(
            "2026-08-21 10:{minute:02}:{second:02} TASK [grycap.kubernetes : Wait for the pods of \
             daskhub] ok: [geo_0_vnode{line}] => item=hub ready=1/1 took {line} ms\n"
        );
        text.extend_from_slice(ordinary.as_bytes());
        if every > 0 && line % every == 0 {
            let secret = secret(line % SECRETS);
            let telling = format!("  --set token={}\n", secret.expose_secret());
            text.extend_from_slice(telling.as_bytes());
        }
    }
    text
}

/// Megabytes (10^6 bytes) in a second, in chunks as they come from a connection.
fn measure(redactor: &Redactor, text: &[u8]) -> u64 {
    let mut out = Vec::with_capacity(2 * CHUNK_BYTES);
    let mut stream = redactor.stream();
    let start = Instant::now();
    for chunk in text.chunks(CHUNK_BYTES) {
        out.clear();
        stream.push(chunk, &mut out);
        black_box(&out);
    }
    stream.finish(&mut out);
    let took = start.elapsed().max(Duration::from_micros(1));
    let bytes = u128::try_from(text.len()).unwrap_or_default();
    u64::try_from(bytes / took.as_micros()).unwrap_or_default()
}
