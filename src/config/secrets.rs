//! Where secrets come from: the environment or a file of their own, never the configuration file.

use std::{fmt, io::Read, path::PathBuf};

use secrecy::SecretString;

/// The longest secret that is read, in bytes.
pub const MAX_SECRET_BYTES: u64 = 64 * 1024;

/// Why a secret could not be read.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file did not open or is not text.
    #[error("read the secret file {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file holds nothing.
    #[error("the secret file {path} is empty")]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// The file is longer than [`MAX_SECRET_BYTES`].
    #[error("the secret file {path} is longer than {MAX_SECRET_BYTES} bytes")]
    TooLong {
        /// The file.
        path: PathBuf,
    },
}

/// A secret whose value may change while the bot runs, such as an access token that something
/// else renews.
#[derive(Clone)]
pub struct SecretSource(Source);

#[derive(Clone)]
enum Source {
    Value(SecretString),
    File(PathBuf),
}

impl SecretSource {
    /// A secret that stays the same.
    pub fn value(value: SecretString) -> Self {
        Self(Source::Value(value))
    }

    /// A secret that is read from a file each time.
    pub fn file(path: PathBuf) -> Self {
        Self(Source::File(path))
    }

    /// The value now. The file is small and local, so this blocks only briefly.
    ///
    /// # Errors
    /// [`SecretError`] when the file cannot be read; the operation may try again later.
    pub fn read(&self) -> Result<SecretString, SecretError> {
        match &self.0 {
            Source::Value(value) => Ok(value.clone()),
            Source::File(path) => read_file(path.clone()),
        }
    }
}

impl fmt::Debug for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Source::Value(_) => f.write_str("SecretSource(value)"),
            Source::File(path) => write!(f, "SecretSource(file {})", path.display()),
        }
    }
}

/// Reads a secret, without the white space around it.
pub(super) fn read_file(path: PathBuf) -> Result<SecretString, SecretError> {
    let mut text = String::new();
    let read = std::fs::File::open(&path)
        .and_then(|file| file.take(MAX_SECRET_BYTES + 1).read_to_string(&mut text));
    match read {
        Err(source) => Err(SecretError::Read { path, source }),
        Ok(length) if length as u64 > MAX_SECRET_BYTES => Err(SecretError::TooLong { path }),
        Ok(_) if text.trim().is_empty() => Err(SecretError::Empty { path }),
        Ok(_) => Ok(SecretString::from(text.trim().to_owned())),
    }
}
