//! The plan of `token renew`: which token replaces which, on which front ends, checked before
//! anybody is asked.

use futures::stream::{self, StreamExt};
use secrecy::SecretString;

use super::{Draft, PlanError, Planner};
use crate::commands::Command;
use crate::commands::value::Options;
use crate::domain::cluster::{Cluster, Phase};
use crate::domain::ids::ClusterId;
use crate::domain::plan::PlanContent;
use crate::domain::token::{
    EVERY_CLUSTER, Holder, NEEDED_TO_PLAN, NEEDED_TO_WRITE, NewToken, RenewBy, RenewOptions,
    RenewTarget, TokenFacts,
};
use crate::operations::StepError;
use crate::operations::services::of_ec3;
use crate::services::checkin::read_facts;
use crate::services::ec3::{AUTH_FILE, Ec3, REFRESH_FILE};
use crate::store::secrets::SecretOwner;
use crate::store::vault::REFRESH_TOKEN;

/// How many front ends are looked at at once.
const AT_ONCE: usize = 16;

/// What was asked for.
struct Asked {
    way: RenewBy,
    every: bool,
    keep: bool,
    clusters: Vec<Cluster>,
    anchor: ClusterId,
}

/// A token that came with the command's form.
struct Given {
    secret: String,
    token: SecretString,
    facts: TokenFacts,
}

/// A front end and what its token says.
struct Standing {
    target: RenewTarget,
    facts: Option<TokenFacts>,
}

impl Planner {
    pub(super) async fn draft_token_renew(
        &self,
        command: &Command,
        options: &Options,
    ) -> Result<Result<Draft, Vec<String>>, PlanError> {
        let asked = match self.asked(options).await? {
            Ok(asked) => asked,
            Err(problems) => return Ok(Err(problems)),
        };
        let given = match self.given(&asked, options).await? {
            Ok(given) => given,
            Err(problem) => return Ok(Err(vec![problem])),
        };
        let token = given.as_ref().map(|given| &given.token);
        let looks: Vec<_> = asked
            .clusters
            .iter()
            .map(|cluster| self.standing(cluster, token))
            .collect();
        let looked: Vec<_> = stream::iter(looks).buffered(AT_ONCE).collect().await;
        let (holder, standing, problems) = sort(given.as_ref(), looked);
        let Some(holder) = holder.filter(|_| problems.is_empty() || asked.every) else {
            return Ok(Err(problems));
        };
        if standing.is_empty() {
            return Ok(Err(problems));
        }
        let revision = match asked.clusters.first() {
            Some(cluster) if !asked.every => cluster.revision,
            Some(_) | None => 0,
        };
        let content = content(&asked, given.as_ref(), &standing, problems);
        let target = match standing.first() {
            Some(one) if !asked.every => one.target.name.clone(),
            Some(_) | None => EVERY_CLUSTER.to_owned(),
        };
        let options = RenewOptions {
            way: asked.way,
            holder,
            anchor: asked.anchor,
            targets: standing.into_iter().map(|one| one.target).collect(),
            keep: asked.keep,
            new: given.map(|given| NewToken {
                secret: given.secret,
                ends_at: given.facts.ends_at,
            }),
        };
        Ok(Ok(Draft {
            target,
            options: serde_json::to_value(options).unwrap_or_default(),
            target_revision: revision,
            steps: command.steps(),
            content,
            files: Vec::new(),
        }))
    }

    /// Reads the options.
    async fn asked(&self, options: &Options) -> Result<Result<Asked, Vec<String>>, PlanError> {
        let problem = |text: &str| Ok(Err(vec![text.to_owned()]));
        let is = |option: &str| options.text(option).as_deref() == Some("true");
        let (every, keep) = (is("every"), is("keep"));
        let way = options.text("way").unwrap_or_default();
        let Some(way) = RenewBy::from_word(&way) else {
            return problem("there is no such way to renew");
        };
        if keep && way == RenewBy::Paste {
            return problem("a pasted token brings no refresh token to keep: use `way:login`");
        }
        let has_client = self.services.settings.renewals.client_id.is_some();
        if way != RenewBy::Paste && !has_client {
            return problem(
                "the bot has no client at Check-in (`checkin.client_id` in its configuration): use `way:paste`",
            );
        }
        let clusters = match (options.text("name"), every) {
            (Some(_), true) => return problem("give either `name` or `every:true`"),
            (None, false) => return problem("give the `name` of a cluster, or `every:true`"),
            (Some(name), false) => match self.running_cluster(&name).await? {
                Ok(cluster) => vec![cluster],
                Err(problems) => return Ok(Err(problems)),
            },
            (None, true) => self.store.clusters().await?,
        };
        let clusters: Vec<Cluster> = clusters
            .into_iter()
            .filter(|cluster| cluster.phase == Phase::Running)
            .collect();
        let Some(anchor) = clusters.first().map(|cluster| cluster.id) else {
            return problem("no cluster runs");
        };
        Ok(Ok(Asked {
            way,
            every,
            // A kept refresh token may come back as a new one.
            keep: keep || way == RenewBy::Kept,
            clusters,
            anchor,
        }))
    }

