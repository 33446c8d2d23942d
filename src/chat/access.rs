//! Who may: the one check that stands before commands, buttons, forms and completion.
//!
//! It looks only at what Discord sent with the interaction (guild, channel, the member's roles), so
//! that nothing needs to be asked before the answer.

use std::collections::BTreeMap;

use crate::domain::ids::{DiscordChannelId, DiscordRoleId, DiscordUserId};
use crate::domain::person::{Person, Role};

/// Where the bot answers, and which Discord roles are which of its own.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    guild: u64,
    channels: Vec<DiscordChannelId>,
    roles: Vec<(Role, Vec<DiscordRoleId>)>,
}

/// Who did something, and where, as Discord says.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) guild: Option<u64>,
    pub(crate) channel: DiscordChannelId,
    /// The channel that a thread hangs in; the category of another channel.
    pub(crate) parent: Option<DiscordChannelId>,
    pub(crate) user: DiscordUserId,
    pub(crate) is_bot: bool,
    /// The member's roles; `None` outside a guild.
    pub(crate) roles: Option<Vec<DiscordRoleId>>,
}

/// A caller who may, with the channel that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Admitted {
    pub(crate) person: Person,
    /// The configured channel; of a thread the one that it hangs in.
    pub(crate) channel: DiscordChannelId,
}

/// Why a caller may not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Not in the guild of the configuration.
    OtherGuild,
    /// Not in a channel of the configuration, nor in a thread of one.
    OtherChannel {
        /// Where it is allowed.
        channels: Vec<DiscordChannelId>,
    },
    /// None of the roles that may.
    MissingRole {
        /// Those that may.
        allowed: Vec<Role>,
    },
}

impl Access {
    /// From the configuration; words that are no role of ours are left out, the configuration's
    /// own check names them.
    pub(crate) fn new(
        guild: u64,
        channels: Vec<DiscordChannelId>,
        roles: &BTreeMap<String, Vec<DiscordRoleId>>,
    ) -> Self {
        let roles = Role::ALL
            .into_iter()
            .filter_map(|role| Some((role, roles.get(role.as_str())?.clone())))
            .collect();
        Self {
            guild,
            channels,
            roles,
        }
    }

    /// Whether the caller may do what holders of one of `needed` may.
    pub(crate) fn check(&self, caller: &Caller, needed: &[Role]) -> Result<Admitted, Refusal> {
        let (Some(roles), true) = (&caller.roles, caller.guild == Some(self.guild)) else {
            return Err(Refusal::OtherGuild);
        };
        let channel = [Some(caller.channel), caller.parent]
            .into_iter()
            .flatten()
            .find(|channel| self.channels.contains(channel))
            .ok_or_else(|| Refusal::OtherChannel {
                channels: self.channels.clone(),
            })?;
        let person = self.person(caller.user, caller.is_bot, roles);
        if !person.has_any(needed) {
            return Err(Refusal::MissingRole {
                allowed: needed.to_vec(),
            });
        }
        Ok(Admitted { person, channel })
    }

    /// A member as the bot sees one.
    pub(crate) fn person(
        &self,
        id: DiscordUserId,
        is_bot: bool,
        discord_roles: &[DiscordRoleId],
    ) -> Person {
        let roles = self
            .roles
            .iter()
            .filter(|(_role, ids)| ids.iter().any(|id| discord_roles.contains(id)))
            .map(|(role, _ids)| *role)
            .collect();
        Person { id, roles, is_bot }
    }

    /// The Discord roles behind some of ours.
    pub(crate) fn discord_roles(&self, roles: &[Role]) -> Vec<DiscordRoleId> {
        self.roles
            .iter()
            .filter(|(role, _ids)| roles.contains(role))
            .flat_map(|(_role, ids)| ids.iter().copied())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access() -> Access {
        let roles = BTreeMap::from([
            ("operator".to_owned(), vec![DiscordRoleId(10)]),
            (
                "approver".to_owned(),
                vec![DiscordRoleId(20), DiscordRoleId(21)],
            ),
        ]);
        Access::new(1, vec![DiscordChannelId(5)], &roles)
    }

    fn caller() -> Caller {
        Caller {
            guild: Some(1),
            channel: DiscordChannelId(5),
            parent: None,
            user: DiscordUserId(7),
            is_bot: false,
            roles: Some(vec![DiscordRoleId(10)]),
        }
    }

    #[test]
    fn guild_channel_and_role_must_all_be_right() {
        let needed = [Role::Operator];
        let admitted = access().check(&caller(), &needed).unwrap();
        assert_eq!(admitted.person.roles, [Role::Operator]);
        assert_eq!(admitted.channel, DiscordChannelId(5));

        let elsewhere = Caller {
            guild: Some(2),
            ..caller()
        };
        assert_eq!(
            access().check(&elsewhere, &needed),
            Err(Refusal::OtherGuild)
        );
        let private = Caller {
            guild: None,
            roles: None,
            ..caller()
        };
        assert_eq!(access().check(&private, &needed), Err(Refusal::OtherGuild));
        let random = Caller {
            channel: DiscordChannelId(6),
            ..caller()
        };
        assert!(matches!(
            access().check(&random, &needed),
            Err(Refusal::OtherChannel { .. })
        ));
        let nobody = Caller {
            roles: Some(Vec::new()),
            ..caller()
        };
        assert!(matches!(
            access().check(&nobody, &needed),
            Err(Refusal::MissingRole { .. })
        ));
        assert!(access().check(&caller(), &[Role::Approver]).is_err());
    }

    #[test]
    fn a_thread_counts_as_its_channel() {
        let thread = Caller {
            channel: DiscordChannelId(99),
            parent: Some(DiscordChannelId(5)),
            ..caller()
        };
        let admitted = access().check(&thread, &[Role::Operator]).unwrap();
        assert_eq!(admitted.channel, DiscordChannelId(5));
        let other = Caller {
            parent: Some(DiscordChannelId(6)),
            ..thread
        };
        assert!(access().check(&other, &[Role::Operator]).is_err());
    }

    #[test]
    fn several_discord_roles_may_be_one_of_ours() {
        let person = access().person(
            DiscordUserId(1),
            false,
            &[DiscordRoleId(21), DiscordRoleId(9)],
        );
        assert_eq!(person.roles, [Role::Approver]);
        assert_eq!(
            access().discord_roles(&[Role::Approver]),
            [DiscordRoleId(20), DiscordRoleId(21)]
        );
    }
}
