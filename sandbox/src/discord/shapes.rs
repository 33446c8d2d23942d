//! JSON as Discord writes it.
//!
//! Every function gives what REST gives; what the gateway adds or leaves out is said there.

use serde_json::{Map, Value, json};

use super::ids::Id;
use super::model::{
    Account, Attachment, Cause, Channel, DM, HAS_THREAD, Message, Permission, Reaction, Role,
};
use super::state::{APPLICATION, GUILD, State};

/// Discord's maximal size of one file, in bytes.
pub(crate) const MAX_FILE_BYTES: usize = 10 * 1024 * 1024;

/// When the guild was made and everybody joined.
const JOINED: &str = "2026-01-05T08:00:00.000000+00:00";

fn time(at: chrono::DateTime<chrono::Utc>) -> String {
    at.format("%Y-%m-%dT%H:%M:%S%.6f+00:00").to_string()
}

pub(crate) fn user(account: &Account) -> Value {
    let mut user = json!({
        "id": account.id,
        "username": account.username,
        "avatar": null,
        "discriminator": if account.bot { "4242" } else { "0" },
        "public_flags": 0,
        "flags": 0,
        "banner": null,
        "accent_color": null,
        "global_name": if account.bot { Value::Null } else { json!(account.display_name) },
        "avatar_decoration_data": null,
        "collectibles": null,
        "display_name_styles": null,
        "banner_color": null,
        "clan": null,
        "primary_guild": null,
    });
    if let (true, Some(map)) = (account.bot, user.as_object_mut()) {
        map.insert("bot".to_owned(), json!(true));
    }
    user
}

pub(crate) fn user_of(state: &State, id: Id) -> Value {
    state.account(id).map_or_else(
        || json!({"id": id, "username": "deleted", "avatar": null, "discriminator": "0", "global_name": null, "public_flags": 0, "flags": 0, "primary_guild": null}),
        user,
    )
}

/// The bot's own user, as `GET /users/@me` gives it.
pub(crate) fn me(state: &State) -> Value {
    let mut me = user_of(state, APPLICATION);
    if let Some(map) = me.as_object_mut() {
        for (key, value) in [
            ("mfa_enabled", json!(true)),
            ("locale", json!("en-US")),
            ("premium_type", json!(0)),
            ("email", Value::Null),
            ("verified", json!(true)),
            ("bio", json!("")),
        ] {
            map.insert(key.to_owned(), value);
        }
    }
    me
}

/// A member without its user, as in `MESSAGE_CREATE`.
pub(crate) fn bare_member(account: &Account) -> Value {
    json!({
        "avatar": null,
        "banner": null,
        "communication_disabled_until": null,
        "flags": 0,
        "joined_at": JOINED,
        "nick": null,
        "pending": false,
        "premium_since": null,
        "roles": account.roles,
        "deaf": false,
        "mute": false,
    })
}

pub(crate) fn member(account: &Account) -> Value {
    let mut member = bare_member(account);
    if let Some(map) = member.as_object_mut() {
        map.insert("user".to_owned(), user(account));
    }
    member
}

pub(crate) fn role(role: &Role) -> Value {
    json!({
        "id": role.id,
        "name": role.name,
        "description": null,
        "permissions": "0",
        "position": role.position,
        "color": role.color,
        "colors": {"primary_color": role.color, "secondary_color": null, "tertiary_color": null},
        "hoist": true,
        "managed": false,
        "mentionable": true,
        "icon": null,
        "unicode_emoji": null,
        "flags": 0,
    })
}

/// All roles with `@everyone`, whose id is the guild's.
pub(crate) fn roles(state: &State) -> Vec<Value> {
    let everyone = Role {
        id: GUILD,
        name: "@everyone".to_owned(),
        color: 0,
        position: 0,
    };
    std::iter::once(&everyone)
        .chain(&state.roles)
        .map(role)
        .collect()
}