    /// The token of the form, verified, and whether a refresh token is kept where one is needed.
    async fn given(
        &self,
        asked: &Asked,
        options: &Options,
    ) -> Result<Result<Option<Given>, String>, PlanError> {
        match asked.way {
            RenewBy::Login => return Ok(Ok(None)),
            RenewBy::Kept => {
                for cluster in &asked.clusters {
                    let owner = SecretOwner::Cluster(cluster.id);
                    if self.store.secret(&owner, REFRESH_TOKEN).await?.is_some() {
                        return Ok(Ok(None));
                    }
                }
                let text = "no refresh token is kept: renew once with `way:login keep:true`";
                return Ok(Err(text.to_owned()));
            }
            RenewBy::Paste => {}
        }
        let secret = options.sealed().unwrap_or_default().to_owned();
        let owner = SecretOwner::Cluster(asked.anchor);
        let Some(token) = self.vault.get(&owner, &secret).await? else {
            return Ok(Err("no token was given".to_owned()));
        };
        let verified = self
            .services
            .verified_token(&token, self.store.clock(), NEEDED_TO_PLAN)
            .await;
        Ok(match verified {
            Ok(facts) => Ok(Some(Given {
                secret,
                token,
                facts,
            })),
            Err(error) => Err(problem(&error)),
        })
    }

    /// What stands on a front end, and whether the new token may be used for it.
    async fn standing(
        &self,
        cluster: &Cluster,
        token: Option<&SecretString>,
    ) -> Result<Standing, String> {
        let name = cluster.name.to_string();
        let named = |error: StepError| format!("`{name}`: {}", problem(&error));
        let Some(infrastructure) = cluster.infrastructure.clone() else {
            return Err(format!("`{name}` has no infrastructure"));
        };
        if let Some(token) = token {
            let owns = self.services.token_owns(token, &infrastructure).await;
            owns.map_err(named)?;
        }
        let frontend = self.services.frontend(cluster, &self.vault).await;
        let frontend = frontend.map_err(named)?;
        let auth = Ec3::of(&frontend).auth().await;
        let auth = auth.map_err(|error| named(of_ec3(error)))?;
        Ok(Standing {
            facts: read_facts(&auth.token()),
            target: RenewTarget {
                cluster: cluster.id,
                name,
                infrastructure,
                instead_of: None,
            },
        })
    }
}

/// Parts the front ends whose tokens are the holder's from those that have a problem.
fn sort(
    given: Option<&Given>,
    looked: Vec<Result<Standing, String>>,
) -> (Option<Holder>, Vec<Standing>, Vec<String>) {
    let first = || {
        let mut facts = looked.iter().flatten().filter_map(|one| one.facts.as_ref());
        facts.next().map(|facts| facts.holder.clone())
    };
    let holder = given.map(|given| given.facts.holder.clone()).or_else(first);
    let (mut standing, mut problems) = (Vec::new(), Vec::new());
    for one in looked {
        match one.and_then(|one| may_be_replaced(one, holder.as_ref(), given.is_some())) {
            Ok(one) => standing.push(one),
            Err(problem) => problems.push(problem),
        }
    }
    (holder, standing, problems)
}

/// A token is replaced by one of the same issuer; by one of another person only if it was given, so
/// that IM was asked with it and lets that person act.
fn may_be_replaced(
    mut one: Standing,
    holder: Option<&Holder>,
    is_given: bool,
) -> Result<Standing, String> {
    let name = &one.target.name;
    match (&one.facts, holder) {
        (Some(old), Some(new)) if old.holder.issuer != new.issuer => Err(format!(
            "`{name}`: the token is of the issuer `{}`, but the front end's is of `{}`",
            new.issuer, old.holder.issuer
        )),
        (Some(old), Some(new)) if old.holder.subject != new.subject && is_given => {
            one.target.instead_of = Some(old.holder.clone());
            Ok(one)
        }
        (Some(old), Some(new)) if old.holder.subject != new.subject => Err(format!(
            "`{name}`: the token is another person's than the front end's: let its owner renew it"
        )),
        (None, _) if !is_given => Err(format!(
            "`{name}`: whose token stands on the front end can't be read: use `way:paste`"
        )),
        (Some(_) | None, _) => Ok(one),
    }
}

