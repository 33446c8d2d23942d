//! The plan of `adopt`: what there is of a cluster that somebody made by hand.
//!
//! Everything is read first ([`look`]). Without infrastructure, key or release no later command
//! could do its work: then there is no plan. What only some commands will miss is named in the
//! plan, with what it means for them.

mod look;

use chrono::NaiveDate;
use secrecy::{ExposeSecret, SecretString};

use self::look::Found;
use super::{Draft, PlanError, Planner};
use crate::commands::Command;
use crate::commands::value::Options;
use crate::domain::adoption::{Adoption, Known};
use crate::domain::chart::ChartSource;
use crate::domain::deploy::{Auth, DeployOptions};
use crate::domain::ids::DiscordUserId;
use crate::domain::names::{ClusterName, HostName, InfrastructureId};
use crate::domain::person::Person;
use crate::domain::plan::{PlanContent, PlanFile};
use crate::domain::values::change::{Make, ValuesChange, digest_of_text, digest_of_tree};
use crate::domain::values::secrets::{masked, secrets_in};
use crate::domain::yaml;
use crate::services::helm::ReleaseStatus;

/// What a person wants.
struct Wish {
    name: ClusterName,
    host: Option<HostName>,
    infrastructure: Option<InfrastructureId>,
    /// Of the host key, without `SHA256:`.
    fingerprint: Option<String>,
    owner: DiscordUserId,
    purpose: Option<String>,
    contact: Option<String>,
    ends_on: Option<NaiveDate>,
}

impl Wish {
    /// Reads the options; everything that is wrong with them.
    fn read(options: &Options, requester: &Person, today: NaiveDate) -> Result<Self, Vec<String>> {
        let mut problems = Vec::new();
        let host = options.host_name("host").cloned();
        let infrastructure = options
            .text("infrastructure")
            .map(|text| infrastructure(&text));
        if host.is_none() && infrastructure.is_none() {
            problems.push(
                "give `host`, the DNS name of its hub, or `infrastructure`, its id in IM"
                    .to_owned(),
            );
        }
        let infrastructure = infrastructure.transpose().unwrap_or_else(|problem| {
            problems.push(format!("`infrastructure`: {problem}"));
            None
        });
        let ends_on = options.date("end-date");
        if let Some(day) = ends_on.filter(|day| *day < today) {
            problems.push(format!("`end-date`: `{day}` is over; use today or later"));
        }
        let Some(name) = options.cluster_name("name").cloned() else {
            problems.push("`name`: is needed".to_owned());
            return Err(problems);
        };
        if !problems.is_empty() {
            return Err(problems);
        }
        let fingerprint = options.text("fingerprint");
        Ok(Self {
            name,
            host,
            infrastructure,
            fingerprint: fingerprint.map(|text| bare_fingerprint(&text).to_owned()),
            owner: options.person("owner").unwrap_or(requester.id),
            purpose: options.text("purpose"),
            contact: options.text("contact"),
            ends_on,
        })
    }
}

/// The id alone, or at the end of its address in IM.
fn infrastructure(text: &str) -> Result<InfrastructureId, String> {
    let id = text.trim().trim_end_matches('/').rsplit('/').next();
    InfrastructureId::parse(id.unwrap_or_default()).map_err(|error| error.to_string())
}

/// A fingerprint without the name of its digest.
fn bare_fingerprint(text: &str) -> &str {
    let text = text.trim();
    text.strip_prefix("SHA256:").unwrap_or(text)
}

impl Planner {
    pub(super) async fn draft_adopt(
        &self,
        command: &Command,
        options: &Options,
        requester: &Person,
    ) -> Result<Result<Draft, Vec<String>>, PlanError> {
        let today = self.store.clock().now().date_naive();
        let wish = match Wish::read(options, requester, today) {
            Ok(wish) => wish,
            Err(problems) => return Ok(Err(problems)),
        };
        if let Some(problem) = self.in_inventory(&wish).await? {
            return Ok(Err(vec![problem]));
        }
        let found = match self.look_for(&wish).await {
            Ok(found) => found,
            Err(problem) => return Ok(Err(vec![problem])),
        };
        // What was found may be in the inventory under another name.
        let wish = Wish {
            host: Some(found.host.clone()),
            infrastructure: Some(found.im.id.clone()),
            ..wish
        };
        if let Some(problem) = self.in_inventory(&wish).await? {
            return Ok(Err(vec![problem]));
        }
        let missed = self.missed_secrets(&found).await?;
        Ok(self.adoption(command, &wish, &found, missed))
    }