/// A channel as Discord shows it to the bot.
pub(crate) fn channel(state: &State, channel: &Channel) -> Value {
    if channel.kind == DM {
        let others = channel.recipients.iter().filter(|id| **id != APPLICATION);
        return json!({
            "id": channel.id,
            "type": DM,
            "last_message_id": channel.last_message,
            "flags": 0,
            "recipients": others.map(|id| user_of(state, *id)).collect::<Vec<_>>(),
        });
    }
    if channel.is_thread() {
        return thread(channel);
    }
    json!({
        "id": channel.id,
        "type": channel.kind,
        "guild_id": GUILD,
        "name": channel.name,
        "topic": channel.topic,
        "position": 0,
        "parent_id": null,
        "nsfw": false,
        "rate_limit_per_user": 0,
        "last_message_id": channel.last_message,
        "permission_overwrites": [],
        "flags": 0,
    })
}

fn thread(channel: &Channel) -> Value {
    json!({
        "id": channel.id,
        "type": channel.kind,
        "guild_id": GUILD,
        "name": channel.name,
        "parent_id": channel.parent,
        "owner_id": channel.owner,
        "last_message_id": channel.last_message,
        "rate_limit_per_user": 0,
        "flags": 0,
        "message_count": channel.message_count.min(50),
        "total_message_sent": channel.message_count,
        "member_count": 1,
        "thread_metadata": {
            "archived": channel.archived,
            "archive_timestamp": time(channel.created),
            "auto_archive_duration": channel.auto_archive_minutes,
            "locked": channel.locked,
            "create_timestamp": time(channel.created),
        },
    })
}

pub(crate) fn emoji(raw: &str) -> Value {
    match raw.split_once(':') {
        Some((name, id)) => json!({"id": id, "name": name}),
        None => json!({"id": null, "name": raw}),
    }
}

fn reaction(reaction: &Reaction) -> Value {
    let count = reaction.users.len();
    let me = reaction.users.contains(&APPLICATION);
    json!({
        "emoji": emoji(&reaction.emoji),
        "count": count,
        "count_details": {"burst": 0, "normal": count},
        "burst_colors": [],
        "me_burst": false,
        "me": me,
    })
}

pub(crate) fn attachment(base: &str, of: &Message, file: &Attachment) -> Value {
    let url = format!(
        "{base}/cdn/attachments/{}/{}/{}",
        of.channel_id, file.id, file.filename
    );
    let mut shape = json!({
        "id": file.id,
        "filename": file.filename,
        "size": file.size,
        "url": url,
        "proxy_url": url,
        "content_type": file.content_type,
    });
    if let Some(map) = shape.as_object_mut() {
        if let Some(text) = &file.description {
            map.insert("description".to_owned(), json!(text));
        }
        if of.is_ephemeral() {
            map.insert("ephemeral".to_owned(), json!(true));
        }
    }
    shape
}

/// A file that came with a command.
pub(crate) fn given_file(base: &str, channel: Id, file: &Attachment) -> Value {
    let url = format!(
        "{base}/cdn/attachments/{channel}/{}/{}",
        file.id, file.filename
    );
    json!({
        "id": file.id,
        "filename": file.filename,
        "size": file.size,
        "url": url,
        "proxy_url": url,
        "content_type": file.content_type,
        "ephemeral": true,
    })
}

/// Gives pictures of embeds that name an attached file (`attachment://chart.png`) its address; such
/// a file is not among the message's attachments any more (Discord, "Using Attachments within
/// Embeds").
fn show_pictures(embeds: &mut Value, files: &mut Vec<Value>) {
    for embed in embeds.as_array_mut().into_iter().flatten() {
        for place in ["/image", "/thumbnail"] {
            let Some(picture) = embed.pointer_mut(place).and_then(Value::as_object_mut) else {
                continue;
            };
            let url = picture
                .get("url")
                .and_then(Value::as_str)
                .unwrap_or_default();
            let Some(name) = url.strip_prefix("attachment://") else {
                continue;
            };
            let named = |file: &Value| file.get("filename").and_then(Value::as_str) == Some(name);
            let Some(at) = files.iter().position(named) else {
                continue;
            };
            let address = files.remove(at).get("url").cloned().unwrap_or_default();
            picture.insert("url".to_owned(), address.clone());
            picture.insert("proxy_url".to_owned(), address);
            // What the bot left open, such as the size; Discord fills it in or leaves it out.
            picture.retain(|_key, value| !value.is_null());
        }
    }
}

