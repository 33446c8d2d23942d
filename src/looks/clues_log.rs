//! The recent lines of CLUES' log, followed from a remembered offset.
//!
//! The first look reads the last hour from the log's end; each later one only what was written
//! since. A log that is shorter than the offset was rotated: `clues-logrotate` copies it aside as
//! `clues2.log-<date>` and empties it in place (grycap/clues @ 6ef8cf4), so what was written between
//! the last look and that is read from the copy.
//!
//! What is remembered is in memory only: after a restart the last hour is read again.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, PoisonError};

use chrono::{DateTime, FixedOffset, TimeDelta};
use tokio::sync::Mutex;

use super::Looks;
use super::logs::{CLUES_LOG, Stopped, read_backwards};
use crate::domain::cluster::Cluster;
use crate::domain::ids::ClusterId;
use crate::domain::logs::{Pick, Picker, clean_lines, clues_time};
use crate::services::frontend::{Frontend, FrontendError};

/// How far back lines are recent.
const RECENT: TimeDelta = TimeDelta::hours(1);

/// The most recent lines, and their bytes.
const LINES: usize = 2000;
const BYTES: usize = 256 * 1024;

/// The most that is read on from an offset; after more the log is read anew from its end.
const READ_ON: u64 = 1024 * 1024;

/// How many logs are remembered; one for each cluster of a replica, and some.
const LOGS: usize = 256;

/// What is remembered of the logs.
#[derive(Debug, Default)]
pub(super) struct CluesLogs(std::sync::Mutex<BTreeMap<ClusterId, Arc<Mutex<CluesLog>>>>);

impl CluesLogs {
    fn of(&self, cluster: ClusterId) -> Arc<Mutex<CluesLog>> {
        let mut logs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if logs.len() >= LOGS && !logs.contains_key(&cluster) {
            logs.clear();
        }
        Arc::clone(logs.entry(cluster).or_default())
    }
}

/// A log that is followed.
#[derive(Debug, Default)]
struct CluesLog {
    /// Up to which byte of which file it was read.
    read: Option<Place>,
    /// The recent lines, oldest first, without secrets.
    lines: VecDeque<String>,
}

/// A file and a byte in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    inode: u64,
    offset: u64,
}

/// The log as it is now.
struct Now {
    inode: u64,
    size: u64,
    /// For how many seconds nobody wrote to it.
    quiet_s: i64,
    /// The front end's own clock.
    time: DateTime<FixedOffset>,
}

/// The recent lines, oldest first, and for how many seconds nobody wrote, rotation counted as
/// writing; `None` if there is no log.
pub(super) type Recent = (Vec<String>, Option<i64>);

impl Looks {
    /// What CLUES wrote within the last hour.
    pub(super) async fn recent_clues_lines(
        &self,
        cluster: &Cluster,
        frontend: &Frontend,
    ) -> Result<Recent, Stopped> {
        let log = self.clues_logs.of(cluster.id);
        let mut log = log.lock().await;
        let Some(now) = now(frontend).await? else {
            *log = CluesLog::default();
            return Ok((Vec::new(), None));
        };
        self.read_on(frontend, &mut log, &now).await?;
        log.forget_before(&oldest(now.time));
        // One that was emptied is no sign: a CLUES at rest writes a line every half hour.
        Ok((log.lines.iter().cloned().collect(), Some(now.quiet_s)))
    }

    async fn read_on(
        &self,
        frontend: &Frontend,
        log: &mut CluesLog,
        now: &Now,
    ) -> Result<(), Stopped> {
        let start = Place {
            inode: now.inode,
            offset: 0,
        };
        let from = match log.read {
            Some(read) if read.inode == now.inode && read.offset <= now.size => read,
            Some(read) => {
                self.read_copy(frontend, log, read.offset).await?;
                start
            }
            None => return self.read_anew(frontend, log, now).await,
        };
        if now.size - from.offset > READ_ON {
            return self.read_anew(frontend, log, now).await;
        }
        let read = self
            .read_lines(frontend, CLUES_LOG, log, from.offset)
            .await?;
        log.read = Some(Place {
            offset: from.offset + read,
            ..start
        });
        Ok(())
    }

    /// The last hour, from the end of the log.
    async fn read_anew(
        &self,
        frontend: &Frontend,
        log: &mut CluesLog,
        now: &Now,
    ) -> Result<(), Stopped> {
        let wish = Pick {
            lines: LINES,
            since: None,
            grep: None,
        };
        let mut picker = Picker::new(&wish, self.vault.redactor(), Some(oldest(now.time)));
        read_backwards(frontend, CLUES_LOG, &mut picker).await?;
        log.lines = picker.finish().into();
        // What is written while it is read comes twice, which does no harm; nothing is missed.
        log.read = Some(Place {
            inode: now.inode,
            offset: now.size,
        });
        Ok(())
    }

    /// What was written before the log was rotated and after it was last read.
    async fn read_copy(
        &self,
        frontend: &Frontend,
        log: &mut CluesLog,
        offset: u64,
    ) -> Result<(), Stopped> {
        let folder = CLUES_LOG.rsplit_once('/').map_or("/", |(folder, _)| folder);
        let find = [
            "sudo",
            "find",
            folder,
            "-maxdepth",
            "1",
            "-type",
            "f",
            "-name",
            "clues2.log-*",
            "-mmin",
            "-90",
            "-printf",
            "%T@ %s %p\\n",
        ];
        let found = frontend.run(&find).await?.text();
        if let Some(path) = newest_copy(&found, offset) {
            self.read_lines(frontend, path, log, offset).await?;
        }
        Ok(())
    }

