//! Where the TOSCA templates come from: a folder, or a web server such as GitHub's.
//!
//! The last template of each method is remembered, so that completion while typing never waits for
//! the network: [`TemplatesClient::remembered`] answers at once, [`TemplatesClient::fetch`] reads
//! anew.
//! Files: `kubernetes.yaml` and its additions of <https://github.com/grycap/tosca>, folder
//! `templates`.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use tokio::io::AsyncReadExt;
use url::Url;

use super::text::{ReadError, read_limited};
use crate::domain::{
    deploy::Method,
    metrics::{Calls, Metrics},
    tosca::{self, Template, TemplateError},
    yaml,
};

/// Why templates could not be read.
#[derive(Debug, thiserror::Error)]
pub enum TemplatesError {
    /// The source is neither a URL nor a path.
    #[error("the source of templates `{source_text}` is not a URL")]
    Source {
        /// The source.
        source_text: String,
        /// Why.
        #[source]
        source: url::ParseError,
    },
    /// No connection, or none in time.
    #[error("could not reach the source of the template `{file}`")]
    Unreachable {
        /// The file.
        file: &'static str,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// The server did not answer with the file.
    #[error("the source of templates answered {status} for `{file}`")]
    Status {
        /// The file.
        file: &'static str,
        /// HTTP status.
        status: u16,
    },
    /// The answer broke off.
    #[error("the template `{file}` broke off")]
    BrokenOff {
        /// The file.
        file: &'static str,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// The answer was too long, or not text.
    #[error(
        "the template `{file}` is longer than {} bytes, or not text",
        yaml::MAX_BYTES
    )]
    NotATemplate {
        /// The file.
        file: &'static str,
    },
    /// The file could not be read.
    #[error("read the template {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The files do not hold.
    #[error(transparent)]
    Template(#[from] TemplateError),
}

impl TemplatesError {
    /// Whether the same call may succeed later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::BrokenOff { .. } => true,
            Self::Status { status, .. } => *status >= 500 || *status == 429,
            Self::Source { .. }
            | Self::NotATemplate { .. }
            | Self::File { .. }
            | Self::Template(_) => false,
        }
    }
}

#[derive(Debug)]
enum Source {
    Web { http: reqwest::Client, base: Url },
    Folder(PathBuf),
}

/// Reads templates from their source.
#[derive(Debug)]
pub struct TemplatesClient {
    source: Source,
    remembered: Mutex<BTreeMap<&'static str, Template>>,
    calls: Calls,
}

fn key(method: Method) -> &'static str {
    match method {
        Method::Helm => "helm",
        Method::Tosca => "tosca",
    }
}

impl TemplatesClient {
    /// A client for a source as the configuration names it: a URL, or the path of a folder.
    ///
    /// # Errors
    /// [`TemplatesError::Source`] when it looks like a URL and is none.
    pub fn new(http: reqwest::Client, source: &str) -> Result<Self, TemplatesError> {
        let source = if source.contains("://") {
            let mut base = Url::parse(source).map_err(|error| TemplatesError::Source {
                source_text: source.chars().take(200).collect(),
                source: error,
            })?;
            if !base.path().ends_with('/') {
                base.set_path(&format!("{}/", base.path()));
            }
            Source::Web { http, base }
        } else {
            Source::Folder(PathBuf::from(source))
        };
        Ok(Self {
            source,
            remembered: Mutex::new(BTreeMap::new()),
            calls: Calls::to("templates"),
        })
    }

    /// Counts its calls there.
    #[must_use]
    pub fn counted_by(mut self, metrics: &Metrics) -> Self {
        self.calls = self.calls.counted_by(metrics);
        self
    }

    /// Reads and merges the templates of a method, and remembers the result.
    ///
    /// # Errors
    /// [`TemplatesError`]; when [`TemplatesError::is_transient`] says so it may be tried again.
    pub async fn fetch(&self, method: Method) -> Result<Template, TemplatesError> {
        let mut texts = BTreeMap::new();
        for file in [&[tosca::BASE], tosca::additions(method)].concat() {
            texts.insert(file, self.read(file).await?);
        }
        let template = Template::merge(method, |file| texts.get(file).map(String::as_str))?;
        let mut remembered = self
            .remembered
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        remembered.insert(key(method), template.clone());
        Ok(template)
    }

    /// The templates as they were when last fetched, at once.
    pub fn remembered(&self, method: Method) -> Option<Template> {
        let remembered = self
            .remembered
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        remembered.get(key(method)).cloned()
    }

    async fn read(&self, file: &'static str) -> Result<String, TemplatesError> {
        match &self.source {
            Source::Web { http, base } => self.calls.count(read_web(http, base, file)).await,
            Source::Folder(folder) => {
                let path = folder.join(file);
                read_file(&path)
                    .await
                    .map_err(|source| TemplatesError::File { path, source })
            }
        }
    }
}

async fn read_web(
    http: &reqwest::Client,
    base: &Url,
    file: &'static str,
) -> Result<String, TemplatesError> {
    let url = base.join(file).map_err(|source| TemplatesError::Source {
        source_text: base.to_string(),
        source,
    })?;
    let answer = http
        .get(url)
        .send()
        .await
        .map_err(|source| TemplatesError::Unreachable { file, source })?;
    let status = answer.status().as_u16();
    if status != 200 {
        return Err(TemplatesError::Status { file, status });
    }
    let body = read_limited(answer, yaml::MAX_BYTES)
        .await
        .map_err(|error| match error {
            ReadError::TooLong { .. } => TemplatesError::NotATemplate { file },
            ReadError::Broken(source) => TemplatesError::BrokenOff { file, source },
        })?;
    String::from_utf8(body).map_err(|_not_text| TemplatesError::NotATemplate { file })
}

async fn read_file(path: &std::path::Path) -> std::io::Result<String> {
    let limit = yaml::MAX_BYTES as u64 + 1;
    let mut text = String::new();
    let file = tokio::fs::File::open(path).await?;
    file.take(limit).read_to_string(&mut text).await?;
    Ok(text)
}
