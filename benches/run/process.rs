//! What Linux knows of a process: `proc(5)`.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;

/// Linux counts the time of processes in hundredths of a second, on every machine that Rust runs on.
const TICK: Duration = Duration::from_millis(10);

fn read(id: u32, file: &str) -> anyhow::Result<String> {
    let path = PathBuf::from(format!("/proc/{id}/{file}"));
    std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))
}

/// The processor time that a process has used, in user and kernel mode, to 10 ms.
pub(crate) fn cpu(id: u32) -> anyhow::Result<Duration> {
    let stat = read(id, "stat")?;
    // The name in parentheses may hold spaces; utime and stime are the 14th and 15th field.
    let (_name, rest) = stat.rsplit_once(')').context("read a process's name")?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let ticks = |field: usize| -> anyhow::Result<u32> {
        let text = fields.get(field - 3).context("read a process's time")?;
        Ok(text.parse()?)
    };
    Ok(TICK * (ticks(14)? + ticks(15)?))
}

/// The memory of a process that is resident, in KiB: all of it, and what is no file of its own
/// (`RssAnon`).
pub(crate) fn memory_kib(id: u32) -> anyhow::Result<(u64, u64)> {
    let status = read(id, "status")?;
    let field = |name: &str| -> anyhow::Result<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let number = line.and_then(|line| line.split_whitespace().next());
        Ok(number.with_context(|| format!("find {name}"))?.parse()?)
    };
    Ok((field("VmRSS:")?, field("RssAnon:")?))
}