    /// What of it the inventory has already.
    async fn in_inventory(&self, wish: &Wish) -> Result<Option<String>, PlanError> {
        let mut known = self.store.cluster_by_name(wish.name.as_str()).await?;
        let mut what = "name";
        if let (None, Some(host)) = (&known, &wish.host) {
            (known, what) = (self.store.cluster_by_host(host).await?, "host");
        }
        if let (None, Some(id)) = (&known, &wish.infrastructure) {
            known = self.store.cluster_by_infrastructure(id).await?;
            what = "infrastructure";
        }
        Ok(known.map(|cluster| {
            format!(
                "`{what}`: the inventory has it already: cluster `{0}` at `{1}`, which is {2}; see \
                 `/pangeo status name:{0}`",
                cluster.name,
                cluster.host,
                cluster.phase.as_str()
            )
        }))
    }

    /// From what was found to the plan.
    fn adoption(
        &self,
        command: &Command,
        wish: &Wish,
        found: &Found,
        missed: Vec<String>,
    ) -> Result<Draft, Vec<String>> {
        let failed =
            |what: &dyn std::fmt::Display| vec![format!("the plan can't be shown: {what}")];
        let tree = &found.live.tree;
        let text = yaml::write(tree).map_err(|error| failed(&error))?;
        let text = SecretString::from(text);
        for secret in secrets_in(text.expose_secret()).map_err(|error| failed(&error))? {
            self.vault.redactor().learn(&secret);
        }
        let shown = masked(text.expose_secret()).map_err(|error| failed(&error))?;
        let (adoption, missing) = adoption_of(wish, found, &text);
        let mut difference = difference(&adoption, found);
        let unread = found.unread.iter().cloned().chain(missing).chain(missed);
        difference.extend(unread.map(|line| format!("~ not known: {line}")));
        let content = PlanContent {
            summary: format!(
                "Take the cluster at https://{}/ into the inventory as `{}`, owned by <@{}>; \
                 nothing outside is changed",
                adoption.host, adoption.name, adoption.owner
            ),
            warnings: warnings(wish, found),
            difference,
            estimate: Vec::new(),
        };
        let file = |name: &str, content: String| PlanFile {
            name: name.to_owned(),
            content,
        };
        let files = vec![
            file("found.txt", whole(&content)),
            file("values.yaml", shown),
        ];
        Ok(Draft {
            target: adoption.name.to_string(),
            options: serde_json::to_value(&adoption).map_err(|error| failed(&error))?,
            target_revision: 0,
            steps: command.steps(),
            content,
            files,
        })
    }
}

/// What the operation takes into the inventory, and a line about what too little is known for.
fn adoption_of(wish: &Wish, found: &Found, text: &SecretString) -> (Adoption, Option<String>) {
    let known = Known {
        template: found.template.as_ref(),
        hub: &found.hub,
        chart_version: &found.chart_version,
        credential: found.credential.clone(),
    };
    let (deployed, missing) = match known.deploy_options(&wish.name, &found.host) {
        Ok(deployed) => (Some(deployed), None),
        Err(missing) => (None, Some(missing)),
    };
    let helm_revision = found.live.release.revision;
    let adoption = Adoption {
        name: wish.name.clone(),
        host: found.host.clone(),
        infrastructure: found.im.id.clone(),
        address: found.im.address,
        host_key: found.host_key.to_string(),
        kubernetes_version: found.kubernetes_version.clone(),
        owner: wish.owner,
        purpose: wish.purpose.clone(),
        contact: wish.contact.clone(),
        ends_on: wish.ends_on,
        deployed,
        values: ValuesChange {
            from: 0,
            live: digest_of_tree(&found.live.tree),
            make: Make::Adopt,
            to: digest_of_text(text.expose_secret()),
            chart_version: found.chart_version.clone(),
            // helm does not keep it.
            chart_source: ChartSource::Configured,
            reason: format!("adopted, made by hand: helm revision {helm_revision}"),
        },
    };
    let missing = missing.map(|missing| {
        format!(
            "{}: `scale` and `diagnose` compare with no quota and no flavour",
            missing.join(", ")
        )
    });
    (adoption, missing)
}

