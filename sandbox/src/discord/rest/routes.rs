//! The routes that this Discord knows.

use crate::discord::ids::Id;

/// A known route with its parameters. `None` as message of a response is `@original`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    Gateway,
    GatewayBot,
    Me,
    MyApplication,
    GetUser(Id),
    CreateDm,
    GetGuild(Id),
    GuildChannels(Id),
    GuildRoles(Id),
    GetMember(Id, Id),
    ListCommands(Id),
    PutCommands(Id),
    CreateCommand(Id),
    GetCommand(Id, Id),
    EditCommand(Id, Id),
    DeleteCommand(Id, Id),
    GetChannel(Id),
    EditChannel(Id),
    DeleteChannel(Id),
    Typing(Id),
    ThreadFromMessage(Id, Id),
    CreateThread(Id),
    JoinThread(Id),
    ThreadMember(Id, Id),
    ListMessages(Id),
    CreateMessage(Id),
    GetMessage(Id, Id),
    EditMessage(Id, Id),
    DeleteMessage(Id, Id),
    BulkDelete(Id),
    ListReactions(Id, Id, String),
    AddReaction(Id, Id, String),
    RemoveOwnReaction(Id, Id, String),
    RemoveReaction(Id, Id, String, Id),
    RemoveEmoji(Id, Id, String),
    RemoveReactions(Id, Id),
    Callback(Id, String),
    FollowUp(Id, String),
    GetResponse(Id, String, Option<Id>),
    EditResponse(Id, String, Option<Id>),
    DeleteResponse(Id, String, Option<Id>),
}

impl Route {
    /// Finds the route of a decoded path such as `/channels/1/messages`.
    pub(crate) fn parse(method: &str, path: &str) -> Option<Self> {
        let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
        let (head, rest) = segments.split_first()?;
        match *head {
            "channels" => channel(method, rest),
            "applications" => application(method, rest),
            "webhooks" => webhook(method, rest),
            "interactions" => match (method, rest) {
                ("POST", [id, token, "callback"]) => {
                    Some(Self::Callback(num(id)?, (*token).to_owned()))
                }
                _ => None,
            },
            "guilds" => match (method, rest) {
                ("GET", [g]) => Some(Self::GetGuild(num(g)?)),
                ("GET", [g, "channels"]) => Some(Self::GuildChannels(num(g)?)),
                ("GET", [g, "roles"]) => Some(Self::GuildRoles(num(g)?)),
                ("GET", [g, "members", u]) => Some(Self::GetMember(num(g)?, num(u)?)),
                _ => None,
            },
            "users" => match (method, rest) {
                ("GET", ["@me"]) => Some(Self::Me),
                ("POST", ["@me", "channels"]) => Some(Self::CreateDm),
                ("GET", [id]) => Some(Self::GetUser(num(id)?)),
                _ => None,
            },
            "gateway" => match (method, rest) {
                ("GET", []) => Some(Self::Gateway),
                ("GET", ["bot"]) => Some(Self::GatewayBot),
                _ => None,
            },
            "oauth2" => match (method, rest) {
                ("GET", ["applications", "@me"]) => Some(Self::MyApplication),
                _ => None,
            },
            _ => None,
        }
    }

    /// Whether the bot's token is needed; interactions bring their own.
    pub(crate) fn needs_token(&self) -> bool {
        !matches!(
            self,
            Self::Callback(..)
                | Self::FollowUp(..)
                | Self::GetResponse(..)
                | Self::EditResponse(..)
                | Self::DeleteResponse(..)
        )
    }

    /// The part of the path that buckets are kept apart by: channel, guild, or webhook token.
    pub(crate) fn major(&self) -> String {
        match self {
            Self::GetChannel(id)
            | Self::EditChannel(id)
            | Self::DeleteChannel(id)
            | Self::Typing(id)
            | Self::ThreadFromMessage(id, _)
            | Self::CreateThread(id)
            | Self::JoinThread(id)
            | Self::ThreadMember(id, _)
            | Self::ListMessages(id)
            | Self::CreateMessage(id)
            | Self::GetMessage(id, _)
            | Self::EditMessage(id, _)
            | Self::DeleteMessage(id, _)
            | Self::BulkDelete(id)
            | Self::ListReactions(id, ..)
            | Self::AddReaction(id, ..)
            | Self::RemoveOwnReaction(id, ..)
            | Self::RemoveReaction(id, ..)
            | Self::RemoveEmoji(id, ..)
            | Self::RemoveReactions(id, _)
            | Self::GetGuild(id)
            | Self::GuildChannels(id)
            | Self::GuildRoles(id)
            | Self::GetMember(id, _) => id.to_string(),
            Self::Callback(_, token)
            | Self::FollowUp(_, token)
            | Self::GetResponse(_, token, _)
            | Self::EditResponse(_, token, _)
            | Self::DeleteResponse(_, token, _) => token.clone(),
            Self::Gateway
            | Self::GatewayBot
            | Self::Me
            | Self::MyApplication
            | Self::GetUser(_)
            | Self::CreateDm
            | Self::ListCommands(_)
            | Self::PutCommands(_)
            | Self::CreateCommand(_)
            | Self::GetCommand(..)
            | Self::EditCommand(..)
            | Self::DeleteCommand(..) => String::new(),
        }
    }
}

