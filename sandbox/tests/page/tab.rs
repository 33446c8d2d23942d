//! The page in a browser, with every failure a panic, so that tests read as what a person does.

use std::path::Path;

use sandbox::browser::{Browser, BrowserOptions};
use serde_json::Value;

use crate::mock::Mock;

/// An open page.
pub(crate) struct Tab(Browser);

/// Opens the page of a person and waits until the plan is shown.
pub(crate) async fn opened(person: &str) -> (Mock, Tab) {
    let mock = Mock::start().await;
    let browser = Browser::start(BrowserOptions::default()).await.unwrap();
    browser.open(&mock.page(person)).await.unwrap();
    let tab = Tab(browser);
    tab.has("#main [data-id='3003']").await;
    (mock, tab)
}

impl Tab {
    pub(crate) async fn shows(&self, css: &str, text: &str) {
        self.0.wait_for_text(css, text).await.unwrap();
    }

    pub(crate) async fn has(&self, css: &str) {
        self.0.wait_for(css).await.unwrap();
    }

    pub(crate) async fn loses(&self, css: &str) {
        self.0.wait_until_gone(css).await.unwrap();
    }

    pub(crate) async fn types(&self, css: &str, text: &str) {
        self.0.type_text(css, text).await.unwrap();
    }

    pub(crate) async fn clicks(&self, css: &str) {
        self.0.click(css).await.unwrap();
    }

    pub(crate) async fn clicks_text(&self, css: &str, text: &str) {
        self.0.click_text(css, text).await.unwrap();
    }

    pub(crate) async fn presses(&self, keys: &str) {
        self.0.press(keys).await.unwrap();
    }

    pub(crate) async fn chord(&self, held: &[&str], key: &str) {
        self.0.chord(held, key).await.unwrap();
    }

    pub(crate) async fn pastes(&self, text: &str) {
        self.0.paste(text).await.unwrap();
    }

    pub(crate) async fn text(&self, css: &str) -> String {
        self.0.text(css).await.unwrap()
    }

    pub(crate) async fn count(&self, css: &str) -> u64 {
        self.0.count(css).await.unwrap()
    }

    pub(crate) async fn url(&self) -> String {
        self.0.url().await.unwrap()
    }

    pub(crate) async fn script(&self, script: &str, args: Value) -> Value {
        self.0.script(script, args).await.unwrap()
    }

    pub(crate) async fn resize(&self, width: u32, height: u32) {
        self.0.resize(width, height).await.unwrap();
    }

    pub(crate) async fn screenshot(&self, path: &Path) {
        self.0.screenshot(path).await.unwrap();
    }

    /// Ends the browser; the page must not have written an error to the console.
    pub(crate) async fn done(self) {
        let errors = self.0.console_errors().await.unwrap();
        // A test of a refusal sees the refused request itself.
        let errors: Vec<_> = errors.iter().filter(|line| !line.contains("409")).collect();
        assert!(errors.is_empty(), "the console says {errors:#?}");
        self.0.close().await.unwrap();
    }
}
