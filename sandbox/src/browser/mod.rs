//! A headless Chromium, driven over W3C `WebDriver` through Debian's `chromedriver`.
//!
//! For tests of pages: the sandbox's own, and the bot's log page. Needs the Debian packages
//! `chromium` and `chromium-driver`; without them [`Browser::start`] fails and says so, a test
//! must never pass because the browser is missing.
//!
//! ```no_run
//! # async fn example() -> Result<(), sandbox::browser::BrowserError> {
//! use sandbox::browser::{Browser, BrowserOptions, keys};
//! let browser = Browser::start(BrowserOptions::default()).await?;
//! browser.open("http://127.0.0.1:8080/#as=ana").await?;
//! browser.type_text("#main-composer textarea", "/pangeo deploy ").await?;
//! browser.press(keys::ENTER).await?;
//! browser.wait_for_text(".messages", "deployed").await?;
//! browser.close().await
//! # }
//! ```
//!
//! Source: <https://www.w3.org/TR/webdriver2/> (read 2026-11), and `chromedriver --help`.
//!
//! **Invariant:** every browser has an empty profile of its own and a free port, so that many can
//! run at once; both end with the [`Browser`].

mod driver;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use base64::Engine as _;
use serde_json::{Value, json};

use driver::{Driver, START_TIMEOUT};

/// The key under which `WebDriver` names an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";
/// How often a wait looks again.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Keys for [`Browser::press`], by their `WebDriver` code points.
pub mod keys {
    /// Enter.
    pub const ENTER: &str = "\u{e007}";
    /// Tab.
    pub const TAB: &str = "\u{e004}";
    /// Escape.
    pub const ESCAPE: &str = "\u{e00c}";
    /// Backspace.
    pub const BACKSPACE: &str = "\u{e003}";
    /// Cursor up.
    pub const UP: &str = "\u{e013}";
    /// Cursor down.
    pub const DOWN: &str = "\u{e015}";
    /// Cursor left.
    pub const LEFT: &str = "\u{e012}";
    /// Cursor right.
    pub const RIGHT: &str = "\u{e014}";
    /// Shift, for [`super::Browser::chord`].
    pub const SHIFT: &str = "\u{e008}";
    /// Control, for [`super::Browser::chord`].
    pub const CONTROL: &str = "\u{e009}";
    /// Alt, for [`super::Browser::chord`].
    pub const ALT: &str = "\u{e00a}";
}