/// A message as REST gives it, and whom it mentions; never with its nonce.
pub(crate) fn message(state: &State, message: &Message) -> Value {
    let mut files: Vec<_> = message
        .attachments
        .iter()
        .map(|file| attachment(&state.base, message, file))
        .collect();
    let mut embeds = json!(message.embeds);
    show_pictures(&mut embeds, &mut files);
    let mentions: Vec<_> = message
        .mentions
        .iter()
        .map(|id| user_of(state, *id))
        .collect();
    let shape = json!({
        "type": message.kind,
        "content": message.content,
        "mentions": mentions,
        "mention_roles": message.mention_roles,
        "attachments": files,
        "embeds": embeds,
        "timestamp": time(message.timestamp),
        "edited_timestamp": message.edited.map(time),
        "flags": message.flags,
        "components": message.components,
        "id": message.id,
        "channel_id": message.channel_id,
        "author": user_of(state, message.author),
        "pinned": false,
        "mention_everyone": message.mention_everyone,
        "tts": false,
    });
    let Value::Object(mut map) = shape else {
        return shape;
    };
    add_optional(state, message, &mut map);
    Value::Object(map)
}

fn metadata(state: &State, cause: &Cause) -> Value {
    let mut shape = json!({
        "id": cause.id,
        "type": cause.kind,
        "user": user_of(state, cause.user),
        "authorizing_integration_owners": {"0": GUILD},
    });
    if let Some(map) = shape.as_object_mut() {
        if cause.kind == 2 {
            map.insert("name".to_owned(), json!(cause.name));
        }
        if let Some(source) = cause.source {
            map.insert("interacted_message_id".to_owned(), json!(source));
        }
        if let Some(trigger) = &cause.trigger {
            let trigger = metadata(state, trigger);
            map.insert("triggering_interaction_metadata".to_owned(), trigger);
        }
    }
    shape
}

fn add_optional(state: &State, message: &Message, map: &mut Map<String, Value>) {
    if !message.reactions.is_empty() {
        let all: Vec<_> = message.reactions.iter().map(reaction).collect();
        map.insert("reactions".to_owned(), Value::Array(all));
    }
    if let Some(cause) = &message.cause {
        map.insert("webhook_id".to_owned(), json!(APPLICATION));
        map.insert("interaction_metadata".to_owned(), metadata(state, cause));
    }
    if message.author == APPLICATION {
        map.insert("application_id".to_owned(), json!(APPLICATION));
    }
    if let Some(reference) = message.reference {
        let value = if message.kind == 18 {
            json!({"type": 0, "channel_id": reference, "guild_id": GUILD})
        } else {
            json!({"type": 0, "channel_id": message.channel_id, "message_id": reference, "guild_id": GUILD})
        };
        map.insert("message_reference".to_owned(), value);
    }
    if message.flags & HAS_THREAD != 0
        && let Some(channel) = state.channels.get(&message.id)
    {
        map.insert("thread".to_owned(), thread(channel));
    }
}

/// Takes out what a bot without the intent for message content does not see.
pub(crate) fn without_content(shape: &mut Value) {
    if let Some(map) = shape.as_object_mut() {
        map.insert("content".to_owned(), json!(""));
        for key in ["embeds", "attachments", "components"] {
            map.insert(key.to_owned(), json!([]));
        }
    }
}

