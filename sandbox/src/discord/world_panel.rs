//! The hook through which the page shows and changes the pretend world.

use futures::future::BoxFuture;
use serde_json::{Map, Value, json};

use super::{Discord, lock};

/// What the page's world panel shows and does; implemented by `crate::world`.
pub trait WorldPanel: Send + Sync + 'static {
    /// `{"simulation": true, "panels": [..], "actions": [..]}`.
    fn panel(&self) -> Value;

    /// Does an action; the text is for the person.
    fn act<'a>(
        &'a self,
        action: &'a str,
        args: Map<String, Value>,
    ) -> BoxFuture<'a, anyhow::Result<String>>;
}

/// What the page shows when there is no world around this Discord.
pub(crate) fn empty() -> Value {
    json!({"simulation": true, "panels": [], "actions": []})
}

impl Discord {
    /// What the world panel shows now.
    pub(crate) fn world_panel(&self) -> Value {
        lock(&self.world).clone().map_or_else(empty, |w| w.panel())
    }

    /// Does one of the world panel's actions.
    pub(crate) async fn world_act(
        &self,
        action: &str,
        args: Map<String, Value>,
    ) -> anyhow::Result<String> {
        let world = lock(&self.world).clone();
        match world {
            Some(world) => world.act(action, args).await,
            None => anyhow::bail!("there is no world around this Discord"),
        }
    }
}
