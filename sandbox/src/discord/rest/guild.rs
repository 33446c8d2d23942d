//! Gateway address, users, the guild and its members.

use serde_json::{Value, json};

use super::{Call, Reply, Route};
use crate::discord::Discord;
use crate::discord::error::{ApiError, ApiResult, Problems};
use crate::discord::ids::Id;
use crate::discord::model::DM;
use crate::discord::shapes;
use crate::discord::state::{APPLICATION, GUILD, new_channel};

impl Discord {
    pub(super) fn get_gateway(&self, route: &Route) -> Reply {
        if *route == Route::Gateway {
            return Reply::Json(json!({"url": self.gateway_url()}));
        }
        Reply::Json(json!({
            "url": self.gateway_url(),
            "shards": 1,
            "session_start_limit": {
                "total": 1_000, "remaining": 999, "reset_after": 86_400_000, "max_concurrency": 1,
            },
        }))
    }

    pub(super) fn get_me(&self) -> Reply {
        Reply::Json(shapes::me(&self.state.read()))
    }

    pub(super) fn get_application(&self) -> Reply {
        let state = self.state.read();
        Reply::Json(json!({
            "id": APPLICATION,
            "name": "pangeo-bot",
            "icon": null,
            "description": "",
            "summary": "",
            "type": null,
            "bot": shapes::user_of(&state, APPLICATION),
            "bot_public": false,
            "bot_require_code_grant": false,
            "verify_key": "0".repeat(64),
            "flags": 1 << 23,
            "hook": true,
            "is_monetized": false,
            "integration_types_config": {"0": {}},
            "owner": state.people.iter().find(|p| p.username == "mia").map(shapes::user),
            "team": null,
            "redirect_uris": [],
            "interactions_endpoint_url": null,
            "approximate_guild_count": 1,
        }))
    }

    pub(super) fn get_user(&self, id: Id) -> ApiResult<Reply> {
        let state = self.state.read();
        let account = state
            .account(id)
            .ok_or_else(|| ApiError::new(404, 10013, "Unknown User"))?;
        Ok(Reply::Json(shapes::user(account)))
    }

    /// Opens the channel for direct messages; one that exists is given again.
    pub(super) fn create_dm(&self, call: &Call) -> ApiResult<Reply> {
        let recipient = call.body.get("recipient_id").and_then(|v| match v {
            Value::String(text) => text.parse().ok(),
            Value::Number(number) => number.as_u64().map(Id::new),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        });
        let Some(recipient) = recipient else {
            let mut problems = Problems::default();
            problems.required("recipient_id");
            return problems.into_result().map(|()| Reply::Empty);
        };
        let mut state = self.state.change();
        let account = state
            .account(recipient)
            .ok_or_else(|| ApiError::new(404, 10013, "Unknown User"))?;
        if account.bot {
            return Err(ApiError::new(
                403,
                50007,
                "Cannot send messages to this user",
            ));
        }
        if let Some(id) = state.dm_between(APPLICATION, recipient) {
            let known = state
                .channels
                .get(&id)
                .ok_or_else(ApiError::unknown_channel)?;
            return Ok(Reply::Json(shapes::channel(&state, known)));
        }
        let id = state.next_id();
        let mut channel = new_channel(id, DM, "");
        channel.recipients = vec![APPLICATION, recipient];
        let shape = shapes::channel(&state, &channel);
        self.tell_channel(&state, &channel, true);
        state.channels.insert(id, channel);
        Ok(Reply::Json(shape))
    }

    pub(super) fn get_guild(&self, id: Id) -> ApiResult<Reply> {
        this_guild(id)?;
        Ok(Reply::Json(shapes::guild(&self.state.read())))
    }

    pub(super) fn get_guild_channels(&self, id: Id) -> ApiResult<Reply> {
        this_guild(id)?;
        let state = self.state.read();
        let channels: Vec<_> = state
            .channels
            .values()
            .filter(|c| c.kind == 0)
            .map(|c| shapes::channel(&state, c))
            .collect();
        Ok(Reply::Json(json!(channels)))
    }

    pub(super) fn get_guild_roles(&self, id: Id) -> ApiResult<Reply> {
        this_guild(id)?;
        Ok(Reply::Json(json!(shapes::roles(&self.state.read()))))
    }

    pub(super) fn get_member(&self, guild: Id, user: Id) -> ApiResult<Reply> {
        this_guild(guild)?;
        let state = self.state.read();
        let account = state
            .account(user)
            .ok_or_else(|| ApiError::new(404, 10007, "Unknown Member"))?;
        Ok(Reply::Json(shapes::member(account)))
    }
}

fn this_guild(id: Id) -> ApiResult<()> {
    if id == GUILD {
        return Ok(());
    }
    Err(ApiError::new(404, 10004, "Unknown Guild"))
}
