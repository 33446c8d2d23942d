//! From rows to views: reads what a message is about and hands it to its words.

use chrono::TimeDelta;

use super::messages::{alert, follow, notice, plan, progress, summary};
use super::view::{FILE_BYTES, View, last_bytes};
use super::{Shared, picture};
use crate::domain::ids::{AlertId, DiscordChannelId, LogViewId, OperationId, PlanId};
use crate::domain::message::{MessageKind, OutboxMessage};
use crate::domain::person::Role;
use crate::domain::plan::Plan;
use crate::looks::Chart;
use crate::operations::start::UNDO_COMMAND;
use crate::store::{Store, StoreError};

/// How many lines of a log are read at once.
const LOG_PAGE: i64 = 5000;

impl Shared {
    /// Makes a message from the rows; `None` if what it is about is gone.
    pub(crate) async fn view_of(
        &self,
        message: &OutboxMessage,
    ) -> Result<Option<View>, StoreError> {
        let (store, clean) = (&self.parts.store, &self.clean);
        match &message.kind {
            MessageKind::Plan(id) => self.plan(*id, message.message.is_none()).await,
            MessageKind::Progress(id) => {
                let Some(operation) = store.operation(*id).await? else {
                    return Ok(None);
                };
                let steps = store.steps(*id).await?;
                let line = store.last_log_line(*id).await?;
                let before = store.operation_before(&operation).await?;
                let now = store.clock().now();
                let link = self.parts.links.page(*id, now);
                let shown = progress::Shown {
                    operation: &operation,
                    before: before.as_ref(),
                    steps: &steps,
                    last_line: line.as_ref(),
                    link: link.as_str(),
                    now,
                };
                Ok(Some(progress::view(clean, &shown)))
            }
            MessageKind::Summary(id) => {
                let Some(operation) = store.operation(*id).await? else {
                    return Ok(None);
                };
                let steps = store.steps(*id).await?;
                let cluster = store.cluster(operation.cluster).await?;
                let link = self.parts.links.page(*id, store.clock().now());
                let log = if message.message.is_none() {
                    clean.redact(&log_text(store, *id).await?)
                } else {
                    String::new()
                };
                let shown = summary::Shown {
                    key: &message.key,
                    operation: &operation,
                    steps: &steps,
                    cluster: cluster.as_ref(),
                    log,
                    link: link.as_str(),
                };
                Ok(Some(summary::view(clean, shown)))
            }
            MessageKind::LogView(id) => self.log_view(&message.key, *id, false).await,
            MessageKind::LogLines(id) => self.log_view(&message.key, *id, true).await,
            MessageKind::Alert(id) => {
                self.alert(&message.key, *id, message.message.is_none())
                    .await
            }
            MessageKind::AlertEnd(id) => self.alert_end(&message.key, *id).await,
            MessageKind::AlertGroup(id) => self.alert_group(&message.key, *id).await.map(Some),
            MessageKind::Notice(told) => {
                let roles = self.access.discord_roles(&told.mention_roles);
                let catalogue = &self.parts.catalogue;
                let told = (message.key.as_str(), told);
                Ok(Some(notice::view(clean, catalogue, told, roles)))
            }
        }
    }

    /// The thread of the operation that a plan undoes; it has the id of its plan's message.
    async fn thread_of_undone(&self, plan: &Plan) -> Result<Option<DiscordChannelId>, StoreError> {
        let store = &self.parts.store;
        if plan.essence.command != UNDO_COMMAND {
            return Ok(None);
        }
        let id = plan.essence.options.get("operation");
        let id = id.and_then(|id| id.as_str()?.parse().ok());
        let operation = match id {
            Some(id) => store.operation(id).await?,
            None => None,
        };
        let Some(first) = operation.and_then(|operation| operation.plan) else {
            return Ok(None);
        };
        let message = store.message(&format!("plan/{first}")).await?;
        let message = message.and_then(|message| message.message);
        Ok(message.map(|message| DiscordChannelId(message.0)))
    }

    /// A plan, with its files when it is posted.
    async fn plan(&self, id: PlanId, with_files: bool) -> Result<Option<View>, StoreError> {
        let store = &self.parts.store;
        let Some(plan) = store.plan(id).await? else {
            return Ok(None);
        };
        let grants = store.grants(id).await?;
        let operation = store.operation_of_plan(id).await?;
        let files = if with_files {
            store.plan_files(id).await?
        } else {
            Vec::new()
        };
        let shown = plan::Shown {
            thread: self.thread_of_undone(&plan).await?,
            plan: &plan,
            grants: &grants,
            files: &files,
            operation: operation.map(|operation| operation.id),
        };
        Ok(Some(plan::view(&self.clean, &shown)))
    }

