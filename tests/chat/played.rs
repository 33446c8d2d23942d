//! Plans and looks without a cloud, for tests of what stands around them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use pangeo_bot::chat::{AnswersLooks, MakesPlans};
use pangeo_bot::commands::value::Options;
use pangeo_bot::commands::{Command, Complete};
use pangeo_bot::domain::deploy::CheckinInstance;
use pangeo_bot::domain::ids::{DiscordChannelId, OperationId};
use pangeo_bot::domain::logs::{LogWish, Pick};
use pangeo_bot::domain::names::HostName;
use pangeo_bot::domain::person::Person;
use pangeo_bot::domain::proof::HubUser;
use pangeo_bot::domain::schedule::ScheduleWish;
use pangeo_bot::looks::diagnose::Diagnosis;
use pangeo_bot::looks::logs::LogAnswer;
use pangeo_bot::looks::values::ValuesLook;
use pangeo_bot::looks::{LookError, Report, Tone};
use pangeo_bot::plans::{PlanError, Planned};
use pangeo_bot::store::schedules::Run;
use secrecy::SecretString;

/// Plans and looks without a cloud.
#[derive(Default)]
pub(crate) struct Played {
    pub(crate) asked: AtomicUsize,
    pub(crate) slow_ms: AtomicU64,
}

#[async_trait]
impl MakesPlans for Played {
    async fn make(
        &self,
        _command: &Command,
        _options: &Options,
        _requester: &Person,
        _channel: DiscordChannelId,
    ) -> Result<Planned, PlanError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        Ok(Planned::Refused(vec![
            "played plans are refused".to_owned(),
        ]))
    }

    async fn undo(
        &self,
        _operation: &str,
        _requester: &Person,
        _channel: DiscordChannelId,
    ) -> Result<Planned, PlanError> {
        Ok(Planned::Refused(vec![
            "played plans are refused".to_owned(),
        ]))
    }

    async fn make_for_run(&self, _run: &Run, _requester: &Person) -> Result<Planned, PlanError> {
        Ok(Planned::Refused(vec![
            "played plans are refused".to_owned(),
        ]))
    }

    fn is_as_approved(&self, _wish: &ScheduleWish) -> bool {
        true
    }

    async fn complete(
        &self,
        source: &Complete,
        _typed: &str,
        _so_far: &BTreeMap<String, String>,
    ) -> Vec<String> {
        assert_eq!(*source, Complete::Clusters);
        vec!["geo".to_owned(), "sea".to_owned()]
    }
}

#[async_trait]
impl AnswersLooks for Played {
    async fn status(&self, _name: &str) -> Result<Option<Report>, LookError> {
        Ok(None)
    }

    async fn flavor(&self, _name: &str) -> Result<Option<Report>, LookError> {
        Ok(None)
    }

    async fn worker_nodes(&self, _name: &str) -> Result<Option<Report>, LookError> {
        Ok(None)
    }

    async fn owners(&self, _name: &str) -> Result<Option<Report>, LookError> {
        Ok(None)
    }

    async fn hub_user(
        &self,
        _name: &str,
        _token: &SecretString,
    ) -> Result<Option<Result<HubUser, String>>, LookError> {
        Ok(None)
    }

    async fn token_status(&self, _name: &str) -> Result<Option<Report>, LookError> {
        Ok(None)
    }

    async fn overview(&self) -> Result<Report, LookError> {
        Ok(Report::new("Clusters", Tone::Neutral, "played overview"))
    }

    async fn diagnose(&self, _name: &str) -> Result<Option<Diagnosis>, LookError> {
        Ok(None)
    }

    async fn list(&self) -> Result<Report, LookError> {
        tokio::time::sleep(Duration::from_millis(self.slow_ms.load(Ordering::SeqCst))).await;
        Ok(Report::new("Clusters", Tone::Neutral, "played list"))
    }

    async fn logs(&self, _name: &str, _wish: &LogWish) -> Result<Option<LogAnswer>, LookError> {
        Ok(None)
    }

    async fn operation_log(&self, _id: OperationId, _pick: &Pick) -> Result<LogAnswer, LookError> {
        Ok(LogAnswer::default())
    }

    async fn dns_check(&self, _host: &HostName) -> Result<Report, LookError> {
        Ok(Report::new("DNS", Tone::Neutral, "played"))
    }

    fn checkin_sheet(&self, _host: &HostName, _instance: CheckinInstance) -> Report {
        Report::new("Check-in", Tone::Neutral, "played")
    }

    async fn checkin_check(
        &self,
        _host: &HostName,
        _instance: CheckinInstance,
    ) -> Result<Report, LookError> {
        Ok(Report::new("Check-in", Tone::Neutral, "played"))
    }

    async fn values(&self, _name: &str, _look: &ValuesLook) -> Result<Option<Report>, LookError> {
        Ok(None)
    }
}