    /// Takes the whole lines from an offset on; how many bytes they have.
    async fn read_lines(
        &self,
        frontend: &Frontend,
        path: &str,
        log: &mut CluesLog,
        offset: u64,
    ) -> Result<u64, FrontendError> {
        let most = usize::try_from(READ_ON).unwrap_or(usize::MAX);
        let mut bytes = frontend.read_from(path, offset, most).await?;
        let whole = bytes.iter().rposition(|byte| *byte == b'\n');
        bytes.truncate(whole.map_or(0, |last| last + 1));
        let text = String::from_utf8_lossy(&bytes);
        log.lines.extend(clean_lines(&text, self.vault.redactor()));
        Ok(u64::try_from(bytes.len()).unwrap_or_default())
    }
}

/// The log and the clock as they are now; `None` if there is no log.
async fn now(frontend: &Frontend) -> Result<Option<Now>, Stopped> {
    // A missing file makes the status 1 and prints nothing; any other failure says nothing of CLUES.
    let stat = ["sudo", "stat", "-L", "-c", "%i %s %Y", "--", CLUES_LOG];
    let stat = frontend.run(&stat).await?;
    let said = stat.error_text();
    if stat.status != 0 && !said.contains("No such file") {
        let hint = "see on the front end what keeps `sudo stat` from looking at it";
        return Err(Stopped::InTheWay(
            format!("{CLUES_LOG} can't be looked at: {said}"),
            hint.to_owned(),
        ));
    }
    let stat = stat.text();
    let date = frontend.run_ok(&["date", "+%Y-%m-%dT%H:%M:%S%:z"], &[]);
    let date = date.await?.text();
    let numbers: Vec<u64> = stat.split_whitespace().flat_map(str::parse).collect();
    let (Some([inode, size, written]), Ok(time)) = (
        numbers.first_chunk(),
        DateTime::parse_from_rfc3339(date.trim()),
    ) else {
        return Ok(None);
    };
    let written = i64::try_from(*written).unwrap_or(i64::MAX);
    Ok(Some(Now {
        inode: *inode,
        size: *size,
        quiet_s: time.timestamp().saturating_sub(written).max(0),
        time,
    }))
}

/// Since when lines are recent, as CLUES writes times.
fn oldest(now: DateTime<FixedOffset>) -> String {
    (now - RECENT).format("%Y-%m-%d %H:%M:%S").to_string()
}

/// The copy that was made last, if it is longer than what was read.
fn newest_copy(found: &str, offset: u64) -> Option<&str> {
    let copies = found.lines().filter_map(|line| {
        let (written, rest) = line.split_once(' ')?;
        let (size, path) = rest.split_once(' ')?;
        let (written, size) = (written.parse::<f64>().ok()?, size.parse::<u64>().ok()?);
        let is_text = !path.ends_with(".gz");
        (is_text && size > offset).then_some((written, path))
    });
    copies
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, path)| path)
}

impl CluesLog {
    /// Forgets what is older than recent, or too much.
    fn forget_before(&mut self, oldest: &str) {
        let is_recent = |line: &String| clues_time(line).is_some_and(|time| time >= oldest);
        let first = self.lines.iter().position(is_recent);
        self.lines.drain(..first.unwrap_or(self.lines.len()));
        let mut bytes: usize = self.lines.iter().map(String::len).sum();
        while self.lines.len() > LINES || bytes > BYTES {
            let Some(line) = self.lines.pop_front() else {
                return;
            };
            bytes -= line.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(time: &str, text: &str) -> String {
        format!("[PLUGIN-IM];ERROR;{time},123;{text}")
    }

    #[test]
    fn old_lines_are_forgotten_with_what_belongs_to_them() {
        let mut log = CluesLog::default();
        log.lines.extend([
            line("2026-11-28 09:00:00", "old"),
            "Traceback of the old one".to_owned(),
            line("2026-11-28 10:00:00", "new"),
            "Traceback of the new one".to_owned(),
        ]);
        log.forget_before("2026-11-28 09:30:00");
        assert_eq!(log.lines.len(), 2);
        assert!(log.lines[0].ends_with("new"));
        log.forget_before("2026-11-28 11:00:00");
        assert!(log.lines.is_empty());
    }

    #[test]
    fn what_is_kept_has_a_limit() {
        let mut log = CluesLog::default();
        let long = "x".repeat(1000);
        for _ in 0..3000 {
            log.lines.push_back(line("2026-11-28 10:00:00", &long));
        }
        log.forget_before("2026-11-28 09:30:00");
        let bytes: usize = log.lines.iter().map(String::len).sum();
        assert!(bytes <= BYTES && bytes > BYTES - 2000, "{bytes}");
    }

    #[test]
    fn the_newest_copy_is_read_if_it_has_more_than_was_read() {
        let found = "1790000000.5 700 /var/log/clues2/clues2.log-20261127\n\
                     1790009999.1 900 /var/log/clues2/clues2.log-20261128\n\
                     1790019999.1 900 /var/log/clues2/clues2.log-20261128.gz\n\
                     nonsense";
        let copy = Some("/var/log/clues2/clues2.log-20261128");
        assert_eq!(newest_copy(found, 800), copy);
        assert_eq!(newest_copy(found, 900), None);
        assert_eq!(newest_copy("", 0), None);
    }

    #[test]
    fn times_are_the_front_ends_own() {
        let now = DateTime::parse_from_rfc3339("2026-11-28T12:30:00+01:00").unwrap();
        assert_eq!(oldest(now), "2026-11-28 11:30:00");
    }
}
