//! The plans of `owners add` and `owners remove`: who may act on an infrastructure in IM before
//! and after.

use super::token_renew::problem;
use super::{Draft, PlanError, Planner};
use crate::commands::Command;
use crate::commands::value::Options;
use crate::domain::cluster::Cluster;
use crate::domain::names::InfrastructureId;
use crate::domain::owners::{OwnerToAdd, OwnersToReplace, named, shown, shown_all};
use crate::domain::plan::PlanContent;
use crate::domain::token::{NEEDED_TO_PLAN, TokenFacts};
use crate::store::secrets::SecretOwner;

/// A cluster and who may act on its infrastructure.
struct Standing {
    cluster: Cluster,
    infrastructure: InfrastructureId,
    accounts: Vec<String>,
}

impl Planner {
    pub(super) async fn draft_owners_add(
        &self,
        command: &Command,
        options: &Options,
    ) -> Result<Result<Draft, Vec<String>>, PlanError> {
        let Standing {
            cluster,
            infrastructure,
            accounts,
        } = match self.standing_owners(options).await? {
            Ok(standing) => standing,
            Err(problems) => return Ok(Err(problems)),
        };
        let secret = options.sealed().unwrap_or_default().to_owned();
        let owner = SecretOwner::Cluster(cluster.id);
        let Some(token) = self.vault.get(&owner, &secret).await? else {
            return Ok(Err(vec!["no token was given".to_owned()]));
        };
        let services = &self.services;
        let clock = self.store.clock();
        let looked = async {
            let facts = services
                .verified_token(&token, clock, NEEDED_TO_PLAN)
                .await?;
            let may = services.may_act(&token, &infrastructure).await?;
            Ok((facts, may, services.account_of(&token).await?))
        };
        let (facts, may, account) = match looked.await {
            Ok(looked) => looked,
            Err(error) => return Ok(Err(vec![problem(&error)])),
        };
        if may {
            let text = format!(
                "{} may act on the infrastructure of `{}` already: there is nothing to do",
                shown(&account),
                cluster.name
            );
            return Ok(Err(vec![text]));
        }
        let content = addition(&cluster, &account, &accounts, &facts);
        let options = OwnerToAdd {
            infrastructure,
            before: accounts,
            account,
            holder: facts.holder,
            secret,
            ends_at: facts.ends_at,
        };
        Ok(Ok(draft(command, &cluster, content, &options)))
    }

    pub(super) async fn draft_owners_remove(
        &self,
        command: &Command,
        options: &Options,
    ) -> Result<Result<Draft, Vec<String>>, PlanError> {
        let Standing {
            cluster,
            infrastructure,
            accounts,
        } = match self.standing_owners(options).await? {
            Ok(standing) => standing,
            Err(problems) => return Ok(Err(problems)),
        };
        let typed = options.text("account").unwrap_or_default();
        let Some(account) = named(&accounts, &typed) else {
            let text = format!(
                "`{}` is no account that may act on the infrastructure of `{}`; these may: {}",
                shown(&typed).replace('`', "'"),
                cluster.name,
                shown_all(&accounts)
            );
            return Ok(Err(vec![text]));
        };
        let stays = match self.services.own_account().await {
            Ok(stays) => stays,
            Err(error) => return Ok(Err(vec![problem(&error)])),
        };
        if *account == stays {
            let text = "that is the bot's own account: without it the bot could do nothing more \
                        with the cluster";
            return Ok(Err(vec![text.to_owned()]));
        }
        let others: Vec<String> = accounts
            .iter()
            .filter(|one| *one != account && **one != stays)
            .cloned()
            .collect();
        let content = removal(&cluster, (account, &stays), (&accounts, &others));
        let options = OwnersToReplace {
            infrastructure,
            account: account.clone(),
            before: accounts,
            stays,
        };
        Ok(Ok(draft(command, &cluster, content, &options)))
    }

    async fn standing_owners(
        &self,
        options: &Options,
    ) -> Result<Result<Standing, Vec<String>>, PlanError> {
        let name = options.text("name").unwrap_or_default();
        let cluster = match self.cluster(&name).await? {
            Ok(cluster) => cluster,
            Err(problems) => return Ok(Err(problems)),
        };
        let Some(infrastructure) = cluster.infrastructure.clone() else {
            return Ok(Err(vec![format!("`{name}` has no infrastructure")]));
        };
        Ok(match self.services.owners(&infrastructure).await {
            Ok(accounts) => Ok(Standing {
                cluster,
                infrastructure,
                accounts,
            }),
            Err(error) => Err(vec![problem(&error)]),
        })
    }
}

fn addition(
    cluster: &Cluster,
    account: &str,
    accounts: &[String],
    facts: &TokenFacts,
) -> PlanContent {
    PlanContent {
        summary: format!(
            "Let {} act on the infrastructure of `{}` in IM",
            shown(account),
            cluster.name
        ),
        difference: vec![
            format!("  may act now: {}", shown_all(accounts)),
            format!(
                "+ {}, who logs in at {}",
                shown(account),
                facts.holder.issuer
            ),
        ],
        estimate: Vec::new(),
        warnings: vec![
            "who may act can do everything with it in IM: change, stop and delete its \
                 machines, read the keys of its front end"
                .to_owned(),
            "IM can't take one account off again without all others but the bot's".to_owned(),
            format!(
                "approve it before <t:{}:t>: later the colleague's token has ended",
                facts.ends_at.timestamp()
            ),
        ],
    }
}

fn removal(
    cluster: &Cluster,
    (account, stays): (&str, &str),
    (accounts, others): (&[String], &[String]),
) -> PlanContent {
    let mut difference = vec![
        format!("  may act now: {}", shown_all(accounts)),
        format!("- {}", shown(account)),
    ];
    difference.extend(others.iter().map(|other| format!("- {}", shown(other))));
    difference.push(format!(
        "  may act then: {}, the bot's account",
        shown(stays)
    ));
    let mut warnings = Vec::new();
    if !others.is_empty() {
        warnings.push(format!(
            "IM can't take one account off, only replace them all by one: {} lose access too; add \
             them again with `/pangeo owners add name:{}` and a token of each",
            shown_all(others),
            cluster.name
        ));
    }
    warnings.push(
        "CLUES can't add nodes any more if the front end's token is of somebody who loses access; \
         see `/pangeo token status`"
            .to_owned(),
    );
    warnings.push(
        "it takes no key back: who could act may have read the keys of the front end".to_owned(),
    );
    PlanContent {
        summary: format!(
            "Take {} off the infrastructure of `{}` in IM",
            shown(account),
            cluster.name
        ),
        difference,
        estimate: Vec::new(),
        warnings,
    }
}

fn draft(
    command: &Command,
    cluster: &Cluster,
    content: PlanContent,
    options: &impl serde::Serialize,
) -> Draft {
    Draft {
        target: cluster.name.to_string(),
        options: serde_json::to_value(options).unwrap_or_default(),
        target_revision: cluster.revision,
        steps: command.steps(),
        content,
        files: Vec::new(),
    }
}