fn num(segment: &str) -> Option<Id> {
    segment.parse().ok()
}

fn channel(method: &str, rest: &[&str]) -> Option<Route> {
    let (id, rest) = rest.split_first()?;
    let id = num(id)?;
    match (method, rest) {
        ("GET", []) => Some(Route::GetChannel(id)),
        ("PATCH", []) => Some(Route::EditChannel(id)),
        ("DELETE", []) => Some(Route::DeleteChannel(id)),
        ("POST", ["typing"]) => Some(Route::Typing(id)),
        ("POST", ["threads"]) => Some(Route::CreateThread(id)),
        ("PUT", ["thread-members", "@me"]) => Some(Route::JoinThread(id)),
        ("PUT", ["thread-members", user]) => Some(Route::ThreadMember(id, num(user)?)),
        ("GET", ["messages"]) => Some(Route::ListMessages(id)),
        ("POST", ["messages"]) => Some(Route::CreateMessage(id)),
        ("POST", ["messages", "bulk-delete"]) => Some(Route::BulkDelete(id)),
        (_, ["messages", message, rest @ ..]) => message_route(method, (id, num(message)?), rest),
        _ => None,
    }
}

fn message_route(method: &str, (c, m): (Id, Id), rest: &[&str]) -> Option<Route> {
    let own = |s: &&str| (*s).to_owned();
    match (method, rest) {
        ("GET", []) => Some(Route::GetMessage(c, m)),
        ("PATCH", []) => Some(Route::EditMessage(c, m)),
        ("DELETE", []) => Some(Route::DeleteMessage(c, m)),
        ("POST", ["threads"]) => Some(Route::ThreadFromMessage(c, m)),
        ("DELETE", ["reactions"]) => Some(Route::RemoveReactions(c, m)),
        ("GET", ["reactions", e]) => Some(Route::ListReactions(c, m, own(e))),
        ("DELETE", ["reactions", e]) => Some(Route::RemoveEmoji(c, m, own(e))),
        ("PUT", ["reactions", e, "@me"]) => Some(Route::AddReaction(c, m, own(e))),
        ("DELETE", ["reactions", e, "@me"]) => Some(Route::RemoveOwnReaction(c, m, own(e))),
        ("DELETE", ["reactions", e, u]) => Some(Route::RemoveReaction(c, m, own(e), num(u)?)),
        _ => None,
    }
}

fn application(method: &str, rest: &[&str]) -> Option<Route> {
    match (method, rest) {
        ("GET", ["@me"]) => Some(Route::MyApplication),
        (_, [app, "guilds", guild, "commands", rest @ ..]) => {
            if num(guild)? != crate::discord::state::GUILD {
                return None;
            }
            let app = num(app)?;
            match (method, rest) {
                ("GET", []) => Some(Route::ListCommands(app)),
                ("PUT", []) => Some(Route::PutCommands(app)),
                ("POST", []) => Some(Route::CreateCommand(app)),
                ("GET", [id]) => Some(Route::GetCommand(app, num(id)?)),
                ("PATCH", [id]) => Some(Route::EditCommand(app, num(id)?)),
                ("DELETE", [id]) => Some(Route::DeleteCommand(app, num(id)?)),
                _ => None,
            }
        }
        _ => None,
    }
}

fn webhook(method: &str, rest: &[&str]) -> Option<Route> {
    let [app, token, rest @ ..] = rest else {
        return None;
    };
    let (app, token) = (num(app)?, (*token).to_owned());
    let which = |segment: &str| match segment {
        "@original" => Some(None),
        id => num(id).map(Some),
    };
    match (method, rest) {
        ("POST", []) => Some(Route::FollowUp(app, token)),
        ("GET", ["messages", id]) => Some(Route::GetResponse(app, token, which(id)?)),
        ("PATCH", ["messages", id]) => Some(Route::EditResponse(app, token, which(id)?)),
        ("DELETE", ["messages", id]) => Some(Route::DeleteResponse(app, token, which(id)?)),
        _ => None,
    }
}

/// Decodes `%40` and the like; bytes that are no UTF-8 become U+FFFD.
pub(crate) fn decode(path: &str) -> String {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let hex = tail.get(..2).filter(|_| *first == b'%');
        let value = hex
            .and_then(|h| std::str::from_utf8(h).ok())
            .and_then(|h| u8::from_str_radix(h, 16).ok());
        match value {
            Some(value) => {
                bytes.push(value);
                rest = tail.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_decoded_and_found() {
        let id = Id::new(1);
        let original = Route::GetResponse(id, "t".to_owned(), None);
        for path in [
            "/webhooks/1/t/messages/@original",
            "/webhooks/1/t/messages/%40original",
        ] {
            assert_eq!(Route::parse("GET", &decode(path)), Some(original.clone()));
        }
        assert_eq!(
            Route::parse(
                "PUT",
                &decode("/channels/1/messages/1/reactions/%E2%9C%85/@me")
            ),
            Some(Route::AddReaction(id, id, "✅".to_owned()))
        );
        assert_eq!(Route::parse("GET", "/channels/1/pins"), None);
    }
}
