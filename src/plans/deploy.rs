//! The plan of `deploy`.

use std::fmt::Display;

use secrecy::ExposeSecret;

use super::{Draft, PlanError, Planner};
use crate::commands::Command;
use crate::commands::deploy::{DeployDefaults, deploy_options};
use crate::commands::value::Options;
use crate::domain::deploy::{Auth, DeployOptions, Method, chart_warning};
use crate::domain::plan::{PlanContent, PlanFile};
use crate::domain::tosca::{Estimate, Template, ToscaSecrets};
use crate::domain::values::{DaskhubValues, callback_url};
use crate::services::checkin::{ClientCheck, read_expiry};
use crate::services::im::{self, Quota, Quotas};
use crate::store::secrets::SecretOwner;
use crate::store::vault::{CLIENT_ID, CLIENT_SECRET, DNS_SECRET};

/// What the plan says about the quota.
struct QuotaLines {
    lines: Vec<String>,
    problems: Vec<String>,
    warnings: Vec<String>,
}

impl Planner {
    pub(super) async fn draft_deploy(
        &self,
        command: &Command,
        options: &Options,
    ) -> Result<Result<Draft, Vec<String>>, PlanError> {
        let defaults = DeployDefaults {
            email: self.settings.email.clone(),
            email_needed: true,
            chart_version: self.settings.chart_version.clone(),
            domains: self.settings.domains.clone(),
            today: self.store.clock().now().date_naive(),
        };
        let is_chosen = options.is_given("chart-version");
        let options = match deploy_options(options, &defaults) {
            Ok(options) => options,
            Err(errors) => return Ok(Err(errors.iter().map(ToString::to_string).collect())),
        };
        let mut problems = self.taken(&options).await?;
        if !self
            .services
            .settings
            .knows_credential(options.credential.as_deref())
        {
            let names = self.services.settings.credential_names().join("`, `");
            problems.push(format!(
                "`credential`: the configuration has no cloud credential of this name; choose one of `{names}`"
            ));
        }
        let template = match self.template(options.method).await {
            Ok(template) => template,
            Err(problem) => {
                problems.push(problem);
                return Ok(Err(problems));
            }
        };
        let refused = template.problems(&options);
        problems.extend(
            refused
                .iter()
                .map(|(option, text)| format!("`{option}`: {text}")),
        );
        problems.extend(self.missing(&options).await?);
        if !problems.is_empty() {
            return Ok(Err(problems));
        }
        // The template's defaults are part of what is approved.
        let options = self.with_fitting_chart(template.settle(options), is_chosen);
        let (quota, warnings) = tokio::join!(
            self.quota(&options, &template),
            self.warnings(command, &options, &template)
        );
        let mut warnings = warnings?;
        if !quota.problems.is_empty() {
            return Ok(Err(quota.problems));
        }
        warnings.extend(quota.warnings);
        let content = PlanContent {
            summary: format!(
                "Create cluster `{}` with its hub at https://{}/",
                options.name, options.host
            ),
            difference: difference(&options, &template),
            estimate: quota.lines,
            warnings,
        };
        let files = self.files(&options, &template);
        Ok(files.map(|files| Draft {
            target: options.name.to_string(),
            options: serde_json::to_value(&options).unwrap_or_default(),
            target_revision: 0,
            steps: steps(command, &options),
            content,
            files,
        }))
    }

    /// Names that are in use.
    async fn taken(&self, options: &DeployOptions) -> Result<Vec<String>, PlanError> {
        let mut problems = Vec::new();
        if let Some(cluster) = self.store.cluster_by_name(options.name.as_str()).await? {
            problems.push(format!(
                "`name`: the cluster `{}` exists and is {}; see `/pangeo status name:{}`",
                cluster.name,
                cluster.phase.as_str(),
                cluster.name
            ));
        }
        if let Some(cluster) = self.store.cluster_by_host(&options.host).await? {
            problems.push(format!(
                "`host`: the cluster `{}` is at `{}`",
                cluster.name, options.host
            ));
        }
        Ok(problems)
    }

    /// The merged template, or why there is none.
    async fn template(&self, method: Method) -> Result<Template, String> {
        self.services
            .templates
            .fetch(method)
            .await
            .map_err(|error| format!("the TOSCA templates can't be used: {error}; try again later"))
    }