    /// What an alert is shown with; `None` if it is gone.
    async fn shown_alert(&self, id: AlertId) -> Result<Option<alert::Shown>, StoreError> {
        let store = &self.parts.store;
        let Some(alert) = store.alert(id).await? else {
            return Ok(None);
        };
        let Some(cluster) = store.cluster(alert.cluster).await? else {
            return Ok(None);
        };
        let name = cluster.name.as_str();
        let mut operations = store
            .recent_operations(Some(name), alert::OPERATIONS)
            .await?;
        operations.retain(|operation| {
            let was_over = operation.ended_at.is_some_and(|at| at < alert.since);
            let resolved_at = alert.resolved_at;
            !was_over && resolved_at.is_none_or(|at| operation.created_at <= at)
        });
        operations.reverse();
        let silences = store.silences(cluster.id).await?;
        let now = store.clock().now();
        Ok(Some(alert::Shown {
            proof: store.proof(id).await?,
            silence: silences
                .into_iter()
                .find(|silence| silence.holds(alert.kind, now)),
            cluster: name.to_owned(),
            alert,
            operations,
        }))
    }

    /// An alert; its picture is drawn when it is posted.
    async fn alert(
        &self,
        key: &str,
        id: AlertId,
        with_picture: bool,
    ) -> Result<Option<View>, StoreError> {
        let Some(shown) = self.shown_alert(id).await? else {
            return Ok(None);
        };
        let picture = match self.chart_of(&shown).await? {
            Some(chart) if with_picture => picture::png(&chart),
            // It stays as it was posted.
            Some(_chart) => Some(Vec::new()),
            None => None,
        };
        // Its group has called them.
        let called: &[Role] = match shown.alert.group {
            None => &[Role::Operator],
            Some(_) => &[],
        };
        let roles = self.access.discord_roles(called);
        let catalogue = &self.parts.catalogue;
        let view = alert::view(&self.clean, catalogue, (key, &shown), roles);
        Ok(Some(View { picture, ..view }))
    }

    /// What its picture shows: the time before it was told; `None` if there is too little.
    async fn chart_of(&self, shown: &alert::Shown) -> Result<Option<Chart>, StoreError> {
        let alert = &shown.alert;
        let Some(until) = alert.fired_at.filter(|_at| shown.has_picture()) else {
            return Ok(None);
        };
        let from = until - TimeDelta::hours(alert::PICTURE_HOURS.into());
        let mut samples = self.parts.store.samples_since(alert.cluster, from).await?;
        samples.retain(|sample| sample.at <= until);
        Ok((samples.len() > 1).then_some(Chart {
            samples,
            hours: alert::PICTURE_HOURS,
            until,
            mark: Some(alert.since),
        }))
    }

    async fn alert_group(&self, key: &str, first: AlertId) -> Result<View, StoreError> {
        let alerts = self.parts.store.alerts_of_group(first).await?;
        let roles = self.access.discord_roles(&[Role::Operator]);
        Ok(alert::group(&self.clean, (key, &alerts), roles))
    }

    async fn alert_end(&self, key: &str, id: AlertId) -> Result<Option<View>, StoreError> {
        let shown = self.shown_alert(id).await?;
        Ok(shown.map(|shown| alert::end(&self.clean, (key, &shown))))
    }

    /// A log that is followed, with or without its last lines.
    async fn log_view(
        &self,
        key: &str,
        id: LogViewId,
        with_lines: bool,
    ) -> Result<Option<View>, StoreError> {
        let (store, clean) = (&self.parts.store, &self.clean);
        let Some(view) = store.log_view(id).await? else {
            return Ok(None);
        };
        let link = self.parts.links.log_page(id, store.clock().now());
        if !with_lines {
            return Ok(Some(follow::head(clean, key, &view, link.as_str())));
        }
        let lines = store.log_view_tail(id, follow::SHOWN_LINES).await?;
        let shown = follow::lines(clean, key, &view, &lines, link.as_str());
        Ok(Some(shown))
    }
}

/// The log of an operation as text, or as much of its end as one file may have.
pub(crate) async fn log_text(store: &Store, id: OperationId) -> Result<String, StoreError> {
    use std::fmt::Write as _;
    let mut text = String::new();
    let mut after = 0;
    loop {
        let lines = store.log_lines_after(id, after, LOG_PAGE).await?;
        let Some(last) = lines.last() else { break };
        after = last.line;
        for line in &lines {
            let at = line.at.format("%Y-%m-%dT%H:%M:%SZ");
            let _written = writeln!(text, "{at} [{}] {}", line.step, line.text);
        }
        if text.len() > 2 * FILE_BYTES {
            text = last_bytes(&text, FILE_BYTES).to_owned();
        }
        if i64::try_from(lines.len()).unwrap_or(i64::MAX) < LOG_PAGE {
            break;
        }
    }
    Ok(last_bytes(&text, FILE_BYTES).to_owned())
}