fn content(
    asked: &Asked,
    given: Option<&Given>,
    standing: &[Standing],
    problems: Vec<String>,
) -> PlanContent {
    let summary = match standing {
        [one] if !asked.every => {
            format!(
                "Renew the access token on the front end of `{}`",
                one.target.name
            )
        }
        many => format!("Renew the access tokens on {} front ends", many.len()),
    };
    let mut difference = vec![format!("~ {AUTH_FILE}, in its two places")];
    difference.extend(standing.iter().map(|one| {
        let ends = one.facts.as_ref().map_or_else(
            || "a token that does not read".to_owned(),
            |facts| format!("the token that ends {}", at(facts)),
        );
        format!("- {}: {ends}", one.target.name)
    }));
    let others = standing
        .iter()
        .filter(|one| one.target.instead_of.is_some())
        .count();
    let whose = if others == 0 {
        "the same person"
    } else {
        "another person"
    };
    difference.push(match given {
        Some(given) => format!(
            "+ the token that was given, of {whose}; it ends {}",
            at(&given.facts)
        ),
        None if asked.way == RenewBy::Login => {
            "+ a token of the same person, who logs in at Check-in after the approval".to_owned()
        }
        None => "+ a token of the same person, for the refresh token that the bot keeps".to_owned(),
    });
    difference.push(format!("- {REFRESH_FILE}, which cron makes anew"));
    if asked.keep {
        difference.push("+ the refresh token, sealed, for unattended renewals".to_owned());
    }
    let mut warnings: Vec<String> = problems
        .into_iter()
        .map(|problem| format!("left out: {problem}"))
        .collect();
    if others > 0 {
        warnings.push(format!(
            "the token is another person's than that of {others} front end(s): IM lets them act, \
             and machines that CLUES adds are made in their name from now on"
        ));
    }
    warnings.extend(given.map(|given| {
        format!(
            "approve it before <t:{}:t>: later the token does not live long enough to be written",
            (given.facts.ends_at - NEEDED_TO_WRITE).timestamp()
        )
    }));
    PlanContent {
        summary,
        difference,
        estimate: Vec::new(),
        warnings,
    }
}

fn at(facts: &TokenFacts) -> String {
    facts.ends_at.format("%Y-%m-%d %H:%M UTC").to_string()
}

pub(super) fn problem(error: &StepError) -> String {
    format!("{}; {}", error.for_people(), error.hint())
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::domain::names::InfrastructureId;

    fn holder(issuer: &str, subject: &str) -> Holder {
        Holder {
            issuer: issuer.to_owned(),
            subject: subject.to_owned(),
        }
    }

    fn standing(name: &str, holder: Option<Holder>) -> Standing {
        Standing {
            target: RenewTarget {
                cluster: ClusterId::new(),
                name: name.to_owned(),
                infrastructure: InfrastructureId::parse("a1").unwrap(),
                instead_of: None,
            },
            facts: holder.map(|holder| TokenFacts {
                holder,
                ends_at: DateTime::from_timestamp(1_795_514_492, 0).unwrap(),
                issued_at: None,
            }),
        }
    }

    #[test]
    fn only_tokens_of_one_person_and_issuer_are_replaced() {
        let ana = holder("https://a", "ana");
        let (found, taken, problems) = sort(
            None,
            vec![
                Ok(standing("geo", Some(ana.clone()))),
                Ok(standing("sea", Some(holder("https://b", "ana")))),
                Ok(standing("air", Some(holder("https://a", "ben")))),
                Ok(standing("ice", None)),
                Err("`fog`: the front end is not reachable".to_owned()),
            ],
        );
        assert_eq!(found, Some(ana));
        assert_eq!(taken.len(), 1);
        assert_eq!(taken[0].target.name, "geo");
        for (problem, word) in
            problems
                .iter()
                .zip(["https://b", "another person", "way:paste", "not reachable"])
        {
            assert!(problem.contains(word), "{problem}");
        }
        assert_eq!(problems.len(), 4);
    }
}