/// What went wrong with the browser.
#[derive(Debug, thiserror::Error)]
pub enum BrowserError {
    /// The program is not installed or cannot be started.
    #[error(
        "start {program}: install the Debian packages chromium and chromium-driver (`make test` does)"
    )]
    Start {
        /// The program.
        program: &'static str,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// `chromedriver` did not say on which port it listens.
    #[error("chromedriver did not come up within {START_TIMEOUT:?}")]
    NotReady,
    /// A call to `chromedriver` did not go through.
    #[error("call chromedriver")]
    Call(#[from] reqwest::Error),
    /// The browser refused a command.
    #[error("{command}: {error}: {message}")]
    Refused {
        /// The `WebDriver` command.
        command: String,
        /// `WebDriver`'s error code, such as `no such element`.
        error: String,
        /// Its text.
        message: String,
    },
    /// What was waited for did not come.
    #[error("{what} did not come within {waited:?}; the page shows:\n{page}")]
    Missing {
        /// What was waited for.
        what: String,
        /// How long.
        waited: Duration,
        /// The visible text of the page at the end.
        page: String,
    },
    /// A screenshot or a profile could not be written or read.
    #[error("use the file {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The browser answered something that is not `WebDriver`.
    #[error("read the answer of chromedriver to {0}")]
    Answer(String),
}

/// How the browser is started.
#[derive(Clone, Debug)]
pub struct BrowserOptions {
    /// Width of the page's area, in CSS pixels.
    pub width: u32,
    /// Height of the page's area, in CSS pixels.
    pub height: u32,
    /// How long the `wait_for…` functions wait.
    pub patience: Duration,
}

impl Default for BrowserOptions {
    fn default() -> Self {
        Self {
            width: 1280,
            height: 800,
            patience: Duration::from_secs(20),
        }
    }
}

/// A running headless Chromium with one tab.
pub struct Browser {
    driver: Driver,
    patience: Duration,
}

impl Browser {
    /// Starts a browser with an empty profile.
    ///
    /// # Errors
    /// [`BrowserError::Start`] if chromium or chromedriver is not installed, and
    /// [`BrowserError::Refused`] if the browser does not start.
    pub async fn start(options: BrowserOptions) -> Result<Self, BrowserError> {
        let browser = Self {
            driver: Driver::start(&options).await?,
            patience: options.patience,
        };
        browser.resize(options.width, options.height).await?;
        Ok(browser)
    }

    /// Loads a page and waits until it is loaded.
    ///
    /// # Errors
    /// [`BrowserError::Refused`] if nothing answers there.
    pub async fn open(&self, url: &str) -> Result<(), BrowserError> {
        self.post("url", json!({ "url": url })).await.map(drop)
    }

    /// The address that the browser shows, with its hash.
    ///
    /// # Errors
    /// As any `WebDriver` call.
    pub async fn url(&self) -> Result<String, BrowserError> {
        let url = self.get("url").await?;
        Ok(url.as_str().unwrap_or_default().to_owned())
    }

    /// Sets the size of the page's area in CSS pixels.
    ///
    /// # Errors
    /// As any `WebDriver` call.
    pub async fn resize(&self, width: u32, height: u32) -> Result<(), BrowserError> {
        let body = json!({ "cmd": "Emulation.setDeviceMetricsOverride", "params":
            { "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false } });
        self.post("goog/cdp/execute", body).await.map(drop)
    }

    /// Clicks the element once it is there and can be clicked.
    ///
    /// # Errors
    /// [`BrowserError::Missing`] if it does not come.
    pub async fn click(&self, css: &str) -> Result<(), BrowserError> {
        self.until(&format!("a click on {css}"), async || {
            let element = self.find(css).await?;
            self.post(&format!("element/{element}/click"), json!({}))
                .await
        })
        .await
        .map(drop)
    }

    /// Clicks the first element that matches and whose text, trimmed, is exactly `text`.
    ///
    /// # Errors
    /// [`BrowserError::Missing`] if it does not come.
    pub async fn click_text(&self, css: &str, text: &str) -> Result<(), BrowserError> {
        let script = "return [...document.querySelectorAll(arguments[0])].find(e => \
                      (e.innerText || '').trim() === arguments[1] && !e.disabled) ?? null";
        self.until(
            &format!("a click on {css} with the text {text:?}"),
            async || {
                let found = self.script(script, json!([css, text])).await?;
                let element = element_of(&found).ok_or_else(|| not_there(css))?;
                self.post(&format!("element/{element}/click"), json!({}))
                    .await
            },
        )
        .await
        .map(drop)
    }

    /// Clicks into the element and types, key by key.
    ///
    /// # Errors
    /// [`BrowserError::Missing`] if it does not come.
    pub async fn type_text(&self, css: &str, text: &str) -> Result<(), BrowserError> {
        self.click(css).await?;
        self.press(text).await
    }

    /// Presses the keys one after the other where the focus is; see [`keys`].
    ///
    /// # Errors
    /// As any `WebDriver` call.
    pub async fn press(&self, text: &str) -> Result<(), BrowserError> {
        let strokes = text.chars().flat_map(|key| {
            let key = key.to_string();
            [
                json!({ "type": "keyDown", "value": key }),
                json!({ "type": "keyUp", "value": key }),
            ]
        });
        self.strokes(strokes.collect()).await
    }

    /// Presses a key while others are held down, as in `chord(&[keys::ALT], "p")`.
    ///
    /// # Errors
    /// As any `WebDriver` call.
    pub async fn chord(&self, held: &[&str], key: &str) -> Result<(), BrowserError> {
        let down = |key: &str| json!({ "type": "keyDown", "value": key });
        let up = |key: &str| json!({ "type": "keyUp", "value": key });
        let mut strokes: Vec<Value> = held.iter().map(|key| down(key)).collect();
        strokes.extend([down(key), up(key)]);
        strokes.extend(held.iter().rev().map(|key| up(key)));
        self.strokes(strokes).await
    }

    /// Pastes text where the focus is, as one input.
    ///
    /// # Errors
    /// As any `WebDriver` call.
    pub async fn paste(&self, text: &str) -> Result<(), BrowserError> {
        let body = json!({ "cmd": "Input.insertText", "params": { "text": text } });
        self.post("goog/cdp/execute", body).await.map(drop)
    }

    /// The visible text of the first element that matches; empty if there is none.
    ///
    /// # Errors
    /// As any `WebDriver` call.
    pub async fn text(&self, css: &str) -> Result<String, BrowserError> {
        let script = "return document.querySelector(arguments[0])?.innerText ?? ''";
        let text = self.script(script, json!([css])).await?;
        Ok(text.as_str().unwrap_or_default().to_owned())
    }

    /// How many elements match.
    ///
    /// # Errors
    /// As any `WebDriver` call.
    pub async fn count(&self, css: &str) -> Result<u64, BrowserError> {
        let script = "return document.querySelectorAll(arguments[0]).length";
        let count = self.script(script, json!([css])).await?;
        Ok(count.as_u64().unwrap_or_default())
    }

    /// Waits until an element matches.
    ///
    /// # Errors
    /// [`BrowserError::Missing`] if none does in time.
    pub async fn wait_for(&self, css: &str) -> Result<(), BrowserError> {
        self.until(css, async || self.find(css).await)
            .await
            .map(drop)
    }

    /// Waits until no element matches.
    ///
    /// # Errors
    /// [`BrowserError::Missing`] if one still does.
    pub async fn wait_until_gone(&self, css: &str) -> Result<(), BrowserError> {
        self.wait_until(
            &format!("the end of {css}"),
            "return !document.querySelector(arguments[0])",
            json!([css]),
        )
        .await
    }

    /// Waits until the visible text of an element that matches contains `text`.
    ///
    /// # Errors
    /// [`BrowserError::Missing`] if it does not come in time.
    pub async fn wait_for_text(&self, css: &str, text: &str) -> Result<(), BrowserError> {
        self.wait_until(
            &format!("{text:?} in {css}"),
            "return [...document.querySelectorAll(arguments[0])].some(e => e.innerText.includes(arguments[1]))",
            json!([css, text]),
        )
        .await
    }

    /// Waits until the script returns something true; `what` names it in the error.
    ///
    /// # Errors
    /// [`BrowserError::Missing`] if it does not come in time.
    pub async fn wait_until(
        &self,
        what: &str,
        script: &str,
        args: Value,
    ) -> Result<(), BrowserError> {
        self.until(what, async || {
            let found = self.script(script, args.clone()).await?;
            let is_true = !matches!(found, Value::Null | Value::Bool(false));
            is_true.then_some(()).ok_or_else(|| not_there(what))
        })
        .await
    }

    /// Runs JavaScript in the page and returns what it returns.
    ///
    /// # Errors
    /// [`BrowserError::Refused`] if it throws.
    pub async fn script(&self, script: &str, args: Value) -> Result<Value, BrowserError> {
        self.post("execute/sync", json!({ "script": script, "args": args }))
            .await
    }

    /// What the page wrote to the console as errors, refused resources and policy violations
    /// included, since the last call.
    ///
    /// # Errors
    /// As any `WebDriver` call.
    pub async fn console_errors(&self) -> Result<Vec<String>, BrowserError> {
        let entries = self.post("se/log", json!({ "type": "browser" })).await?;
        let entries = entries.as_array().cloned().unwrap_or_default();
        Ok(entries
            .iter()
            .filter(|entry| entry.get("level").and_then(Value::as_str) == Some("SEVERE"))
            .filter_map(|entry| entry.get("message").and_then(Value::as_str))
            .map(str::to_owned)
            .collect())
    }

    /// Writes what the window shows as a PNG.
    ///
    /// # Errors
    /// [`BrowserError::File`] if it cannot be written.
    pub async fn screenshot(&self, path: &Path) -> Result<(), BrowserError> {
        let picture = self.get("screenshot").await?;
        let encoded = picture.as_str().unwrap_or_default();
        let bytes = base64::engine::general_purpose::STANDARD
            .decode(encoded)
            .map_err(|_not_base64| BrowserError::Answer("screenshot".to_owned()))?;
        std::fs::write(path, bytes).map_err(|source| BrowserError::File {
            path: path.to_owned(),
            source,
        })
    }

    /// Ends the browser; dropping it does the same without telling of failures.
    ///
    /// # Errors
    /// As any `WebDriver` call.
    pub async fn close(mut self) -> Result<(), BrowserError> {
        self.driver.end().await
    }

    /// Tries again until it succeeds or patience ends.
    async fn until<T>(
        &self,
        what: &str,
        attempt: impl AsyncFn() -> Result<T, BrowserError>,
    ) -> Result<T, BrowserError> {
        let start = Instant::now();
        loop {
            match attempt().await {
                Err(BrowserError::Refused { .. }) => {}
                other => return other,
            }
            if start.elapsed() > self.patience {
                return Err(BrowserError::Missing {
                    what: what.to_owned(),
                    waited: self.patience,
                    page: self.text("body").await.unwrap_or_default(),
                });
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    async fn find(&self, css: &str) -> Result<String, BrowserError> {
        let body = json!({ "using": "css selector", "value": css });
        let found = self.post("element", body).await?;
        element_of(&found).ok_or_else(|| BrowserError::Answer(format!("find {css}")))
    }

    async fn strokes(&self, strokes: Vec<Value>) -> Result<(), BrowserError> {
        let body = json!({ "actions": [{ "type": "key", "id": "keyboard", "actions": strokes }] });
        self.post("actions", body).await.map(drop)
    }

    async fn get(&self, command: &str) -> Result<Value, BrowserError> {
        self.driver.call(reqwest::Method::GET, command, None).await
    }

    async fn post(&self, command: &str, body: Value) -> Result<Value, BrowserError> {
        self.driver
            .call(reqwest::Method::POST, command, Some(body))
            .await
    }
}

fn not_there(what: &str) -> BrowserError {
    BrowserError::Refused {
        command: "look".to_owned(),
        error: "not there".to_owned(),
        message: what.to_owned(),
    }
}

fn element_of(value: &Value) -> Option<String> {
    value
        .get(ELEMENT)
        .and_then(Value::as_str)
        .map(str::to_owned)
}
