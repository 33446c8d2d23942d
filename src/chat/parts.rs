//! What the chat is given: its settings, the rows, and the parts that plan, start and look.
//!
//! Those that need outside systems are traits, so that the chat can be tried without a cloud.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use secrecy::SecretString;
use tokio::sync::watch;
use url::Url;

use crate::approvals::Approvals;
use crate::commands::value::Options;
use crate::commands::{Catalogue, Command, Complete};
use crate::config::DiscordLogin;
use crate::domain::deploy::CheckinInstance;
use crate::domain::health::Health;
use crate::domain::ids::{DiscordChannelId, DiscordMessageId, DiscordRoleId, OperationId};
use crate::domain::links::OperationLinks;
use crate::domain::logs::{LogWish, Pick};
use crate::domain::metrics::Metrics;
use crate::domain::names::HostName;
use crate::domain::person::Person;
use crate::domain::proof::HubUser;
use crate::domain::redact::Redactor;
use crate::domain::schedule::{ScheduleTimes, ScheduleWish};
use crate::looks::diagnose::Diagnosis;
use crate::looks::logs::LogAnswer;
use crate::looks::values::ValuesLook;
use crate::looks::{LookError, Looks, Report};
use crate::operations::{Control, Starter};
use crate::plans::{PlanError, Planned, Planner};
use crate::store::Store;
use crate::store::schedules::Run;
use crate::store::vault::Vault;

/// Where and as whom the bot is in Discord.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Token, application and guild.
    pub login: DiscordLogin,
    /// Discord's REST interface; a loopback address is a sandbox.
    pub api_base: Url,
    /// The channels in which the bot answers.
    pub channels: Vec<DiscordChannelId>,
    /// The bot's words for roles, and the Discord roles that hold them.
    pub roles: BTreeMap<String, Vec<DiscordRoleId>>,
    /// Host names of hubs lie below one of these.
    pub domains: Vec<HostName>,
    /// This replica's name, unique among those that run.
    pub replica: String,
    /// When people are told of a run of a schedule, and how late it may be.
    pub schedules: ScheduleTimes,
    /// How many minutes before its end the token of a front end is told of; `None` if never.
    pub token_told: Option<u64>,
}

impl Settings {
    /// The address of a message, which Discord's programs open.
    pub(crate) fn link_to(&self, channel: DiscordChannelId, message: DiscordMessageId) -> String {
        let guild = self.login.guild;
        format!("https://discord.com/channels/{guild}/{channel}/{message}")
    }
}

/// Everything that [`super::Chat`] works with.
#[derive(Clone)]
pub struct Parts {
    /// Where and as whom.
    pub settings: Settings,
    /// The rows.
    pub store: Store,
    /// Keeps secrets that are typed into forms.
    pub vault: Vault,
    /// The commands.
    pub catalogue: Arc<Catalogue>,
    /// Rules and grants.
    pub approvals: Approvals,
    /// Takes secrets out of what is said.
    pub redactor: Redactor,
    /// Makes plans.
    pub plans: Arc<dyn MakesPlans>,
    /// Starts approved plans.
    pub starter: Starter,
    /// Cancels, retries and leaves operations.
    pub control: Control,
    /// Read-only answers.
    pub looks: Arc<dyn AnswersLooks>,
    /// Links to the pages of operations.
    pub links: OperationLinks,
    /// Is told how the connection stands.
    pub health: Health,
    /// Counts interactions and messages.
    pub metrics: Metrics,
    /// Changes when there is something to do.
    pub wake: watch::Receiver<u64>,
}

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

/// Makes plans: [`Planner`].
#[async_trait]
pub trait MakesPlans: Send + Sync {
    /// Makes the plan of a command, keeps it and tells it to the channel.
    ///
    /// # Errors
    /// When the database fails.
    async fn make(
        &self,
        command: &Command,
        options: &Options,
        requester: &Person,
        channel: DiscordChannelId,
    ) -> Result<Planned, PlanError>;

    /// Makes the plan that undoes an operation.
    ///
    /// # Errors
    /// When the database fails.
    async fn undo(
        &self,
        operation: &str,
        requester: &Person,
        channel: DiscordChannelId,
    ) -> Result<Planned, PlanError>;

    /// Makes the plan of a run of a schedule, with the schedule's grants.
    ///
    /// # Errors
    /// When the database fails, or somebody else took the run over.
    async fn make_for_run(&self, run: &Run, requester: &Person) -> Result<Planned, PlanError>;

    /// Whether a schedule still runs what was approved.
    fn is_as_approved(&self, wish: &ScheduleWish) -> bool;

    /// Completes a value while a person types.
    async fn complete(
        &self,
        source: &Complete,
        typed: &str,
        so_far: &BTreeMap<String, String>,
    ) -> Vec<String>;
}

#[async_trait]
impl MakesPlans for Planner {
    async fn make(
        &self,
        command: &Command,
        options: &Options,
        requester: &Person,
        channel: DiscordChannelId,
    ) -> Result<Planned, PlanError> {
        Planner::make(self, command, options, requester, channel).await
    }

    async fn undo(
        &self,
        operation: &str,
        requester: &Person,
        channel: DiscordChannelId,
    ) -> Result<Planned, PlanError> {
        Planner::undo(self, operation, requester, channel).await
    }

    async fn make_for_run(&self, run: &Run, requester: &Person) -> Result<Planned, PlanError> {
        Box::pin(Planner::make_for_run(self, run, requester)).await
    }

    fn is_as_approved(&self, wish: &ScheduleWish) -> bool {
        Planner::is_as_approved(self, wish)
    }

