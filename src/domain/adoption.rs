//! The adoption of a cluster that was made by hand: what its hub says about itself, and what an
//! approved adoption takes into the inventory.

use std::net::IpAddr;

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

use crate::domain::deploy::{Auth, CheckinInstance, DeployOptions, NotebookImage};
use crate::domain::ids::DiscordUserId;
use crate::domain::names::{ClusterName, HostName, InfrastructureId};
use crate::domain::tosca::Described;
use crate::domain::values::change::ValuesChange;

/// An approved adoption, as its plan keeps it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Adoption {
    /// The name that the cluster gets.
    pub name: ClusterName,
    /// The DNS name of its hub.
    pub host: HostName,
    /// IM's id.
    pub infrastructure: InfrastructureId,
    /// The front end's public address.
    pub address: IpAddr,
    /// The front end's host key that the plan showed, as a line of `known_hosts` without the host.
    pub host_key: String,
    /// The version of Kubernetes that runs.
    pub kubernetes_version: Option<String>,
    /// Who is responsible for it.
    pub owner: DiscordUserId,
    /// What it is for.
    pub purpose: Option<String>,
    /// Whom to ask.
    pub contact: Option<String>,
    /// The last day it is needed.
    pub ends_on: Option<NaiveDate>,
    /// The options with which the bot would have deployed it; `None` if too little is known.
    pub deployed: Option<DeployOptions>,
    /// What helm has, which becomes revision 1.
    #[serde(flatten)]
    pub values: ValuesChange,
}

/// What the values of a hub say about it; no secrets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HubFacts {
    /// Its DNS name.
    pub host: Option<HostName>,
    /// How people log in.
    pub auth: Option<Auth>,
    /// The image of notebooks.
    pub image: Option<NotebookImage>,
}

impl HubFacts {
    /// Reads the values that helm has, with the issuer of each instance of Check-in.
    pub fn read(values: &Value, issuers: &[(CheckinInstance, &Url)]) -> Self {
        let text = |pointer: &str| {
            let value = values.pointer(pointer)?;
            let text = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            (!value.is_null() && !text.is_empty()).then_some(text)
        };
        let host = text("/jupyterhub/ingress/hosts/0");
        let name = text("/jupyterhub/singleuser/image/name");
        let tag = text("/jupyterhub/singleuser/image/tag");
        Self {
            host: host.and_then(|host| HostName::parse(&host).ok()),
            auth: auth(&text, issuers),
            image: name.zip(tag).map(|(name, tag)| NotebookImage { name, tag }),
        }
    }
}

/// How people log in, if it is one of the howto's two ways.
fn auth(
    text: &impl Fn(&str) -> Option<String>,
    issuers: &[(CheckinInstance, &Url)],
) -> Option<Auth> {
    let class = text("/jupyterhub/hub/config/JupyterHub/authenticator_class")?;
    if class.to_lowercase().contains("native") {
        return Some(Auth::Native);
    }
    let url = text("/jupyterhub/hub/config/GenericOAuthenticator/authorize_url")?;
    let is_of = |issuer: &Url| {
        let issuer = issuer.as_str().trim_end_matches('/');
        let rest = url.strip_prefix(issuer);
        rest.is_some_and(|rest| rest.starts_with('/'))
    };
    let of = issuers.iter().find(|(_instance, issuer)| is_of(issuer));
    of.map(|(instance, _issuer)| Auth::CheckIn(*instance))
}

/// What is known of a cluster from all sides.
#[derive(Clone, Debug)]
pub struct Known<'a> {
    /// Its template.
    pub template: Option<&'a Described>,
    /// Its hub.
    pub hub: &'a HubFacts,
    /// The version of the chart that runs.
    pub chart_version: &'a str,
    /// Our name of its cloud.
    pub credential: Option<String>,
}

impl Known<'_> {
    /// The options with which the bot would have deployed it.
    ///
    /// # Errors
    /// What is not known of it, in words for people.
    pub fn deploy_options(
        &self,
        name: &ClusterName,
        host: &HostName,
    ) -> Result<DeployOptions, Vec<&'static str>> {
        let template = self.template;
        let frontend = template.and_then(|template| template.frontend.clone());
        let worker = template.and_then(|template| template.worker.clone());
        let counts = template.and_then(|template| template.counts);
        let (auth, image) = (self.hub.auth, self.hub.image.clone());
        let missing: Vec<&'static str> = [
            ("the size of the front end", frontend.is_none()),
            ("the size of a worker node", worker.is_none()),
            ("how many workers there may be", counts.is_none()),
            ("the kind of login", auth.is_none()),
            ("the notebook image", image.is_none()),
        ]
        .into_iter()
        .filter_map(|(what, is_missing)| is_missing.then_some(what))
        .collect();
        let (Some(template), Some(frontend), Some(worker), Some(counts), Some(auth), Some(image)) =
            (template, frontend, worker, counts, auth, image)
        else {
            return Err(missing);
        };
        Ok(DeployOptions {
            name: name.clone(),
            host: host.clone(),
            auth,
            email: template.email.clone(),
            workers_max: counts.max,
            workers_min_free: counts.min_free,
            worker,
            frontend,
            image,
            chart_version: self.chart_version.to_owned(),
            kubernetes_version: template.kubernetes_version.clone(),
            credential: self.credential.clone(),
            site_image: template.image.clone(),
            method: template.method,
            purpose: None,
            contact: None,
            ends_on: None,
            template: None,
        })
    }
}

