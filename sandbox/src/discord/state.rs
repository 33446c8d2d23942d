//! The guild as it is kept between restarts, and the ids in it.

use std::collections::BTreeMap;

use chrono::Utc;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::ids::Id;
use super::model::{Account, Channel, DM, Message, Permission, Role};

/// The only guild.
pub const GUILD: Id = Id::new(1_100_000_000_000_000_001);
/// The bot's application and user.
pub const APPLICATION: Id = Id::new(1_100_000_000_000_000_010);
/// Another bot in the guild.
pub const OTHER_BOT: Id = Id::new(1_100_000_000_000_000_011);
/// `#pangeo`, the bot's channel.
pub const PANGEO_CHANNEL: Id = Id::new(1_100_000_000_000_000_101);
/// `#random`, where the bot has no business.
pub const RANDOM_CHANNEL: Id = Id::new(1_100_000_000_000_000_102);

/// How many messages a channel keeps; older ones are forgotten.
const MESSAGES_PER_CHANNEL: usize = 2_000;

/// Everything that survives a restart.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct State {
    pub(crate) last_id: Id,
    pub(crate) people: Vec<Account>,
    pub(crate) roles: Vec<Role>,
    pub(crate) channels: BTreeMap<Id, Channel>,
    pub(crate) messages: BTreeMap<Id, BTreeMap<Id, Message>>,
    pub(crate) commands: Vec<Value>,
    /// What people did, for the transcript: channel, then (id, line).
    pub(crate) deeds: BTreeMap<Id, BTreeMap<Id, String>>,
    #[serde(skip)]
    pub(crate) base: String,
}

impl Default for State {
    fn default() -> Self {
        let role = |n: u64, name: &str, color, position| Role {
            id: Id::new(1_100_000_000_000_000_200 + n),
            name: name.to_owned(),
            color,
            position,
        };
        let roles = vec![
            role(1, "operator", 0x0034_98DB, 3),
            role(2, "approver", 0x002E_CC71, 2),
            role(3, "viewer", 0x0095_A5A6, 1),
        ];
        let mut channels = BTreeMap::new();
        for (id, name, topic) in [
            (
                PANGEO_CHANNEL,
                "pangeo",
                "Deploy and run DaskHub with /pangeo",
            ),
            (RANDOM_CHANNEL, "random", "Anything else"),
        ] {
            let mut channel = new_channel(id, 0, name);
            channel.topic = Some(topic.to_owned());
            channels.insert(id, channel);
        }
        let people = default_people(&roles);
        Self {
            last_id: Id::at(Utc::now()),
            people,
            roles,
            channels,
            messages: BTreeMap::new(),
            commands: Vec::new(),
            deeds: BTreeMap::new(),
            base: String::new(),
        }
    }
}

fn default_people(roles: &[Role]) -> Vec<Account> {
    let people: [(u64, &str, &str, &[&str]); 6] = [
        (1, "ana", "#3498db", &["operator"]),
        (2, "ben", "#2ecc71", &["approver"]),
        (3, "eva", "#e67e22", &["approver"]),
        (4, "vic", "#9b59b6", &["viewer"]),
        (5, "mia", "#e91e63", &["operator", "approver"]),
        (6, "zed", "#95a5a6", &[]),
    ];
    let person = |(n, name, color, has): (u64, &str, &str, &[&str])| Account {
        id: Id::new(1_100_000_000_000_000_300 + n),
        username: name.to_owned(),
        display_name: capitalised(name),
        bot: false,
        roles: roles
            .iter()
            .filter(|r| has.contains(&r.name.as_str()))
            .map(|r| r.id)
            .collect(),
        color: color.to_owned(),
        dms_closed: false,
    };
    let bot = |id, name: &str| Account {
        id,
        username: name.to_owned(),
        display_name: name.to_owned(),
        bot: true,
        roles: Vec::new(),
        color: "#5865f2".to_owned(),
        dms_closed: false,
    };
    let mut all = vec![bot(APPLICATION, "pangeo-bot"), bot(OTHER_BOT, "other-bot")];
    all.extend(people.into_iter().map(person));
    all
}