    /// What must be there before anybody is asked to approve.
    async fn missing(&self, options: &DeployOptions) -> Result<Vec<String>, PlanError> {
        let host = &options.host;
        let owner = SecretOwner::Host(host.clone());
        let mut problems = Vec::new();
        if self.vault.get(&owner, DNS_SECRET).await?.is_none() {
            problems.push(format!(
                "the update secret of `{host}` is not known: add the host in the Dynamic DNS portal, then run `/pangeo dns set-secret host:{host}`"
            ));
        }
        if let Some(token) = self.services.settings.token.get()
            && read_expiry(&token).is_some_and(|at| at <= self.store.clock().now())
        {
            problems.push(
                "the bot's access token for IM has expired: whoever runs the bot must renew it, \
                 then ask again"
                    .to_owned(),
            );
            // IM would say the same.
            return Ok(problems);
        }
        match self.services.im.list().await {
            Ok(_) => {}
            Err(error) => problems.push(format!("IM can't be used: {error}")),
        }
        Ok(problems)
    }

    /// IM's estimate beside the site's quota.
    async fn quota(&self, options: &DeployOptions, template: &Template) -> QuotaLines {
        let mut said = QuotaLines {
            lines: Vec::new(),
            problems: Vec::new(),
            warnings: Vec::new(),
        };
        let most = template.estimate(options);
        let settings = &self.services.settings;
        let image = settings.image_for(options);
        let document = template.fill(options, image.as_deref(), &ToscaSecrets::placeholders());
        match document {
            Ok(document) => match self
                .services
                .im
                .estimate(&im::Template::tosca(document))
                .await
            {
                Ok(estimate) => said
                    .lines
                    .extend(estimate.0.iter().map(|(cloud, estimate)| {
                        let first = estimate.totals();
                        format!(
                            "at the start ({cloud}): {} VMs, {} cores, {:.0} GB",
                            first.instances, first.cores, first.memory_gb
                        )
                    })),
                Err(error) => said.lines.push(format!("IM gave no estimate: {error}")),
            },
            Err(error) => said
                .problems
                .push(format!("the TOSCA document can't be made: {error}")),
        }
        said.lines.push(format!(
            "at its largest: {} VMs, {} cores, {} GB memory, {} GB disk",
            most.instances, most.cores, most.memory_gb, most.disk_gb
        ));
        let Some(credential) = settings.credential_for(options) else {
            return said;
        };
        match self.services.im.quotas(&credential).await {
            Ok(quotas) => compare(&mut said, &quotas, most, options),
            Err(error) => said
                .lines
                .push(format!("the site's quota is not known: {error}")),
        }
        said
    }

    async fn warnings(
        &self,
        command: &Command,
        options: &DeployOptions,
        template: &Template,
    ) -> Result<Vec<String>, PlanError> {
        // Of a chart that is not known nothing more is known either.
        let unknown = self.unknown_chart(options);
        let kubernetes = template.kubernetes_version(options);
        let kubernetes = kubernetes.filter(|_version| unknown.is_none());
        let mut warnings = options.warnings(kubernetes.as_deref());
        warnings.extend(unknown);
        warnings.extend(self.client_warning(options).await?);
        match self.services.dns.resolve(&options.host).await {
            Ok(found) if found.is_empty() => warnings.push(format!(
                "`{}` does not resolve yet; the deploy points it to the front end",
                options.host
            )),
            Ok(found) => warnings.push(format!(
                "`{}` points to {} now and will be pointed to the new front end",
                options.host,
                found
                    .iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>()
                    .join(", ")
            )),
            Err(error) => warnings.push(format!("`{}` can't be looked up: {error}", options.host)),
        }
        if let (Some(token), Some(operation)) = (
            self.services.settings.token.get(),
            command.operation.as_ref(),
        ) {
            let end = self.store.clock().now() + operation.time_limit;
            if let Some(at) = read_expiry(&token)
                && at < end
            {
                warnings.push(format!(
                    "the bot's access token ends <t:{}:R>, before this operation has to end",
                    at.timestamp()
                ));
            }
        }
        Ok(warnings)
    }

