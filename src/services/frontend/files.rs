//! Files on a front end: written whole or not at all, read in pieces.

use super::{Frontend, FrontendError, says_disk_full, succeeded};

/// Writes standard input to the file `$1` with mode `$2`, if it is `$3` bytes long: beside it
/// first, then renamed. The length is checked since a lost connection ends the input early.
const UPLOAD: &str = r#"set -eu
umask 077
part="$1.part.$$"
trap 'rm -f -- "$part"' EXIT
mkdir -p -- "${1%/*}"
cat > "$part"
[ "$(wc -c < "$part")" -eq "$3" ] || { echo "the upload was cut short" >&2; exit 74; }
chmod -- "$2" "$part"
mv -f -- "$part" "$1""#;

/// Writes standard input over the file `$1`, if it is `$3` bytes long and the file's SHA-256 still
/// is `$2`: beside it first, with its owner and mode, then renamed. Parts that a dead front end
/// left behind are removed.
const REPLACE: &str = r#"set -eu
umask 077
[ -e "$1" ] || exit 66
find "${1%/*}" -maxdepth 1 -name "${1##*/}.part.*" -mmin +10 -delete
part="$1.part.$$"
trap 'rm -f -- "$part"' EXIT
cat > "$part"
[ "$(wc -c < "$part")" -eq "$3" ] || { echo "the upload was cut short" >&2; exit 74; }
chown --reference="$1" -- "$part"
chmod --reference="$1" -- "$part"
sync -- "$part"
printf '%s  %s\n' "$2" "$1" | sha256sum --check --status || exit 75
mv -f -- "$part" "$1""#;

/// Prints at most `$3` bytes of the file `$1` from the 0-based offset `$2`.
const READ_FROM: &str = r#"[ -e "$1" ] || exit 66
tail -c +"$(($2 + 1))" -- "$1" | head -c "$3""#;

/// Prints the last `$2` bytes of the file `$1`.
const READ_TAIL: &str = r#"[ -e "$1" ] || exit 66
exec tail -c "$2" -- "$1""#;

/// Prints the size of the file `$1` in bytes.
const SIZE: &str = r#"[ -e "$1" ] || exit 66
exec stat -L -c %s -- "$1""#;

/// `EX_NOINPUT` of sysexits.h: what our scripts answer for a missing file.
const NO_INPUT: i32 = 66;

/// `EX_TEMPFAIL` of sysexits.h: what [`REPLACE`] answers for a file that is another one by now.
const CHANGED: i32 = 75;

/// What became of a file that was to be replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replaced {
    /// It has the new content.
    Done,
    /// It was not what it should be, so that nothing was changed.
    ChangedMeanwhile,
}

impl Frontend {
    /// Writes a file as root, atomically: it has either its old or its whole new content. Its
    /// folder is made with mode 0700 if it is missing.
    ///
    /// # Errors
    /// [`FrontendError::DiskFull`] when it does not fit; the old content is then still there.
    pub async fn upload(&self, path: &str, bytes: &[u8], mode: u32) -> Result<(), FrontendError> {
        check_path(path)?;
        let mode = format!("{mode:04o}");
        let length = bytes.len().to_string();
        let args = ["sudo", "sh", "-c", UPLOAD, "upload", path, &mode, &length];
        let output = self.run_with_input(&args, bytes).await?;
        if output.status != 0 && says_disk_full(&output.error_text()) {
            return Err(FrontendError::DiskFull {
                doing: format!("write {path}"),
            });
        }
        succeeded(&["upload"], output).map(drop)
    }

    /// Gives a file another content as root, atomically, if its SHA-256 (in hexadecimal digits)
    /// still is `old`. Owner and mode stay.
    ///
    /// # Errors
    /// [`FrontendError::NoSuchFile`] when it is missing, [`FrontendError::DiskFull`] when the new
    /// content does not fit; the old content is then still there.
    pub async fn replace(
        &self,
        path: &str,
        old: &str,
        bytes: &[u8],
    ) -> Result<Replaced, FrontendError> {
        check_path(path)?;
        let length = bytes.len().to_string();
        let args = ["sudo", "sh", "-c", REPLACE, "replace", path, old, &length];
        let output = self.run_with_input(&args, bytes).await?;
        match output.status {
            CHANGED => Ok(Replaced::ChangedMeanwhile),
            NO_INPUT => Err(FrontendError::NoSuchFile {
                path: path.to_owned(),
            }),
            0 => Ok(Replaced::Done),
            _ if says_disk_full(&output.error_text()) => Err(FrontendError::DiskFull {
                doing: format!("write {path}"),
            }),
            _ => succeeded(&["replace"], output).map(|_output| Replaced::Done),
        }
    }

    /// Removes a file as root; a missing one is fine.
    ///
    /// # Errors
    /// When it can't be removed.
    pub async fn remove(&self, path: &str) -> Result<(), FrontendError> {
        check_path(path)?;
        self.run_ok(&["sudo", "rm", "-f", "--", path], &[])
            .await
            .map(drop)
    }

    /// The last `max_bytes` of a file, read as root.
    ///
    /// # Errors
    /// [`FrontendError::NoSuchFile`] when it is missing.
    pub async fn read_file_tail(
        &self,
        path: &str,
        max_bytes: usize,
    ) -> Result<Vec<u8>, FrontendError> {
        check_path(path)?;
        let max = max_bytes.min(super::OUTPUT_LIMIT).to_string();
        self.read(path, &["sudo", "sh", "-c", READ_TAIL, "tail", path, &max])
            .await
    }

    /// At most `max_bytes` of a file from `offset` on, read as root; empty at its end.
    ///
    /// # Errors
    /// [`FrontendError::NoSuchFile`] when it is missing.
    pub async fn read_from(
        &self,
        path: &str,
        offset: u64,
        max_bytes: usize,
    ) -> Result<Vec<u8>, FrontendError> {
        check_path(path)?;
        let offset = offset.to_string();
        let max = max_bytes.min(super::OUTPUT_LIMIT).to_string();
        let args = ["sudo", "sh", "-c", READ_FROM, "read", path, &offset, &max];
        self.read(path, &args).await
    }

    /// The size of a file in bytes, asked as root.
    ///
    /// # Errors
    /// [`FrontendError::NoSuchFile`] when it is missing.
    pub async fn file_size(&self, path: &str) -> Result<u64, FrontendError> {
        check_path(path)?;
        let size = self
            .read(path, &["sudo", "sh", "-c", SIZE, "size", path])
            .await?;
        let size = String::from_utf8_lossy(&size);
        size.trim()
            .parse()
            .map_err(|_not_a_number| FrontendError::CommandFailed {
                program: "stat".to_owned(),
                status: 0,
                stderr: format!(
                    "it answered {:?}",
                    size.chars().take(40).collect::<String>()
                ),
            })
    }

    async fn read(&self, path: &str, args: &[&str]) -> Result<Vec<u8>, FrontendError> {
        let output = self.run(args).await?;
        if output.status == NO_INPUT {
            return Err(FrontendError::NoSuchFile {
                path: path.to_owned(),
            });
        }
        succeeded(&["tail"], output).map(|output| output.stdout)
    }
}

/// Paths are ours; this only keeps a slip from becoming an option or a relative path.
fn check_path(path: &str) -> Result<(), FrontendError> {
    if path.starts_with('/') && !path.contains(['\0', '\n']) && !path.contains("/../") {
        return Ok(());
    }
    Err(FrontendError::BadArgument {
        what: "a path",
        why: "it is not absolute",
    })
}