/// The site in the name that IM gives to an image: `site` in `ost://site/ubuntu-jammy`.
pub fn site_of_image(image: &str) -> Option<&str> {
    let (_scheme, rest) = image.split_once("://")?;
    let site = rest.split('/').next()?;
    (!site.is_empty()).then_some(site)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::chart::ChartSource;
    use crate::domain::clues::change::Counts;
    use crate::domain::deploy::{Method, tests::options};
    use crate::domain::values::change::Make;
    use crate::domain::yaml;

    fn facts(values: &str) -> HubFacts {
        let url = |text| Url::parse(text).unwrap();
        let (production, development) = (
            url("https://aai.egi.eu/auth/realms/egi"),
            url("https://aai-dev.egi.eu/auth/realms/egi/"),
        );
        let issuers = [
            (CheckinInstance::Production, &production),
            (CheckinInstance::Development, &development),
        ];
        HubFacts::read(&yaml::read(values).unwrap(), &issuers)
    }

    #[test]
    fn the_howtos_two_files_tell_host_login_and_image() {
        let check_in = facts(include_str!("values/expected/check-in.yaml"));
        let host = HostName::parse("pangeo.vm.fedcloud.eu").unwrap();
        let expected = HubFacts {
            host: Some(host.clone()),
            auth: Some(Auth::CheckIn(CheckinInstance::Development)),
            image: Some(NotebookImage {
                name: "pangeo/pangeo-notebook".to_owned(),
                tag: "2022.09.21".to_owned(),
            }),
        };
        assert_eq!(check_in, expected);
        let native = facts(include_str!("values/expected/native.yaml"));
        assert_eq!((native.host, native.auth), (Some(host), Some(Auth::Native)));
    }

    #[test]
    fn another_login_or_host_is_not_known() {
        let other = "jupyterhub: {hub: {config: {JupyterHub: {authenticator_class: generic-oauth},
            GenericOAuthenticator: {authorize_url: 'https://aai.egi.eu/auth/realms/egi.evil/x'}}},
            ingress: {hosts: ['not a host']}, singleuser: {image: {name: a/b}}}";
        assert_eq!(facts(other), HubFacts::default());
        assert_eq!(facts("{}"), HubFacts::default());
    }

    #[test]
    fn all_that_is_known_makes_the_options_of_a_deployment() {
        let mut deployed = options();
        (deployed.purpose, deployed.contact, deployed.ends_on) = (None, None, None);
        deployed.credential = Some("cesnet".to_owned());
        deployed.site_image = Some("ost://site/ubuntu-jammy".to_owned());
        let template = Described {
            frontend: Some(deployed.frontend.clone()),
            worker: Some(deployed.worker.clone()),
            counts: Some(Counts {
                max: deployed.workers_max,
                min_free: deployed.workers_min_free,
            }),
            kubernetes_version: deployed.kubernetes_version.clone(),
            email: deployed.email.clone(),
            host: None,
            image: deployed.site_image.clone(),
            method: Method::Helm,
        };
        let hub = HubFacts {
            host: None,
            auth: Some(deployed.auth),
            image: Some(deployed.image.clone()),
        };
        let known = |template, hub| {
            let known = Known {
                template,
                hub,
                chart_version: "2024.1.1",
                credential: Some("cesnet".to_owned()),
            };
            known.deploy_options(&deployed.name, &deployed.host)
        };
        assert_eq!(known(Some(&template), &hub), Ok(deployed.clone()));
        let unknown = HubFacts::default();
        let missing = known(Some(&template), &unknown).unwrap_err();
        assert_eq!(missing, ["the kind of login", "the notebook image"]);
        assert_eq!(known(None, &hub).unwrap_err().len(), 3);
    }

    #[test]
    fn a_stored_adoption_is_read_again_and_is_a_change_of_values_as_well() {
        let adoption = Adoption {
            name: ClusterName::parse("geo").unwrap(),
            host: HostName::parse("geo.vm.fedcloud.eu").unwrap(),
            infrastructure: InfrastructureId::parse("0123-abcd").unwrap(),
            address: IpAddr::from([192, 0, 2, 7]),
            host_key: "ssh-ed25519 AAAA".to_owned(),
            kubernetes_version: None,
            owner: DiscordUserId(7),
            purpose: Some("Course".to_owned()),
            contact: None,
            ends_on: NaiveDate::from_ymd_opt(2026, 12, 31),
            deployed: Some(options()),
            values: ValuesChange {
                from: 0,
                live: "a".to_owned(),
                make: Make::Adopt,
                to: "b".to_owned(),
                chart_version: "2024.1.1".to_owned(),
                chart_source: ChartSource::Configured,
                reason: "adopted".to_owned(),
            },
        };
        let stored = serde_json::to_value(&adoption).unwrap();
        let read = serde_json::from_value::<Adoption>(stored.clone());
        assert_eq!(read.unwrap(), adoption);
        let change: ValuesChange = serde_json::from_value(stored).unwrap();
        assert_eq!(change, adoption.values);
    }

    #[test]
    fn the_site_stands_in_the_name_of_an_image() {
        assert_eq!(site_of_image("ost://site.eu/abc"), Some("site.eu"));
        assert_eq!(site_of_image("ubuntu-jammy"), None);
        assert_eq!(site_of_image("ost:///abc"), None);
    }
}