    /// The options with a chart that fits their Kubernetes, unless somebody chose one.
    fn with_fitting_chart(&self, options: DeployOptions, is_chosen: bool) -> DeployOptions {
        let kubernetes = match (&options.kubernetes_version, options.method) {
            (Some(version), Method::Helm) if !is_chosen => version,
            (Some(_) | None, Method::Helm | Method::Tosca) => return options,
        };
        let settings = &self.settings;
        let chart_version =
            fitting_chart(&settings.chart_version, &settings.known_charts, kubernetes);
        DeployOptions {
            chart_version: chart_version.to_owned(),
            ..options
        }
    }

    /// A version of the chart that may not exist: that would show only when the machines run.
    fn unknown_chart(&self, options: &DeployOptions) -> Option<String> {
        let version = &options.chart_version;
        let settings = &self.settings;
        let is_known =
            *version == settings.chart_version || settings.known_charts.contains(version);
        (options.method == Method::Helm && !is_known).then(|| {
            format!(
                "the bot does not know chart {version}: if the chart repository has none of that \
                 version, the deploy stops when the machines are made already"
            )
        })
    }

    /// What Check-in thinks of the client, if a client is needed.
    async fn client_warning(&self, options: &DeployOptions) -> Result<Option<String>, PlanError> {
        let Auth::CheckIn(instance) = options.auth else {
            return Ok(None);
        };
        let host = &options.host;
        let owner = SecretOwner::Host(host.clone());
        let id = self.vault.get(&owner, CLIENT_ID).await?;
        let secret = self.vault.get(&owner, CLIENT_SECRET).await?;
        let (Some(id), Some(_)) = (id, secret) else {
            return Ok(Some(format!(
                "the Check-in client of `{host}` is missing: the operation will stop until it is given with `/pangeo checkin set-client host:{host}`"
            )));
        };
        let issuer = self.services.issuer(instance);
        let redirect = callback_url(host);
        let check = self
            .services
            .checkin
            .check_client(issuer, id.expose_secret(), &redirect)
            .await;
        Ok(match check {
            Ok(ClientCheck::Known) => None,
            Ok(ClientCheck::UnknownClient) => {
                Some(format!("{issuer} does not know the client of `{host}`"))
            }
            Ok(ClientCheck::RedirectRefused) => Some(format!(
                "{issuer} refuses the redirect URI {redirect} for this client"
            )),
            Ok(ClientCheck::Unclear(said)) => Some(format!(
                "{issuer} neither knows nor refuses the client: {said}"
            )),
            Err(error) => Some(format!("the Check-in client could not be checked: {error}")),
        })
    }

    /// What would be sent, secrets masked.
    fn files(
        &self,
        options: &DeployOptions,
        template: &Template,
    ) -> Result<Vec<PlanFile>, Vec<String>> {
        let settings = &self.services.settings;
        let failed =
            |error: &dyn Display| vec![format!("what would be sent can't be made: {error}")];
        let image = settings.image_for(options);
        let tosca = template
            .fill_masked(options, image.as_deref())
            .map_err(|e| failed(&e))?;
        let mut files = vec![PlanFile {
            name: "tosca.yaml".to_owned(),
            content: tosca,
        }];
        if options.method == Method::Helm {
            let issuer = settings.issuers.for_login(options.auth);
            let values = DaskhubValues::howto(options, issuer, &settings.vo);
            let content = values.masked().map_err(|e| failed(&e))?;
            files.push(PlanFile {
                name: "values.yaml".to_owned(),
                content,
            });
        }
        Ok(files)
    }
}

/// The steps of the command file; TOSCA installs the chart itself.
fn steps(command: &Command, options: &DeployOptions) -> Vec<String> {
    let by_helm = ["render-values", "install-daskhub"];
    let all = command
        .operation
        .iter()
        .flat_map(|operation| operation.steps.iter().cloned());
    match options.method {
        Method::Helm => all.collect(),
        Method::Tosca => all
            .filter(|step| !by_helm.contains(&step.as_str()))
            .collect(),
    }
}

