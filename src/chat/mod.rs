//! The chat: what people type and press in Discord, and what they read there.
//!
//! ```text
//! Discord ──gateway──▶ dispatch ──▶ who may? ──▶ acknowledged ──▶ handler ──▶ private answer
//!                 │                                                  └──▶ rows (plan, grant, …)
//!                 └─hints─▶ reactions, read over REST ──▶ approvals ──▶ start      │
//!                                                                                  ▼
//! Discord ◀──────────────────────── poster ◀── messages (words) ◀──────────── outbox rows
//! ```
//!
//! | file | is |
//! |---|---|
//! | `parts` | what the chat is given |
//! | `gateway` | the connection, held by one replica |
//! | `register` | `/pangeo`, made from the catalogue |
//! | `access` | who may: one check before everything |
//! | `dispatch`, `buttons`, `forms`, `completion` | the four kinds of interactions |
//! | `handlers/` | one file per command |
//! | `reactions` | what ✅ and ❌ stand at a plan |
//! | `scheduler` | what runs by itself |
//! | `poster` | the outbox, posted and edited |
//! | `rows` | reads what a message is about |
//! | `messages/` | all words, as pure functions |
//! | `view`, `text` | a message as data, within Discord's limits; text made safe |
//! | `rest` | Discord's REST interface with deadlines |
//!
//! **Invariant:** this is the only folder that knows serenity.
//! **Invariant:** nothing that needs the database or the network stands before the acknowledgement
//! of an interaction. Its token is used for private answers only; whatever the channel shall see
//! goes through the outbox, so that a restart loses nothing.
//! **Invariant:** the gateway's events about reactions are never believed; they only cause them to
//! be read over REST.
//! **Invariant:** every text passes the redactor, nobody is pinged unless a notice names them.

mod access;
mod buttons;
mod completion;
mod custom_id;
mod dispatch;
mod forms;
mod gateway;
mod handlers;
mod messages;
mod parts;
mod picture;
mod poster;
mod reactions;
mod register;
mod rest;
mod rows;
mod scheduler;
mod text;
mod view;

use std::sync::Arc;

use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use access::Access;
use dispatch::Dispatch;
use gateway::{Connection, State};
pub use parts::{AnswersLooks, MakesPlans, Parts, Settings};
use poster::Poster;
use reactions::{Hints, Reactions};
pub use register::RegisterError;
use rest::Rest;
pub use rest::RestError;
use scheduler::Scheduler;
use text::Clean;

use crate::domain::health::Gateway;

/// How many interactions are worked on at once; more are told to try again.
const IN_WORK: usize = 128;

/// Why the chat ended although the bot did not.
#[derive(Debug, thiserror::Error)]
pub enum ChatError {
    /// The token is wrong or was replaced.
    #[error(
        "Discord refuses the token: copy the current one from the Bot page of the application \
         into `PANGEO_BOT_DISCORD_TOKEN`"
    )]
    TokenRefused,
    /// The application may not have the events that the bot needs.
    #[error("Discord refuses the intents for guilds and reactions")]
    IntentsRefused,
    /// A task of the chat ended on its own; a bug.
    #[error("a task of the chat ended: {0}")]
    TaskEnded(String),
}

/// What all parts of the chat share.
pub(crate) struct Shared {
    pub(crate) parts: Parts,
    pub(crate) access: Access,
    pub(crate) clean: Clean,
    pub(crate) rest: Rest,
    pub(crate) in_work: Arc<Semaphore>,
    pub(crate) reactions: Reactions,
}

/// The bot in Discord.
pub struct Chat {
    parts: Parts,
    state: State,
}

impl std::fmt::Debug for Chat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Chat")
            .field("state", &self.state.now())
            .finish_non_exhaustive()
    }
}

impl Chat {
    /// A chat that is not connected yet.
    pub fn new(parts: Parts) -> Self {
        Self {
            state: State::new(parts.health.clone()),
            parts,
        }
    }

    /// Where the connection stands, now and whenever it changes.
    pub fn state(&self) -> watch::Receiver<Gateway> {
        self.state.subscribe()
    }

    /// Whether Discord's events arrive, here or at another replica.
    pub fn connected(&self) -> bool {
        self.state.now().is_ready()
    }

    /// Runs until the bot ends: connects or stands by, answers, and posts the outbox.
    ///
    /// # Errors
    /// When Discord refuses the token or the intents, or a task failed. The bot should end.
    pub async fn run(&self, ended: CancellationToken) -> Result<(), ChatError> {
        let settings = Arc::new(self.parts.settings.clone());
        let rest = Rest::new(Arc::clone(&settings), ended.clone());
        let Some(me) = gateway::who_we_are(&rest, &self.state, &ended).await? else {
            return Ok(());
        };
        let access = Access::new(
            settings.login.guild,
            settings.channels.clone(),
            &settings.roles,
        );
        let clean = Clean::new(self.parts.redactor.clone());
        let hints = Arc::new(Hints::default());
        let reactions = Reactions::new(&self.parts, rest.clone(), access.clone(), me);
        let shared = Arc::new(Shared {
            parts: self.parts.clone(),
            access,
            clean,
            rest: rest.clone(),
            in_work: Arc::new(Semaphore::new(IN_WORK)),
            reactions: reactions.clone(),
        });
        let dispatch = Dispatch::new(Arc::clone(&shared));
        let connection = Connection {
            rest: rest.clone(),
            store: self.parts.store.clone(),
            replica: settings.replica.clone(),
            me,
            dispatch: dispatch.clone(),
            hints: Arc::clone(&hints),
            state: self.state.clone(),
        };
        let poster = Poster::new(Arc::clone(&shared), Arc::clone(&hints), me);

        // What ends first ends all: the tasks listen to a token below the bot's own.
        let all = ended.child_token();
        let mut tasks = JoinSet::new();
        tasks.spawn(connection.run(all.clone()));
        tasks.spawn(dispatch.run(all.clone()));
        tasks.spawn(reactions.run(hints, all.clone()));
        tasks.spawn(poster.run(all.clone()));
        tasks.spawn(Scheduler::new(Arc::clone(&shared)).run(all.clone()));
        tasks.spawn(register::keep_registered(
            shared,
            self.state.subscribe(),
            all.clone(),
        ));
        let mut result = Ok(());
        while let Some(task) = tasks.join_next().await {
            let ended_by_itself = !all.is_cancelled();
            all.cancel();
            let one = match task {
                Ok(Ok(())) if ended_by_itself => Err(ChatError::TaskEnded("too early".to_owned())),
                Ok(one) => one,
                Err(error) => Err(ChatError::TaskEnded(error.to_string())),
            };
            if result.is_ok() {
                result = one;
            }
        }
        result
    }
}
