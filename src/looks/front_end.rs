//! What else of a front end is watched: its file systems, and the backup of the hub's database.

use super::diagnose::within;
use super::logs::Stopped;
use super::{LookError, Looks};
use crate::domain::cluster::Cluster;
use crate::domain::diagnosis::Look;
use crate::domain::front_end::{DF_COLUMNS, Disk, NewestBackup};

/// Prints when the newest file below `$1` that is not empty was written, if there is one, and then
/// what the clock says, both in seconds since 1970.
const NEWEST: &str = r#"[ -e "$1" ] || exit 66
find -H "$1" -type f -size +0 -printf '%T@\n' | sort -n | tail -n 1
date +%s"#;

/// `EX_NOINPUT` of sysexits.h: what the script answers for a missing path.
const NO_INPUT: i32 = 66;

impl Looks {
    /// The file systems in which these folders of a front end lie; folders that are not there are
    /// passed over.
    ///
    /// # Errors
    /// When the database fails; a front end that does not answer is part of what was seen.
    pub async fn disks(
        &self,
        cluster: &Cluster,
        folders: &[String],
    ) -> Result<Look<Vec<Disk>>, LookError> {
        within(self.seen_disks(cluster, folders)).await
    }

    async fn seen_disks(
        &self,
        cluster: &Cluster,
        folders: &[String],
    ) -> Result<Vec<Disk>, Stopped> {
        let frontend = self.open_frontend(cluster).await?;
        let mut args = vec!["df", "--block-size=1", DF_COLUMNS, "--"];
        args.extend(folders.iter().map(String::as_str));
        // Its status is 1 if one of the folders is missing; the others are printed all the same.
        let output = frontend.run(&args).await?;
        let disks = Disk::read_all(&output.text());
        if disks.is_empty() {
            let why = format!("`df` shows nothing: {}", output.error_text());
            return Err(Stopped::InTheWay(why, String::new()));
        }
        Ok(disks)
    }

    /// How old the newest file is that a front end has at a path.
    ///
    /// # Errors
    /// When the database fails; a front end that does not answer is part of what was seen.
    pub async fn newest_backup(
        &self,
        cluster: &Cluster,
        path: &str,
    ) -> Result<Look<NewestBackup>, LookError> {
        within(self.seen_backup(cluster, path)).await
    }

    async fn seen_backup(&self, cluster: &Cluster, path: &str) -> Result<NewestBackup, Stopped> {
        let frontend = self.open_frontend(cluster).await?;
        let args = ["sudo", "sh", "-c", NEWEST, "newest", path];
        let output = frontend.run(&args).await?;
        if output.status == NO_INPUT {
            return Ok(NewestBackup::NoPath);
        }
        newest(&output.text()).ok_or_else(|| {
            let why = format!("{path} was not read: {}", output.error_text());
            Stopped::InTheWay(why, String::new())
        })
    }
}

/// Reads what [`NEWEST`] prints.
fn newest(text: &str) -> Option<NewestBackup> {
    // `find` prints fractions of a second.
    let seconds = |line: &str| line.trim().split('.').next()?.parse::<i64>().ok();
    let lines: Vec<&str> = text.lines().collect();
    match lines.as_slice() {
        [now] => seconds(now).map(|_now| NewestBackup::None),
        [newest, now] => {
            let age = seconds(now)?.saturating_sub(seconds(newest)?).max(0);
            chrono::TimeDelta::try_seconds(age).map(NewestBackup::Aged)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    #[test]
    fn the_age_of_the_newest_file_is_read() {
        for (text, expected) in [
            (
                "1800000000.1234567890\n1800003600\n",
                Some(NewestBackup::Aged(TimeDelta::hours(1))),
            ),
            // A file of the time to come is new.
            (
                "1800009999.0\n1800003600\n",
                Some(NewestBackup::Aged(TimeDelta::zero())),
            ),
            ("1800003600\n", Some(NewestBackup::None)),
            ("", None),
            ("a\nb\n", None),
        ] {
            assert_eq!(newest(text), expected, "{text:?}");
        }
    }
}