/// The guild as `GET /guilds/{id}` gives it.
pub(crate) fn guild(state: &State) -> Value {
    let mut shape = json!({
        "id": GUILD,
        "name": "Pangeo VO",
        "description": "A simulation",
        "features": ["COMMUNITY"],
        "owner_id": state.people.iter().find(|p| p.username == "mia").map(|p| p.id),
        "region": "deprecated",
        "afk_timeout": 300,
        "system_channel_flags": 0,
        "widget_enabled": false,
        "verification_level": 1,
        "roles": roles(state),
        "default_message_notifications": 1,
        "mfa_level": 1,
        "explicit_content_filter": 2,
        "max_members": 500_000,
        "max_stage_video_channel_users": 50,
        "max_video_channel_users": 25,
        "premium_tier": 0,
        "premium_subscription_count": 0,
        "preferred_locale": "en-GB",
        "premium_progress_bar_enabled": false,
        "nsfw": false,
        "nsfw_level": 0,
        "emojis": [],
        "stickers": [],
    });
    let absent = [
        "icon",
        "home_header",
        "splash",
        "discovery_splash",
        "banner",
        "application_id",
        "afk_channel_id",
        "system_channel_id",
        "widget_channel_id",
        "max_presences",
        "vanity_url_code",
        "rules_channel_id",
        "safety_alerts_channel_id",
        "public_updates_channel_id",
        "premium_progress_bar_enabled_user_updated_at",
        "incidents_data",
        "hub_type",
    ];
    if let Some(map) = shape.as_object_mut() {
        for key in absent {
            map.insert(key.to_owned(), Value::Null);
        }
    }
    shape
}

/// The guild as `GUILD_CREATE` gives it: with channels, threads and the bot as only member.
pub(crate) fn guild_create(state: &State) -> Value {
    let mut shape = guild(state);
    let visible = |c: &&Channel| c.kind != DM && state.sees(APPLICATION, c);
    let (threads, channels): (Vec<_>, Vec<_>) = state
        .channels
        .values()
        .filter(visible)
        .partition(|c| c.is_thread());
    let open: Vec<_> = threads
        .into_iter()
        .filter(|t| !t.archived)
        .map(thread)
        .collect();
    let channels: Vec<_> = channels.into_iter().map(|c| channel(state, c)).collect();
    let me: Vec<_> = state.account(APPLICATION).map(member).into_iter().collect();
    if let Some(map) = shape.as_object_mut() {
        for (key, value) in [
            ("joined_at", json!(JOINED)),
            ("large", json!(false)),
            ("unavailable", json!(false)),
            ("member_count", json!(state.people.len())),
            ("voice_states", json!([])),
            ("members", Value::Array(me)),
            ("channels", Value::Array(channels)),
            ("threads", Value::Array(open)),
            ("presences", json!([])),
            ("stage_instances", json!([])),
            ("guild_scheduled_events", json!([])),
            ("soundboard_sounds", json!([])),
        ] {
            map.insert(key.to_owned(), value);
        }
    }
    shape
}

/// What an interaction tells about who and where; `data` and `message` come on top.
pub(crate) fn interaction_base(state: &State, at: Id, by: Id) -> Map<String, Value> {
    let mut map = Map::new();
    let mut put = |key: &str, value: Value| {
        map.insert(key.to_owned(), value);
    };
    put("application_id", json!(APPLICATION));
    put("channel_id", json!(at));
    let found = state.channels.get(&at);
    if let Some(found) = found {
        let mut shape = channel(state, found);
        if let Some(channel) = shape.as_object_mut() {
            let bits = state.permissions(by, at).to_string();
            channel.insert("permissions".to_owned(), json!(bits));
        }
        put("channel", shape);
    }
    let in_dm = found.is_some_and(|c| c.kind == DM);
    if in_dm {
        put("user", user_of(state, by));
        put("context", json!(1));
        put("authorizing_integration_owners", json!({"0": "0"}));
    } else {
        put("guild_id", json!(GUILD));
        put(
            "guild",
            json!({"id": GUILD, "locale": "en-GB", "features": ["COMMUNITY"]}),
        );
        put("guild_locale", json!("en-GB"));
        put("context", json!(0));
        put("authorizing_integration_owners", json!({"0": GUILD}));
        if let Some(account) = state.account(by) {
            let mut member = member(account);
            if let Some(member) = member.as_object_mut() {
                let bits = state.permissions(by, at).to_string();
                member.insert("permissions".to_owned(), json!(bits));
            }
            put("member", member);
        }
    }
    put("version", json!(1));
    put("locale", json!("en-GB"));
    put("entitlements", json!([]));
    put("entitlement_sku_ids", json!([]));
    put("attachment_size_limit", json!(MAX_FILE_BYTES));
    let bits = if in_dm {
        Permission::ALL
    } else {
        state.permissions(APPLICATION, at)
    };
    put("app_permissions", json!(bits.to_string()));
    map
}
