//! The plan of `token renew`: which token replaces which, checked before anybody is asked.

use futures::future::try_join;
use secrecy::SecretString;

use super::{Draft, PlanError, Planner};
use crate::commands::Command;
use crate::commands::value::Options;
use crate::domain::cluster::Cluster;
use crate::domain::plan::PlanContent;
use crate::domain::token::{
    Holder, NEEDED_TO_PLAN, NewToken, RenewBy, RenewOptions, RenewTarget, TokenFacts,
};
use crate::operations::StepError;
use crate::services::checkin::read_facts;
use crate::services::ec3::{AUTH_FILE, AuthFile, Ec3, REFRESH_FILE};
use crate::store::secrets::SecretOwner;

impl Planner {
    pub(super) async fn draft_token_renew(
        &self,
        command: &Command,
        options: &Options,
    ) -> Result<Result<Draft, Vec<String>>, PlanError> {
        let name = options.text("name").unwrap_or_default();
        let cluster = match self.running_cluster(&name).await? {
            Ok(cluster) => cluster,
            Err(problems) => return Ok(Err(problems)),
        };
        let Some(infrastructure) = cluster.infrastructure.clone() else {
            return Ok(Err(vec![format!("`{name}` has no infrastructure")]));
        };
        let target = RenewTarget {
            cluster: cluster.id,
            name,
            infrastructure,
        };
        let owner = SecretOwner::Cluster(cluster.id);
        let secret = options.sealed().unwrap_or_default().to_owned();
        let Some(token) = self.vault.get(&owner, &secret).await? else {
            return Ok(Err(vec!["no token was given".to_owned()]));
        };
        let looked = try_join(
            self.standing_token(&cluster),
            self.new_token(&token, &target),
        );
        let (old, new) = match looked.await {
            Ok(found) => found,
            Err(error) => return Ok(Err(vec![problem(&error)])),
        };
        let holder = match held_by(&old, &new) {
            Ok(holder) => holder,
            Err(problem) => return Ok(Err(vec![problem])),
        };
        let content = content(&target.name, &old, &new);
        let options = RenewOptions {
            way: RenewBy::Paste,
            holder,
            targets: vec![target],
            new: Some(NewToken {
                secret,
                ends_at: new.ends_at,
            }),
        };
        Ok(Ok(Draft {
            target: cluster.name.to_string(),
            options: serde_json::to_value(options).unwrap_or_default(),
            target_revision: cluster.revision,
            steps: command
                .operation
                .as_ref()
                .map(|operation| operation.steps.clone())
                .unwrap_or_default(),
            content,
            files: Vec::new(),
        }))
    }

    /// What the token says that stands on the front end now.
    async fn standing_token(&self, cluster: &Cluster) -> Result<Option<TokenFacts>, StepError> {
        let frontend = self.services.frontend(cluster, &self.vault).await?;
        let auth: AuthFile = Ec3::of(&frontend)
            .auth()
            .await
            .map_err(crate::operations::services::of_ec3)?;
        Ok(read_facts(&auth.token()))
    }

    async fn new_token(
        &self,
        token: &SecretString,
        target: &RenewTarget,
    ) -> Result<TokenFacts, StepError> {
        let clock = self.store.clock();
        let facts = self
            .services
            .verified_token(token, clock, NEEDED_TO_PLAN)
            .await?;
        self.services
            .token_owns(token, &target.infrastructure)
            .await?;
        Ok(facts)
    }
}

/// Whose token it is; that of another person or issuer is not taken.
fn held_by(old: &Option<TokenFacts>, new: &TokenFacts) -> Result<Holder, String> {
    match old {
        Some(old) if old.holder.issuer != new.holder.issuer => Err(format!(
            "the token is of the issuer `{}`, but the front end's is of `{}`",
            new.holder.issuer, old.holder.issuer
        )),
        Some(old) if old.holder.subject != new.holder.subject => Err(
            "the token is another person's than the front end's: let its owner renew it".to_owned(),
        ),
        Some(_) | None => Ok(new.holder.clone()),
    }
}

fn content(name: &str, old: &Option<TokenFacts>, new: &TokenFacts) -> PlanContent {
    let stands = old.as_ref().map_or_else(
        || "- a token that does not read".to_owned(),
        |old| format!("- the token that ends {} UTC", at(old)),
    );
    PlanContent {
        summary: format!("Renew the access token on the front end of `{name}`"),
        difference: vec![
            format!("~ {AUTH_FILE}, in its two places"),
            stands,
            format!(
                "+ the token that was given, of the same person; it ends {} UTC",
                at(new)
            ),
            format!("- {REFRESH_FILE}, which cron makes anew"),
        ],
        estimate: Vec::new(),
        warnings: vec![format!(
            "approve it before <t:{}:t>: later the token does not live long enough to be written",
            (new.ends_at - crate::domain::token::NEEDED_TO_WRITE).timestamp()
        )],
    }
}

fn at(facts: &TokenFacts) -> impl std::fmt::Display {
    facts.ends_at.format("%Y-%m-%d %H:%M")
}

fn problem(error: &StepError) -> String {
    format!("{}; {}", error.for_people(), error.hint())
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    fn facts(issuer: &str, subject: &str) -> TokenFacts {
        TokenFacts {
            holder: Holder {
                issuer: issuer.to_owned(),
                subject: subject.to_owned(),
            },
            ends_at: DateTime::from_timestamp(1_795_514_492, 0).unwrap(),
            issued_at: None,
        }
    }

    #[test]
    fn only_a_token_of_the_same_person_and_issuer_is_taken() {
        let new = facts("https://a", "ana");
        assert_eq!(held_by(&None, &new), Ok(new.holder.clone()));
        assert!(held_by(&Some(facts("https://a", "ana")), &new).is_ok());
        let other = held_by(&Some(facts("https://b", "ana")), &new).unwrap_err();
        assert!(other.contains("https://b"), "{other}");
        let other = held_by(&Some(facts("https://a", "ben")), &new).unwrap_err();
        assert!(other.contains("another person"), "{other}");
    }
}
