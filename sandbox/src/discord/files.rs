//! The files on messages: bounded in memory, kept beside the state file, served under `/cdn/`.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, Weak};

use axum::Router;
use axum::body::Bytes;
use axum::extract::Path as UrlPath;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::ids::Id;
use super::model::Attachment;
use super::{Discord, Server, lock};

/// How many bytes of files are kept; the oldest go first.
const TOTAL_BYTES: usize = 200 * 1024 * 1024;

/// The bytes of the files.
pub(crate) struct Files {
    kept: Mutex<BTreeMap<Id, Bytes>>,
    /// Those that came with a command.
    given: Mutex<BTreeMap<Id, Attachment>>,
    folder: Option<PathBuf>,
}

impl Files {
    pub(crate) fn new(state_file: Option<&Path>) -> Self {
        Self {
            kept: Mutex::default(),
            given: Mutex::default(),
            folder: state_file.map(|path| path.with_extension("files")),
        }
    }

    pub(crate) fn add(&self, id: Id, bytes: Bytes) {
        if let Some(folder) = &self.folder {
            let write = || {
                std::fs::create_dir_all(folder)?;
                std::fs::write(folder.join(id.to_string()), &bytes)
            };
            if let Err(error) = write() {
                tracing::warn!(%error, "a file on a message was not kept");
            }
        }
        let mut kept = lock(&self.kept);
        kept.insert(id, bytes);
        while kept.values().map(Bytes::len).sum::<usize>() > TOTAL_BYTES {
            let Some((oldest, _)) = kept.pop_first() else {
                return;
            };
            self.forget_on_disk(oldest);
        }
    }

    /// Keeps a file that comes with a command.
    pub(crate) fn give(&self, file: Attachment, bytes: Bytes) {
        self.add(file.id, bytes);
        lock(&self.given).insert(file.id, file);
    }

    /// A file that came with a command.
    pub(crate) fn given(&self, id: Id) -> Option<Attachment> {
        lock(&self.given).get(&id).cloned()
    }

    pub(crate) fn get(&self, id: Id) -> Option<Bytes> {
        if let Some(bytes) = lock(&self.kept).get(&id) {
            return Some(bytes.clone());
        }
        let path = self.folder.as_ref()?.join(id.to_string());
        std::fs::read(path).ok().map(Bytes::from)
    }

    pub(crate) fn remove(&self, id: Id) {
        drop(lock(&self.kept).remove(&id));
        self.forget_on_disk(id);
    }

    fn forget_on_disk(&self, id: Id) {
        if let Some(folder) = &self.folder {
            // It may never have been written.
            drop(std::fs::remove_file(folder.join(id.to_string())));
        }
    }
}

impl Discord {
    /// Keeps a file that comes with a command; its id.
    pub(crate) fn take_file(&self, name: &str, content: Bytes) -> Id {
        let filename = clean_name(name);
        let id = self.state.change().next_id();
        let given = Attachment {
            id,
            content_type: content_type(&filename).to_owned(),
            size: content.len() as u64,
            description: None,
            filename,
        };
        self.files.give(given, content);
        id
    }

    /// The bytes of a file on a message.
    pub fn file(&self, id: Id) -> Option<Vec<u8>> {
        self.files.get(id).map(|bytes| bytes.to_vec())
    }
}

pub(crate) fn router() -> Router<Weak<Discord>> {
    Router::new().route("/cdn/attachments/{channel}/{id}/{name}", get(serve))
}

async fn serve(
    Server(discord): Server,
    UrlPath((channel, id, name)): UrlPath<(Id, Id, String)>,
) -> Response {
    let content_type = {
        let state = discord.state.read();
        let mut messages = state
            .messages
            .get(&channel)
            .into_iter()
            .flat_map(|m| m.values());
        messages.find_map(|m| {
            let file = m
                .attachments
                .iter()
                .find(|a| a.id == id && a.filename == name)?;
            Some(file.content_type.clone())
        })
    };
    let of_command = discord.files.given(id).filter(|file| file.filename == name);
    let content_type = content_type.or(of_command.map(|file| file.content_type));
    let (Some(content_type), Some(bytes)) = (content_type, discord.files.get(id)) else {
        return (
            StatusCode::NOT_FOUND,
            "This content is no longer available.",
        )
            .into_response();
    };
    let headers = [
        (header::CONTENT_TYPE, content_type.as_str()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; sandbox",
        ),
    ];
    (headers, bytes).into_response()
}

/// MIME type by the ending of a name, as Discord guesses it.
pub(crate) fn content_type(name: &str) -> &'static str {
    let types = HashMap::from([
        ("txt", "text/plain; charset=utf-8"),
        ("log", "text/plain; charset=utf-8"),
        ("diff", "text/x-diff; charset=utf-8"),
        ("md", "text/markdown; charset=utf-8"),
        ("yaml", "text/yaml; charset=utf-8"),
        ("yml", "text/yaml; charset=utf-8"),
        ("json", "application/json; charset=utf-8"),
        ("csv", "text/csv; charset=utf-8"),
        ("png", "image/png"),
        ("jpg", "image/jpeg"),
        ("svg", "image/svg+xml"),
    ]);
    let ending = name.rsplit_once('.').map(|(_, e)| e.to_ascii_lowercase());
    ending
        .and_then(|e| types.get(e.as_str()).copied())
        .unwrap_or("application/octet-stream")
}

/// A file name as Discord cleans it: anything but letters, digits, `.`, `-`, `_` becomes `_`.
pub(crate) fn clean_name(name: &str) -> String {
    let clean: String = name
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || ".-_".contains(c) {
                c
            } else {
                '_'
            }
        })
        .take(128)
        .collect();
    if clean.is_empty() {
        "unknown".to_owned()
    } else {
        clean
    }
}
