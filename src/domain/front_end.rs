//! What else of a front end is watched: its file systems, and the backup of the hub's database.
//!
//! **Invariant:** no I/O; how a path and the answers of the programs there are read.

use chrono::TimeDelta;

/// The longest path that may be named in the configuration.
const MAX_PATH: usize = 255;

/// The columns that [`Disk::read_all`] reads, as `df --output` takes them (GNU coreutils). The
/// folder stands last, since it may have spaces.
pub const DF_COLUMNS: &str = "--output=size,used,avail,itotal,iused,target";

/// A file system of a front end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    /// Where it is mounted.
    pub mount: String,
    /// Its size in bytes.
    pub size: u64,
    /// How many bytes are used.
    pub used: u64,
    /// How many bytes whoever is not root can still write.
    pub free: u64,
    /// How many files it has, and how many it can have; `None` where that has no limit.
    pub files: Option<(u64, u64)>,
}

impl Disk {
    /// Reads what `df` with [`DF_COLUMNS`] and blocks of one byte prints; each file system once,
    /// however many folders of it were asked for.
    pub fn read_all(text: &str) -> Vec<Self> {
        let mut disks: Vec<Self> = Vec::new();
        for line in text.lines().skip(1) {
            let disk = Self::read(line);
            disks.extend(disk.filter(|disk| disks.iter().all(|one| one.mount != disk.mount)));
        }
        disks
    }

    fn read(line: &str) -> Option<Self> {
        let mut rest = line;
        let mut columns = [None; 5];
        for column in &mut columns {
            let (word, after) = rest.trim_start().split_once(' ')?;
            (*column, rest) = (word.parse::<u64>().ok(), after);
        }
        let [size, used, free, files_most, files] = columns;
        let mount = rest.trim();
        if mount.is_empty() {
            return None;
        }
        Some(Self {
            mount: mount.to_owned(),
            size: size?,
            used: used?,
            free: free?,
            // Those that make room for files as they need it say 0, or a dash.
            files: files.zip(files_most.filter(|most| *most > 0)),
        })
    }

    /// How full it is, in percent: of its bytes, as `df` reckons, or of its files if that is more.
    pub fn percent(&self) -> u64 {
        let of_files = self.files.map_or(0, |(files, most)| percent(files, most));
        percent(self.used, self.used.saturating_add(self.free)).max(of_files)
    }

    /// For people: `/ is 91 % full: 18.2 of 20.0 GiB, 1.8 GiB free`.
    pub fn words(&self) -> String {
        let of_bytes = percent(self.used, self.used.saturating_add(self.free));
        let bytes = format!(
            "{} is {of_bytes} % full: {} of {} GiB, {} GiB free",
            self.mount,
            gib(self.used),
            gib(self.size),
            gib(self.free)
        );
        match self.files {
            Some((files, most)) if percent(files, most) > of_bytes => format!(
                "{bytes}; it has {} % of the files that it can have: {files} of {most}",
                percent(files, most)
            ),
            Some(_) | None => bytes,
        }
    }
}

/// Rounded up, as `df` does.
fn percent(part: u64, of: u64) -> u64 {
    part.saturating_mul(100).div_ceil(of.max(1)).min(100)
}

/// With one digit after the point.
fn gib(bytes: u64) -> String {
    const GIB: u64 = 1 << 30;
    let tenths = u128::from(bytes) * 10 / u128::from(GIB);
    format!("{}.{}", tenths / 10, tenths % 10)
}

/// What backups of the hub's database must be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupRule {
    /// The file or folder that they are written to.
    pub path: String,
    /// How old the newest may be.
    pub max_age: TimeDelta,
}

/// How the newest backup is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewestBackup {
    /// The newest file is so old.
    Aged(TimeDelta),
    /// There is no file that is not empty.
    None,
    /// There is no such path.
    NoPath,
}