    async fn complete(
        &self,
        source: &Complete,
        typed: &str,
        so_far: &BTreeMap<String, String>,
    ) -> Vec<String> {
        Planner::complete(self, source, typed, so_far).await
    }
}

/// Answers questions and changes nothing: [`Looks`].
#[async_trait]
pub trait AnswersLooks: Send + Sync {
    /// How a cluster is; `None` if there is none of that name.
    ///
    /// # Errors
    /// When the database fails.
    async fn status(&self, name: &str) -> Result<Option<Report>, LookError>;

    /// How every cluster is, within a short time.
    ///
    /// # Errors
    /// When the database fails.
    async fn overview(&self) -> Result<Report, LookError>;

    /// Why a cluster does not grow; `None` if there is none of that name.
    ///
    /// # Errors
    /// When the database fails.
    async fn diagnose(&self, name: &str) -> Result<Option<Diagnosis>, LookError>;

    /// Every cluster.
    ///
    /// # Errors
    /// When the database fails.
    async fn list(&self) -> Result<Report, LookError>;

    /// The end of a log of a cluster; `None` if there is no cluster of that name.
    ///
    /// # Errors
    /// When the database fails.
    async fn logs(&self, name: &str, wish: &LogWish) -> Result<Option<LogAnswer>, LookError>;

    /// The end of an operation's log.
    ///
    /// # Errors
    /// When the database fails.
    async fn operation_log(&self, id: OperationId, pick: &Pick) -> Result<LogAnswer, LookError>;

    /// How a host name is.
    ///
    /// # Errors
    /// When the database fails.
    async fn dns_check(&self, host: &HostName) -> Result<Report, LookError>;

    /// What to fill in to register the client of a hub.
    fn checkin_sheet(&self, host: &HostName, instance: CheckinInstance) -> Report;

    /// How the client of a hub is.
    ///
    /// # Errors
    /// When the database fails.
    async fn checkin_check(
        &self,
        host: &HostName,
        instance: CheckinInstance,
    ) -> Result<Report, LookError>;

    /// What CLUES believes of worker nodes; `None` if there is no such cluster.
    ///
    /// # Errors
    /// When the database fails.
    async fn flavor(&self, name: &str) -> Result<Option<Report>, LookError>;

    /// The worker nodes of a cluster; `None` if there is no such cluster.
    ///
    /// # Errors
    /// When the database fails.
    async fn worker_nodes(&self, name: &str) -> Result<Option<Report>, LookError>;

    /// Who may act on the infrastructure of a cluster; `None` if there is no such cluster.
    ///
    /// # Errors
    /// When the database fails.
    async fn owners(&self, name: &str) -> Result<Option<Report>, LookError>;

    /// Whose a token of the hub is, or why that is not known; `None` if there is no such cluster.
    ///
    /// # Errors
    /// When the database fails.
    async fn hub_user(
        &self,
        name: &str,
        token: &SecretString,
    ) -> Result<Option<Result<HubUser, String>>, LookError>;

    /// How the access token on a front end is; `None` if there is no such cluster.
    ///
    /// # Errors
    /// When the database fails.
    async fn token_status(&self, name: &str) -> Result<Option<Report>, LookError>;

    /// What a hub is given, and was; `None` if there is no cluster of that name.
    ///
    /// # Errors
    /// When the database fails.
    async fn values(&self, name: &str, look: &ValuesLook) -> Result<Option<Report>, LookError>;
}

#[async_trait]
impl AnswersLooks for Looks {
    async fn status(&self, name: &str) -> Result<Option<Report>, LookError> {
        Box::pin(Looks::status(self, name)).await
    }

    async fn overview(&self) -> Result<Report, LookError> {
        Looks::overview(self).await
    }

    async fn diagnose(&self, name: &str) -> Result<Option<Diagnosis>, LookError> {
        Box::pin(Looks::diagnose(self, name)).await
    }

    async fn list(&self) -> Result<Report, LookError> {
        Looks::list(self).await
    }

    async fn logs(&self, name: &str, wish: &LogWish) -> Result<Option<LogAnswer>, LookError> {
        Looks::logs(self, name, wish).await
    }

    async fn operation_log(&self, id: OperationId, pick: &Pick) -> Result<LogAnswer, LookError> {
        Looks::operation_log(self, id, pick).await
    }

    async fn dns_check(&self, host: &HostName) -> Result<Report, LookError> {
        Looks::dns_check(self, host).await
    }

    fn checkin_sheet(&self, host: &HostName, instance: CheckinInstance) -> Report {
        Looks::checkin_sheet(self, host, instance)
    }

    async fn checkin_check(
        &self,
        host: &HostName,
        instance: CheckinInstance,
    ) -> Result<Report, LookError> {
        Looks::checkin_check(self, host, instance).await
    }

    async fn flavor(&self, name: &str) -> Result<Option<Report>, LookError> {
        Looks::flavor(self, name).await
    }

    async fn worker_nodes(&self, name: &str) -> Result<Option<Report>, LookError> {
        Box::pin(Looks::worker_nodes(self, name)).await
    }

    async fn owners(&self, name: &str) -> Result<Option<Report>, LookError> {
        Looks::owners(self, name).await
    }

    async fn hub_user(
        &self,
        name: &str,
        token: &SecretString,
    ) -> Result<Option<Result<HubUser, String>>, LookError> {
        Looks::hub_user(self, name, token).await
    }

    async fn token_status(&self, name: &str) -> Result<Option<Report>, LookError> {
        Looks::token_status(self, name).await
    }

    async fn values(&self, name: &str, look: &ValuesLook) -> Result<Option<Report>, LookError> {
        Looks::values(self, name, look).await
    }
}