/// What the inventory gets, a line each.
fn difference(adoption: &Adoption, found: &Found) -> Vec<String> {
    let (im, release) = (&found.im, &found.live.release);
    let mut lines = vec![
        format!(
            "+ infrastructure {}, configured, {} VMs",
            im.id, im.machines
        ),
        format!(
            "+ front end {}, user {}, key of VM 0 (sealed)",
            im.address, im.user
        ),
        format!("+ host key {}", found.host_key.fingerprint()),
        format!(
            "+ release {}, helm revision {} ({}), as revision 1",
            release.chart,
            release.revision,
            release.status.as_str()
        ),
    ];
    lines.extend(
        found
            .accounts
            .iter()
            .map(|accounts| format!("+ may act on it in IM: {accounts}")),
    );
    lines.extend(adoption.deployed.iter().flat_map(sizes));
    lines.extend(
        adoption
            .kubernetes_version
            .iter()
            .map(|version| format!("+ Kubernetes {version}")),
    );
    let given = [
        ("purpose:", &adoption.purpose),
        ("contact:", &adoption.contact),
        ("needed until", &adoption.ends_on.map(|day| day.to_string())),
    ];
    for (what, value) in given {
        lines.extend(value.iter().map(|value| format!("+ {what} {value}")));
    }
    lines
}

/// Machines, image and login, a line each.
fn sizes(deployed: &DeployOptions) -> [String; 3] {
    let login = match deployed.auth {
        Auth::CheckIn(instance) => format!("EGI Check-in, {instance}"),
        Auth::Native => "names and passwords of the hub's own".to_owned(),
    };
    let (frontend, worker) = (&deployed.frontend, &deployed.worker);
    [
        format!(
            "+ front end of {} CPUs, {}; up to {} workers of {} CPUs, {}",
            frontend.cpus, frontend.memory, deployed.workers_max, worker.cpus, worker.memory
        ),
        format!("+ notebook image {}", deployed.image),
        format!("+ login: {login}"),
    ]
}

fn warnings(wish: &Wish, found: &Found) -> Vec<String> {
    let mut warnings = Vec::new();
    if wish.fingerprint.is_none() {
        warnings.push(
            "whoever shows this host key is trusted from then on: compare it with what \
             `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` says on the front end"
                .to_owned(),
        );
    }
    let status = found.live.release.status;
    if status != ReleaseStatus::Deployed {
        warnings.push(format!(
            "helm's newest revision is `{}`, so its values may not be those that run",
            status.as_str()
        ));
    }
    warnings.extend(found.warnings.iter().cloned());
    warnings.push(
        "from then on operators can change it, and `destroy` can delete it with its approvals"
            .to_owned(),
    );
    if wish.ends_on.is_none() {
        warnings.push("no end date: nobody will be reminded to give the machines back".to_owned());
    }
    warnings
}

/// Everything that the plan says, since a message has room for some lines only.
fn whole(content: &PlanContent) -> String {
    let mut lines = content.difference.clone();
    lines.extend(
        content
            .warnings
            .iter()
            .map(|warning| format!("! {warning}")),
    );
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_infrastructure_is_named_by_its_id_or_its_address_in_im() {
        for text in [
            "0123-abcd",
            " https://im.egi.eu/im/infrastructures/0123-abcd ",
            "https://im.egi.eu/im/infrastructures/0123-abcd/",
        ] {
            assert_eq!(infrastructure(text).unwrap().as_str(), "0123-abcd");
        }
        for text in ["", "a b", "https://im.egi.eu/x?y=0123", "../.."] {
            assert!(infrastructure(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_fingerprint_is_taken_with_and_without_its_digest() {
        assert_eq!(bare_fingerprint("SHA256:abc"), "abc");
        assert_eq!(bare_fingerprint(" abc "), "abc");
    }
}
