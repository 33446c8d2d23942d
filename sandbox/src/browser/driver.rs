//! The process `chromedriver` and the calls to it.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{ChildStdin, Command};

use super::{BrowserError, BrowserOptions};

/// How long one `WebDriver` call may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);
/// How long `chromedriver` may take to start on a busy machine.
pub(super) const START_TIMEOUT: Duration = Duration::from_secs(60);
/// How long an unfinished browser may take to end.
const END_TIMEOUT: Duration = Duration::from_secs(5);

/// Runs `chromedriver` until the standard input closes, which the kernel does even if the test is
/// killed; Chromium in turn ends when its pipe to `chromedriver` closes.
const SUPERVISE: &str = r#""$0" --port=0 & cat > /dev/null; kill "$!""#;

/// A running `chromedriver` with one session; ends both when dropped.
pub(super) struct Driver {
    /// Held open as long as the driver shall run.
    lifeline: Option<ChildStdin>,
    port: u16,
    /// Empty before the session starts and after it ended.
    session: String,
    profile: PathBuf,
    http: reqwest::Client,
}

impl Driver {
    pub(super) async fn start(options: &BrowserOptions) -> Result<Self, BrowserError> {
        let chromium = find_program("chromium")?;
        let (lifeline, port) = start_process().await?;
        let name = format!("sandbox-browser-{}", uuid::Uuid::new_v4());
        let profile = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&profile).map_err(|source| BrowserError::File {
            path: profile.clone(),
            source,
        })?;
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(CALL_TIMEOUT)
            .build()?;
        let mut driver = Self {
            lifeline: Some(lifeline),
            port,
            session: String::new(),
            profile,
            http,
        };
        let wanted = capabilities(&chromium, &driver.profile, options);
        let answer = driver
            .send(reqwest::Method::POST, "session", Some(wanted))
            .await?;
        driver.session = answer
            .get("sessionId")
            .and_then(Value::as_str)
            .ok_or_else(|| BrowserError::Answer("new session".to_owned()))?
            .to_owned();
        Ok(driver)
    }

    /// Calls a command of the session; an empty one is the session itself.
    pub(super) async fn call(
        &self,
        method: reqwest::Method,
        command: &str,
        body: Option<Value>,
    ) -> Result<Value, BrowserError> {
        let path = format!("session/{}/{command}", self.session);
        self.send(method, path.trim_end_matches('/'), body).await
    }

    /// Ends the browser and waits until it has ended.
    pub(super) async fn end(&mut self) -> Result<(), BrowserError> {
        self.call(reqwest::Method::DELETE, "", None).await?;
        self.session.clear();
        Ok(())
    }

    async fn send(
        &self,
        method: reqwest::Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Value, BrowserError> {
        let mut request = self
            .http
            .request(method, format!("http://127.0.0.1:{}/{path}", self.port));
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer: Value = request.send().await?.json().await?;
        let value = answer.get("value").cloned().unwrap_or_default();
        let text = |key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
        match text("error") {
            Some(error) => Err(BrowserError::Refused {
                command: path.to_owned(),
                error,
                message: text("message").unwrap_or_default(),
            }),
            None => Ok(value),
        }
    }

    /// Asks the driver to end Chromium, without a runtime: only the driver knows its processes.
    fn end_now(&self) -> std::io::Result<()> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        stream.set_read_timeout(Some(END_TIMEOUT))?;
        let session = &self.session;
        write!(
            stream,
            "DELETE /session/{session} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
        )?;
        stream.read(&mut [0; 512]).map(drop)
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        if !self.session.is_empty()
            && let Err(error) = self.end_now()
        {
            tracing::debug!(%error, "the browser was not ended in order");
        }
        drop(self.lifeline.take());
        if let Err(error) = std::fs::remove_dir_all(&self.profile) {
            tracing::debug!(%error, "the browser's profile is left behind");
        }
    }
}

fn find_program(program: &'static str) -> Result<PathBuf, BrowserError> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
        .ok_or_else(|| BrowserError::Start {
            program,
            source: std::io::ErrorKind::NotFound.into(),
        })
}

/// Starts `chromedriver` on a free port and reads from its output which one it is.
async fn start_process() -> Result<(ChildStdin, u16), BrowserError> {
    let program = "chromedriver";
    let path = find_program(program)?;
    let mut shell = Command::new("/bin/sh")
        .arg("-c")
        .arg(SUPERVISE)
        .arg(path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|source| BrowserError::Start { program, source })?;
    let lifeline = shell.stdin.take().ok_or(BrowserError::NotReady)?;
    let output = shell.stdout.take().ok_or(BrowserError::NotReady)?;
    let mut lines = BufReader::new(output).lines();
    let port = tokio::time::timeout(START_TIMEOUT, async {
        while let Ok(Some(line)) = lines.next_line().await {
            let port = line.rsplit("successfully on port ").next();
            if let Some(Ok(port)) = port.map(|text| text.trim_end_matches('.').parse()) {
                return Some(port);
            }
        }
        None
    })
    .await;
    match port {
        Ok(Some(port)) => {
            // The driver must be able to go on writing, and the shell is waited for at its end.
            tokio::spawn(async move {
                while let Ok(Some(_)) = lines.next_line().await {}
                shell.wait().await
            });
            Ok((lifeline, port))
        }
        Ok(None) | Err(_) => Err(BrowserError::NotReady),
    }
}

fn capabilities(chromium: &Path, profile: &Path, options: &BrowserOptions) -> Value {
    let BrowserOptions { width, height, .. } = options;
    let args = [
        "--headless=new".to_owned(),
        // Tests run as root in containers, where Chromium's own sandbox cannot start.
        "--no-sandbox".to_owned(),
        // The browser ends with the driver, even if that is killed.
        "--remote-debugging-pipe".to_owned(),
        "--disable-gpu".to_owned(),
        "--disable-quic".to_owned(),
        "--disable-dev-shm-usage".to_owned(),
        "--no-first-run".to_owned(),
        "--no-default-browser-check".to_owned(),
        "--disable-background-networking".to_owned(),
        "--disable-component-update".to_owned(),
        "--disable-sync".to_owned(),
        "--no-proxy-server".to_owned(),
        format!("--window-size={width},{height}"),
        format!("--user-data-dir={}", profile.display()),
    ];
    json!({ "capabilities": { "alwaysMatch": {
        "browserName": "chrome",
        "goog:loggingPrefs": { "browser": "ALL" },
        "goog:chromeOptions": { "binary": chromium, "args": args }
    } } })
}