impl NewestBackup {
    /// Why it is not good enough; `None` if it is.
    pub fn problem(self, rule: &BackupRule) -> Option<String> {
        let path = &rule.path;
        let at_most = rule.max_age.num_hours();
        match self {
            Self::Aged(age) if age <= rule.max_age => None,
            Self::Aged(age) => Some(format!(
                "the newest file of {path} is {} h old; at most {at_most} h are allowed",
                age.num_hours()
            )),
            Self::None => Some(format!("{path} has no file that is not empty")),
            Self::NoPath => Some(format!("{path} is not there")),
        }
    }
}

/// What is wrong with a path of the configuration; it must be absolute, without `..`, wildcards and
/// control characters.
pub fn path_problem(path: &str) -> Option<&'static str> {
    let is_wild = |c: char| matches!(c, '*' | '?' | '[' | ']' | '{' | '}');
    if !path.starts_with('/') {
        Some("must begin with `/`")
    } else if path.len() > MAX_PATH {
        Some("is longer than 255 bytes")
    } else if path.split('/').any(|part| part == "..") {
        Some("must not have `..`")
    } else if path.chars().any(|c| is_wild(c) || c.is_control()) {
        Some("must not have wildcards or control characters")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn file_systems_are_read_as_df_prints_them() {
        let text = "  1B-blocks        Used       Avail   Inodes   IUsed Mounted on\n\
                    20957446144 18253611008  2687057920 10485760  312345 /\n\
                    20957446144 18253611008  2687057920 10485760  312345 /\n\
                    53687091200 10737418240 42949672960        0       0 /srv/the homes\n\
                     1073741824           0  1073741824        -       - /dev/shm\n\
                    df: /pv: No such file\n";
        let disks = Disk::read_all(text);
        let names: Vec<&str> = disks.iter().map(|disk| disk.mount.as_str()).collect();
        assert_eq!(names, ["/", "/srv/the homes", "/dev/shm"]);
        assert_eq!(disks[0].files, Some((312_345, 10_485_760)));
        assert_eq!(disks[1].files, None, "btrfs makes room as it needs it");
        assert_eq!(
            disks[0].words(),
            "/ is 88 % full: 17.0 of 19.5 GiB, 2.5 GiB free"
        );
    }

    #[test]
    fn a_file_system_is_as_full_as_its_bytes_or_its_files() {
        for (used, free, files, percent) in [
            (0, 100 * GIB, None, 0),
            (85 * GIB, 15 * GIB, None, 85),
            (85 * GIB + 1, 15 * GIB, None, 86),
            (100 * GIB, 0, None, 100),
            // What is kept for root is not free.
            (90 * GIB, 0, None, 100),
            (10 * GIB, 90 * GIB, Some((97, 100)), 97),
            (10 * GIB, 90 * GIB, Some((3, 100)), 10),
            (0, 0, None, 0),
        ] {
            let disk = Disk {
                mount: "/".to_owned(),
                size: 100 * GIB,
                used,
                free,
                files,
            };
            assert_eq!(disk.percent(), percent, "{used} {free} {files:?}");
            let names_files = disk.words().contains("of the files");
            assert_eq!(names_files, percent == 97, "{}", disk.words());
        }
    }

    #[test]
    fn a_backup_is_new_enough_or_says_why_not() {
        let rule = BackupRule {
            path: "/backup".to_owned(),
            max_age: TimeDelta::hours(26),
        };
        for (newest, words) in [
            (NewestBackup::Aged(TimeDelta::hours(26)), None),
            (
                NewestBackup::Aged(TimeDelta::hours(50)),
                Some("the newest file of /backup is 50 h old; at most 26 h are allowed"),
            ),
            (
                NewestBackup::None,
                Some("/backup has no file that is not empty"),
            ),
            (NewestBackup::NoPath, Some("/backup is not there")),
        ] {
            assert_eq!(newest.problem(&rule).as_deref(), words);
        }
    }

    #[test]
    fn paths_are_absolute_and_plain() {
        for good in ["/", "/pv", "/srv/hub backup/db.sqlite"] {
            assert_eq!(path_problem(good), None, "{good}");
        }
        for bad in ["", "pv", "-x", "/a/../b", "/pv/*", "/a\nb"] {
            assert!(path_problem(bad).is_some(), "{bad}");
        }
        assert!(path_problem(&format!("/{}", "x".repeat(255))).is_some());
    }
}