fn capitalised(name: &str) -> String {
    let mut chars = name.chars();
    chars.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(chars).collect()
    })
}

/// A channel without any messages.
pub(crate) fn new_channel(id: Id, kind: u8, name: &str) -> Channel {
    Channel {
        id,
        kind,
        name: name.to_owned(),
        parent: None,
        owner: None,
        topic: None,
        recipients: Vec::new(),
        archived: false,
        locked: false,
        auto_archive_minutes: 4_320,
        message_count: 0,
        last_message: None,
        created: Utc::now(),
        denied: 0,
    }
}

impl State {
    /// A fresh id, greater than all before.
    pub(crate) fn next_id(&mut self) -> Id {
        self.last_id = Id::at(Utc::now()).max(self.last_id.next());
        self.last_id
    }

    pub(crate) fn account(&self, id: Id) -> Option<&Account> {
        self.people.iter().find(|p| p.id == id)
    }

    pub(crate) fn name_of(&self, id: Id) -> &str {
        self.account(id).map_or("deleted user", |p| &p.username)
    }

    pub(crate) fn message(&self, channel: Id, id: Id) -> Option<&Message> {
        self.messages.get(&channel)?.get(&id)
    }

    pub(crate) fn message_mut(&mut self, channel: Id, id: Id) -> Option<&mut Message> {
        self.messages.get_mut(&channel)?.get_mut(&id)
    }

    /// Finds a message wherever it is.
    pub(crate) fn find_message(&self, id: Id) -> Option<&Message> {
        self.messages.values().find_map(|m| m.get(&id))
    }

    /// Puts a new message into its channel.
    pub(crate) fn add_message(&mut self, message: Message) {
        let all = self.messages.entry(message.channel_id).or_default();
        let (channel, id) = (message.channel_id, message.id);
        let public = !message.is_ephemeral();
        all.insert(id, message);
        if all.len() > MESSAGES_PER_CHANNEL {
            drop(all.pop_first());
        }
        if let Some(channel) = self.channels.get_mut(&channel).filter(|_| public) {
            channel.last_message = Some(id);
            channel.message_count += 1;
        }
    }

    /// Notes what a person did, for the transcript.
    pub(crate) fn note_deed(&mut self, channel: Id, line: String) {
        let id = self.next_id();
        let deeds = self.deeds.entry(channel).or_default();
        deeds.insert(id, line);
        if deeds.len() > MESSAGES_PER_CHANNEL {
            drop(deeds.pop_first());
        }
    }

    /// The channel between these two, if it was opened before.
    pub(crate) fn dm_between(&self, a: Id, b: Id) -> Option<Id> {
        let fits =
            |c: &&Channel| c.kind == DM && c.recipients.contains(&a) && c.recipients.contains(&b);
        self.channels.values().find(fits).map(|c| c.id)
    }

    /// What an account may do in a channel; threads follow their parent. Only the bot can lack
    /// anything that a test took from it.
    pub(crate) fn permissions(&self, account: Id, channel: Id) -> u64 {
        let Some(channel) = self.channels.get(&channel) else {
            return 0;
        };
        if account != APPLICATION {
            return Permission::ALL;
        }
        let parent = channel.parent.and_then(|p| self.channels.get(&p));
        let denied = channel.denied | parent.map_or(0, |p| p.denied);
        if denied & Permission::ViewChannel.bit() != 0 {
            return 0;
        }
        Permission::ALL & !denied
    }

    /// Whether the account can see the channel at all.
    pub(crate) fn sees(&self, account: Id, channel: &Channel) -> bool {
        if channel.kind == DM {
            return channel.recipients.contains(&account);
        }
        self.permissions(account, channel.id) & Permission::ViewChannel.bit() != 0
    }
}
