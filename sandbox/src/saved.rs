//! State that survives a restart of the sandbox.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::Context;
use serde::{Serialize, de::DeserializeOwned};

/// A value behind a lock that is kept in a JSON file, if it has one.
pub struct Saved<T> {
    value: Mutex<T>,
    file: Option<PathBuf>,
    dirty: AtomicBool,
    /// Whoever writes the file.
    writing: Mutex<()>,
}

impl<T: Serialize + DeserializeOwned + Default> Saved<T> {
    /// Opens the file, or starts with the default value if there is none.
    ///
    /// # Errors
    /// When the file exists and does not parse: remove it (`make clean`).
    pub fn open(file: Option<PathBuf>) -> anyhow::Result<Self> {
        let value = match &file {
            Some(path) if path.exists() => {
                let bytes =
                    std::fs::read(path).with_context(|| format!("read {}", path.display()))?;
                serde_json::from_slice(&bytes).with_context(|| {
                    format!("{} does not parse; `make clean` removes it", path.display())
                })?
            }
            _ => T::default(),
        };
        Ok(Self {
            value: Mutex::new(value),
            file,
            dirty: AtomicBool::new(false),
            writing: Mutex::default(),
        })
    }

    /// Looks at the value. Do not hold the guard over an await.
    pub fn read(&self) -> MutexGuard<'_, T> {
        self.value.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the value to change it; [`Saved::save`] will write it.
    pub fn change(&self) -> MutexGuard<'_, T> {
        self.dirty.store(true, Ordering::Release);
        self.read()
    }

    /// Writes the value to its file if it changed since the last time. Call it every second or so
    /// and once before the end.
    ///
    /// # Errors
    /// When the file can't be written.
    pub fn save(&self) -> anyhow::Result<()> {
        let Some(path) = &self.file else {
            return Ok(());
        };
        let _turn = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.dirty.swap(false, Ordering::AcqRel) {
            return Ok(());
        }
        let bytes = serde_json::to_vec(&*self.read())?;
        let beside = path.with_extension("tmp");
        std::fs::write(&beside, bytes).with_context(|| format!("write {}", beside.display()))?;
        std::fs::rename(&beside, path).with_context(|| format!("write {}", path.display()))
    }
}
