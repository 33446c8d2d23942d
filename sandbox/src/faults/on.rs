//! Which requests are meant.

use serde::{Deserialize, Serialize};

use super::SeenRequest;

/// Which requests are meant. Every part that is set must fit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct On {
    /// The method in capitals; any if absent.
    pub method: Option<String>,
    /// Part of the path with its query; empty fits all.
    pub path: String,
    /// Whether `path` is the whole path (without the query) instead of a part of it.
    pub exact: bool,
    /// How many requests that fit are let through first.
    pub skip: u32,
}

impl On {
    /// Every request.
    pub fn any() -> Self {
        Self::default()
    }

    /// Requests with this method whose path and query contain `path`.
    pub fn method(method: &str, path: &str) -> Self {
        Self {
            method: Some(method.to_ascii_uppercase()),
            path: path.to_owned(),
            ..Self::default()
        }
    }

    /// `GET` requests whose path and query contain `path`.
    pub fn get(path: &str) -> Self {
        Self::method("GET", path)
    }

    /// `POST` requests whose path and query contain `path`.
    pub fn post(path: &str) -> Self {
        Self::method("POST", path)
    }

    /// `PUT` requests whose path and query contain `path`.
    pub fn put(path: &str) -> Self {
        Self::method("PUT", path)
    }

    /// `PATCH` requests whose path and query contain `path`.
    pub fn patch(path: &str) -> Self {
        Self::method("PATCH", path)
    }

    /// `DELETE` requests whose path and query contain `path`.
    pub fn delete(path: &str) -> Self {
        Self::method("DELETE", path)
    }

    /// Takes `path` as the whole path, the query left aside.
    #[must_use]
    pub fn exactly(mut self) -> Self {
        self.exact = true;
        self
    }

    /// Lets the first `skip` requests that fit through.
    #[must_use]
    pub fn after(mut self, skip: u32) -> Self {
        self.skip = skip;
        self
    }

    pub(super) fn fits(&self, seen: &SeenRequest) -> bool {
        let method = self.method.as_ref().is_none_or(|m| *m == seen.method);
        let path = if self.exact {
            seen.path.split('?').next() == Some(self.path.as_str())
        } else {
            seen.path.contains(&self.path)
        };
        method && path
    }
}
