//! The proofs of cures: [`crate::domain::proof`].

use chrono::{DateTime, TimeDelta, Utc};

use super::alerts::alert_end_key;
use super::audit::{self, AuditEntry};
use super::vault::HUB_TOKEN;
use super::{Store, StoreError, doing, messages};
use crate::domain::ids::{AlertId, ClusterId};
use crate::domain::proof::{Outcome, Proof, ProofState};

/// How long after its end an alert may still be proven: the bot may have been away.
const PROVEN_WITHIN: TimeDelta = TimeDelta::hours(1);

struct Row {
    alert_id: AlertId,
    cluster_id: ClusterId,
    state: String,
    made_at: DateTime<Utc>,
    deadline: Option<DateTime<Utc>>,
    asked_at: Option<DateTime<Utc>>,
    test_user: Option<String>,
    outcome: Option<String>,
    said: Option<String>,
}

impl TryFrom<Row> for Proof {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let unknown = |word: String| StoreError::Unreadable {
            what: "a proof",
            problem: format!("unknown word {word}"),
        };
        let outcome = match (row.outcome, row.said) {
            (Some(word), Some(said)) => {
                let outcome = Outcome::from_stored(&word).ok_or_else(|| unknown(word))?;
                Some((outcome, said))
            }
            _ => None,
        };
        Ok(Self {
            alert: row.alert_id,
            cluster: row.cluster_id,
            state: ProofState::from_stored(&row.state).ok_or_else(|| unknown(row.state))?,
            made_at: row.made_at,
            deadline: row.deadline,
            asked_at: row.asked_at,
            user: row.test_user,
            outcome,
        })
    }
}

impl Store {
    /// Makes the proofs that are due: of alerts `scaling` of which people were told and that are
    /// over, in clusters with a token of a test user. What began while a proof ran has none: it may
    /// be the test user who waited.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn make_proofs(&self) -> Result<(), StoreError> {
        let now = self.clock.now();
        let mut tx = self.begin().await?;
        let made = sqlx::query_scalar!(
            r#"insert into proofs (alert_id, cluster_id, state, made_at)
               select a.id, a.cluster_id, 'due', $1
               from alerts a join clusters c on c.id = a.cluster_id
               where a.kind = 'scaling' and a.state = 'resolved' and a.called_at is not null
                 and a.resolved_at > $2 and c.phase = 'running'
                 and exists (select 1 from secrets s where s.owner_kind = 'cluster'
                     and s.owner = a.cluster_id::text and s.name = $3)
                 and not exists (select 1 from proofs p where p.cluster_id = a.cluster_id
                     and a.since between p.made_at and coalesce(p.ended_at, $1))
               on conflict do nothing returning alert_id as "alert: AlertId""#,
            now,
            now - PROVEN_WITHIN,
            HUB_TOKEN
        )
        .fetch_all(&mut *tx)
        .await
        .map_err(doing("made the proofs that are due"))?;
        for alert in made {
            messages::touch(&mut tx, &alert_end_key(alert)).await?;
        }
        tx.commit().await.map_err(doing("committed"))
    }

    /// The proofs that are not over, the oldest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn open_proofs(&self) -> Result<Vec<Proof>, StoreError> {
        let rows = sqlx::query_as!(
            Row,
            r#"select alert_id as "alert_id: AlertId", cluster_id as "cluster_id: ClusterId", state,
                   made_at, deadline, asked_at, test_user, outcome, said
               from proofs where state <> 'done' order by made_at, alert_id limit 100"#
        )
        .fetch_all(&self.pool)
        .await
        .map_err(doing("read the open proofs"))?;
        rows.into_iter().map(Proof::try_from).collect()
    }

    /// The proof of an alert's cure, if there is one.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn proof(&self, alert: AlertId) -> Result<Option<Proof>, StoreError> {
        let row = sqlx::query_as!(
            Row,
            r#"select alert_id as "alert_id: AlertId", cluster_id as "cluster_id: ClusterId", state,
                   made_at, deadline, asked_at, test_user, outcome, said
               from proofs where alert_id = $1"#,
            alert.as_uuid()
        )
        .fetch_optional(&self.pool)
        .await
        .map_err(doing("read a proof"))?;
        row.map(Proof::try_from).transpose()
    }

    /// Keeps what a proof became, if it still is in the state `before`; false if not.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn keep_proof(&self, before: ProofState, proof: &Proof) -> Result<bool, StoreError> {
        let now = self.clock.now();
        let mut tx = self.begin().await?;
        let is_over = proof.state == ProofState::Done;
        let (outcome, said) = proof.outcome.clone().unzip();
        let done = sqlx::query!(
            "update proofs set state = $3, deadline = $4, asked_at = $5, outcome = $6, said = $7,
                 ended_at = $8, test_user = $9
             where alert_id = $1 and state = $2",
            proof.alert.as_uuid(),
            before.as_str(),
            proof.state.as_str(),
            proof.deadline,
            proof.asked_at,
            outcome.map(Outcome::as_str),
            said,
            is_over.then_some(now),
            proof.user
        )
        .execute(&mut *tx)
        .await
        .map_err(doing("kept a proof"))?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
        if proof.state != before {
            let details = serde_json::json!({
                "cluster": proof.cluster, "state": proof.state.as_str(),
                "outcome": outcome.map(Outcome::as_str), "said": said,
            });
            let entry = AuditEntry::by_bot("alert.proof", proof.alert.to_string(), details);
            audit::append(&mut tx, now, entry).await?;
            messages::touch(&mut tx, &alert_end_key(proof.alert)).await?;
        }
        tx.commit().await.map_err(doing("committed"))?;
        Ok(true)
    }
}