fn difference(options: &DeployOptions, template: &Template) -> Vec<String> {
    let login = match options.auth {
        Auth::CheckIn(instance) => format!("EGI Check-in, {instance}"),
        Auth::Native => "names and passwords of the hub's own".to_owned(),
    };
    let kubernetes = template
        .kubernetes_version(options)
        .unwrap_or_else(|| "default".to_owned());
    let mut lines = vec![
        format!(
            "+ front end: {} CPUs, {}",
            options.frontend.cpus, options.frontend.memory
        ),
        format!(
            "+ workers: up to {} of {} CPUs, {}; {} kept free",
            options.workers_max,
            options.worker.cpus,
            options.worker.memory,
            options.workers_min_free
        ),
        match options.method {
            Method::Helm => format!(
                "+ Kubernetes {kubernetes}, DaskHub chart {}",
                options.chart_version
            ),
            Method::Tosca => {
                format!("+ Kubernetes {kubernetes}, the DaskHub chart that the template chooses")
            }
        },
        format!("+ notebook image {}", options.image),
        format!("+ login: {login}"),
        format!("+ DNS: {} → the front end", options.host),
        "+ Grafana at /grafana/, certificate by Let's Encrypt".to_owned(),
    ];
    lines.extend(
        options
            .purpose
            .iter()
            .map(|purpose| format!("+ purpose: {purpose}")),
    );
    lines.extend(
        options
            .contact
            .iter()
            .map(|contact| format!("+ contact: {contact}")),
    );
    lines.extend(
        options
            .ends_on
            .iter()
            .map(|day| format!("+ needed until {day}")),
    );
    lines
}

/// What is left of the quota, and whether it suffices at the start and at the largest size.
fn compare(said: &mut QuotaLines, quotas: &Quotas, most: Estimate, options: &DeployOptions) {
    #[expect(clippy::cast_precision_loss, reason = "quotas are small numbers")]
    let most_of = |number: u64| number as f64;
    let (cores, memory) = (
        f64::from(options.frontend.cpus + options.worker.cpus),
        most_of(options.frontend.memory.gigabytes() + options.worker.memory.gigabytes()),
    );
    let rows: [(&str, &str, Option<Quota>, f64, f64); 3] = [
        ("cores", "", quotas.cores, cores, most_of(most.cores)),
        ("memory", " GB", quotas.ram, memory, most_of(most.memory_gb)),
        ("VMs", "", quotas.instances, 2.0, most_of(most.instances)),
    ];
    for (what, unit, quota, first, largest) in rows {
        let Some(left) = quota.and_then(Quota::left) else {
            continue;
        };
        said.lines.push(format!(
            "{what}: {largest:.0}{unit} at its largest, {left:.0}{unit} left"
        ));
        if first > left {
            said.problems.push(format!(
                "the site has {left:.0}{unit} of {what} left, but the front end and one worker need {first:.0}{unit}; choose smaller ones, another site, or ask it for more"
            ));
        } else if largest > left {
            said.warnings.push(format!(
                "the site has {left:.0}{unit} of {what} left: the cluster can't grow to {} workers",
                options.workers_max
            ));
        }
    }
}

/// The chart to take on a version of Kubernetes when nobody chose one: the configured one, or, where
/// that one is known not to fit, the last of the known ones that does.
fn fitting_chart<'a>(configured: &'a str, known: &'a [String], kubernetes: &str) -> &'a str {
    let fits = |chart: &str| chart_warning(chart, kubernetes).is_none();
    if fits(configured) {
        return configured;
    }
    let fitting = known.iter().rev().find(|chart| fits(chart));
    fitting.map_or(configured, String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_howtos_chart_gives_way_only_where_it_does_not_fit() {
        let known = ["2022.8.2", "2023.1.0", "2024.1.0", "2024.1.1"].map(str::to_owned);
        // The howto's own pair.
        assert_eq!(fitting_chart("2022.8.2", &known, "1.23.11"), "2022.8.2");
        assert_eq!(fitting_chart("2022.8.2", &known, "1.35.3"), "2024.1.1");
        assert_eq!(fitting_chart("2024.1.1", &known, "1.23.11"), "2023.1.0");
        assert_eq!(fitting_chart("2022.8.2", &[], "1.35.3"), "2022.8.2");
    }
}
