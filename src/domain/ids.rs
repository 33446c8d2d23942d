//! Identifiers: one type for each thing that has an id.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, sqlx::Type)]
        #[serde(transparent)]
        #[sqlx(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// A new id; ids made later sort later (UUID version 7).
            pub fn new() -> Self {
                Self(Uuid::now_v7())
            }

            /// The id as a UUID, for the store.
            pub fn as_uuid(self) -> Uuid {
                self.0
            }

            /// The last 8 hexadecimal digits: what people see and type.
            pub fn short(self) -> String {
                let text = self.0.simple().to_string();
                text.get(24..).unwrap_or_default().to_owned()
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self::new()
            }
        }

        impl From<Uuid> for $name {
            fn from(id: Uuid) -> Self {
                Self(id)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

uuid_id!(
    /// One cluster in the inventory.
    ClusterId
);
uuid_id!(
    /// One plan, as posted to the channel.
    PlanId
);
uuid_id!(
    /// One operation: one run of a command.
    OperationId
);

uuid_id!(
    /// One alert.
    AlertId
);
uuid_id!(
    /// One silence: a time without alerts.
    SilenceId
);
uuid_id!(
    /// One lock on a cluster.
    LockId
);
uuid_id!(
    /// One schedule: a command that runs by itself.
    ScheduleId
);
uuid_id!(
    /// One event: a course on a cluster.
    EventId
);
uuid_id!(
    /// One log that is followed.
    LogViewId
);

macro_rules! snowflake_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl $name {
            /// The id as PostgreSQL keeps it. Discord's ids use 63 bits at most until the year 2084.
            pub fn to_db(self) -> i64 {
                i64::from_ne_bytes(self.0.to_ne_bytes())
            }

            /// The id out of PostgreSQL.
            pub fn from_db(value: i64) -> Self {
                Self(u64::from_ne_bytes(value.to_ne_bytes()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

snowflake_id!(
    /// A Discord user.
    DiscordUserId
);
snowflake_id!(
    /// A Discord role.
    DiscordRoleId
);
snowflake_id!(
    /// A Discord channel or thread.
    DiscordChannelId
);
snowflake_id!(
    /// A Discord message.
    DiscordMessageId
);
