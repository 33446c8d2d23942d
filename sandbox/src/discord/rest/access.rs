//! What the bot may see and do.

use crate::discord::error::{ApiError, ApiResult};
use crate::discord::ids::Id;
use crate::discord::model::{Channel, DM, Message, Permission};
use crate::discord::state::{APPLICATION, State};

impl State {
    /// The channel, if the bot may see it.
    pub(crate) fn visible(&self, channel: Id) -> ApiResult<&Channel> {
        let found = self
            .channels
            .get(&channel)
            .ok_or_else(ApiError::unknown_channel)?;
        if self.sees(APPLICATION, found) {
            return Ok(found);
        }
        Err(ApiError::missing_access())
    }

    /// Refuses if the bot lacks a permission; in direct messages it has all but moderation.
    pub(crate) fn require(&self, channel: Id, permission: Permission) -> ApiResult<&Channel> {
        let found = self.visible(channel)?;
        if found.kind == DM {
            return match permission {
                Permission::ManageMessages => Err(ApiError::new(
                    403,
                    50003,
                    "Cannot execute action on a DM channel",
                )),
                Permission::AddReactions
                | Permission::ViewChannel
                | Permission::SendMessages
                | Permission::EmbedLinks
                | Permission::AttachFiles
                | Permission::ReadMessageHistory
                | Permission::ManageThreads
                | Permission::CreatePublicThreads
                | Permission::SendMessagesInThreads => Ok(found),
            };
        }
        if self.permissions(APPLICATION, channel) & permission.bit() == 0 {
            return Err(ApiError::missing_permissions());
        }
        Ok(found)
    }

    /// A message that is not ephemeral; those exist only for their interaction's token.
    pub(crate) fn public_message(&self, channel: Id, id: Id) -> ApiResult<&Message> {
        self.visible(channel)?;
        self.message(channel, id)
            .filter(|m| !m.is_ephemeral())
            .ok_or_else(ApiError::unknown_message)
    }
}
