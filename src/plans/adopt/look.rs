//! What is read of a cluster that was made by hand: in IM, in DNS and on its front end.
//!
//! **Invariant:** nothing outside is changed; the front end is asked by commands that only read.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use secrecy::SecretString;

use super::super::{PlanError, Planner};
use super::{Wish, bare_fingerprint};
use crate::domain::adoption::{HubFacts, site_of_image};
use crate::domain::deploy::CheckinInstance;
use crate::domain::names::{HostName, InfrastructureId};
use crate::domain::owners::{shown, shown_all};
use crate::domain::tosca::{Described, Stored};
use crate::services::checkin::read_expiry;
use crate::services::clues::Clues;
use crate::services::ec3::Ec3;
use crate::services::frontend::{Frontend, FrontendAccess, FrontendError, HostKey};
use crate::services::helm::{Helm, LiveValues};
use crate::services::hub::HubTarget;
use crate::services::im::{ImError, VmState};
use crate::services::kubernetes::Kubernetes;
use crate::store::secrets::SecretOwner;
use crate::store::vault::DNS_SECRET;

/// How long all looks together may take.
const LOOK_LIMIT: Duration = Duration::from_mins(2);

/// How many infrastructures are looked at together.
const AT_ONCE: usize = 8;

/// What IM has of it.
pub(super) struct InIm {
    pub(super) id: InfrastructureId,
    pub(super) machines: usize,
    pub(super) address: IpAddr,
    pub(super) user: String,
    key: SecretString,
}

/// Everything that was found.
pub(super) struct Found {
    pub(super) im: InIm,
    pub(super) host: HostName,
    pub(super) host_key: HostKey,
    pub(super) live: LiveValues,
    pub(super) chart_version: String,
    pub(super) hub: HubFacts,
    pub(super) template: Option<Described>,
    /// Our name of its cloud.
    pub(super) credential: Option<String>,
    pub(super) kubernetes_version: Option<String>,
    /// Who may act on it in IM.
    pub(super) accounts: Option<String>,
    /// What could not be read, a line each, with what that means for later commands.
    pub(super) unread: Vec<String>,
    pub(super) warnings: Vec<String>,
}

/// What several looks say.
#[derive(Default)]
struct Said {
    unread: Vec<String>,
    warnings: Vec<String>,
}

impl Planner {
    /// Looks at everything; one sentence if it can't be adopted.
    pub(super) async fn look_for(&self, wish: &Wish) -> Result<Found, String> {
        let looks = tokio::time::timeout(LOOK_LIMIT, self.look(wish));
        looks.await.unwrap_or_else(|_elapsed| {
            Err("IM and the front end did not answer in time; try again".to_owned())
        })
    }

    async fn look(&self, wish: &Wish) -> Result<Found, String> {
        let id = self.meant(wish).await?;
        let im = self.in_im(id).await?;
        let (host_key, frontend) = self.logs_in(wish, &im).await?;
        let live = self.release(&frontend).await?;
        let mut said = Said::default();
        let template = self.template_of(&im.id, &mut said).await;
        let issuers = &self.services.settings.issuers;
        let issuers = [
            CheckinInstance::Production,
            CheckinInstance::Demo,
            CheckinInstance::Development,
        ]
        .map(|instance| (instance, issuers.of(instance)));
        let hub = HubFacts::read(&live.tree, &issuers);
        let by_template = template.as_ref().and_then(|t| t.host.clone());
        let host = wish.host.clone().or_else(|| hub.host.clone());
        let host = host
            .or(by_template)
            .ok_or("neither the values nor the template tell its DNS name: give `host`, too")?;
        let (accounts, kubernetes_version, names) = tokio::join!(
            self.services.owners(&im.id),
            kubernetes_version(&frontend),
            self.look_at_host(&host, &im),
        );
        said.unread.extend(names.unread);
        said.warnings.extend(names.warnings);
        let accounts = said.keep(
            accounts.map_err(|error| error.for_people()),
            "who may act on it in IM",
            "`owners show` asks again",
        );
        let kubernetes_version = said.keep(
            kubernetes_version,
            "the version of Kubernetes",
            "`status` and `diagnose` may see neither nodes nor pods",
        );
        self.look_at_elasticity(&frontend, &mut said).await;
        let chart_version = self.chart_version(&live, &mut said);
        let credential = self.cloud_of(template.as_ref(), &mut said);
        Ok(Found {
            im,
            host,
            host_key,
            live,
            chart_version,
            hub,
            template,
            credential,
            kubernetes_version,
            accounts: accounts.map(|accounts| shown_all(&accounts)),
            unread: said.unread,
            warnings: said.warnings,
        })
    }

    /// The infrastructure that is meant: by its id, or by the address to which the host points.
    async fn meant(&self, wish: &Wish) -> Result<InfrastructureId, String> {
        let host = match (&wish.infrastructure, &wish.host) {
            (Some(id), _) => return Ok(id.clone()),
            (None, Some(host)) => host,
            (None, None) => return Err("give `host` or `infrastructure`".to_owned()),
        };
        let by_id = "or give `infrastructure`, its id in IM";
        let addresses = self.services.dns.resolve(host).await;
        let addresses =
            addresses.map_err(|error| format!("`host`: `{host}` can't be looked up: {error}"))?;
        if addresses.is_empty() {
            return Err(format!(
                "`host`: `{host}` points nowhere; correct the name, {by_id}"
            ));
        }
        let im = &self.services.im;
        let cannot = |error: ImError| format!("IM can't be asked: {error}");
        let ids = im.list().await.map_err(cannot)?;
        let frontends: Vec<(InfrastructureId, Option<IpAddr>)> = futures::stream::iter(ids)
            .map(|id| async move {
                match im.vm(&id, 0).await {
                    Ok(vm) => Ok((id, vm.public_address())),
                    Err(error) if error.is_transient() || error.needs_token() => Err(error),
                    // One without a front end, or one that is going away.
                    Err(_other) => Ok((id, None)),
                }
            })
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await
            .map_err(cannot)?;
        let is_there = |address: &IpAddr| addresses.contains(address);
        let mut here = frontends
            .into_iter()
            .filter(|(_id, address)| address.as_ref().is_some_and(is_there))
            .map(|(id, _address)| id);
        match (here.next(), here.next()) {
            (Some(id), None) => Ok(id),
            (Some(_), Some(_)) => Err(format!(
                "`host`: several infrastructures have their front end at `{host}`; give `infrastructure`, too"
            )),
            (None, _) => Err(format!(
                "`host`: of the infrastructures that {} may use in IM none has its front end at `{host}`; \
                 its owner may have to let that account act first, {by_id}",
                self.own_name().await
            )),
        }
    }

    /// The bot's own account, as people read it.
    async fn own_name(&self) -> String {
        match self.services.own_account().await {
            Ok(account) => format!("the bot's account `{}`", shown(&account)),
            Err(_unknown) => "the bot's account".to_owned(),
        }
    }

    async fn in_im(&self, id: InfrastructureId) -> Result<InIm, String> {
        let im = &self.services.im;
        let looked = async {
            let state = im.state(&id).await?;
            Ok((state, im.vm(&id, 0).await?))
        };
        let (state, vm) = match looked.await {
            Ok(looked) => looked,
            Err(ImError::NotFound { .. }) => {
                return Err(format!(
                    "IM knows no infrastructure `{id}`, or not any more"
                ));
            }
            Err(ImError::NotOurs { .. }) => {
                return Err(format!(
                    "infrastructure `{id}` belongs to somebody else in IM: its owner must let {} act \
                     on it, in IM's dashboard and with a token of that account; nothing here can",
                    self.own_name().await
                ));
            }
            Err(error) => return Err(format!("IM can't be asked about `{id}`: {error}")),
        };
        if state.state != VmState::Configured {
            return Err(format!(
                "IM says `{}` of infrastructure `{id}`; only a `configured` one is adopted: wait, or \
                 reconfigure it in IM's dashboard",
                state.state
            ));
        }
        let address = vm.public_address().ok_or_else(|| {
            format!("VM 0 of infrastructure `{id}` has no public address: it is no front end")
        })?;
        let key = vm.private_key.ok_or_else(|| {
            format!(
                "IM has no key for the front end of `{id}`, so that the bot could never log in to it"
            )
        })?;
        self.vault.redactor().learn(&key);
        Ok(InIm {
            machines: state.vm_states.len(),
            address,
            user: vm
                .user
                .unwrap_or_else(|| self.services.settings.ssh_user.clone()),
            key,
            id,
        })
    }

    /// A connection to the front end, and the host key that it shows.
    async fn logs_in(&self, wish: &Wish, im: &InIm) -> Result<(HostKey, Arc<Frontend>), String> {
        let frontends = &self.services.frontends;
        let port = self.services.settings.ssh_port;
        let cannot = |error: FrontendError| format!("{error}; {}", error.hint());
        let scanned = frontends.scan_host_key(im.address, port).await;
        let host_key = scanned.map_err(cannot)?;
        let shown = host_key.fingerprint();
        if let Some(wanted) = &wish.fingerprint
            && wanted != bare_fingerprint(&shown)
        {
            return Err(format!(
                "`fingerprint`: the front end at {} shows `{shown}`; find out whether that machine is \
                 the right one",
                im.address
            ));
        }
        let access = FrontendAccess {
            address: im.address,
            port,
            user: im.user.clone(),
            private_key: im.key.clone(),
            host_key: host_key.clone(),
        };
        let opened = frontends.connect(&access).await.map_err(cannot)?;
        Ok((host_key, Arc::new(opened)))
    }

    async fn release(&self, frontend: &Frontend) -> Result<LiveValues, String> {
        let settings = &self.services.settings.helm;
        let read = Helm::new(frontend, settings).values().await;
        let live = read.map_err(|error| format!("the release can't be read: {error}"))?;
        live.filter(|live| live.tree.is_object()).ok_or_else(|| {
            format!(
                "helm on the front end has no release `{}` with values in the namespace `{}`: install \
                 DaskHub after step 4 of the howto, then adopt it",
                settings.release, settings.namespace
            )
        })
    }

    /// What IM's template says, as far as it can be read.
    async fn template_of(&self, id: &InfrastructureId, said: &mut Said) -> Option<Described> {
        const WHAT: &str = "the template in IM";
        const MEANS: &str = "`scale` can't change its numbers of workers";
        let text = match self.services.im.tosca(id).await {
            Ok(Some(text)) => text,
            Ok(None) => {
                said.unread
                    .push(format!("{WHAT}: it was made without TOSCA; {MEANS}"));
                return None;
            }
            Err(error) => {
                said.unread.push(format!("{WHAT}: {error}; {MEANS}"));
                return None;
            }
        };
        if let Err(error) = Stored::read(&text) {
            said.unread.push(format!("elasticity: {error}; {MEANS}"));
        }
        let described = Described::read(&text).map_err(|error| error.to_string());
        said.keep(described, WHAT, MEANS)
    }

    /// CLUES and its token.
    async fn look_at_elasticity(&self, frontend: &Arc<Frontend>, said: &mut Said) {
        let clues = Clues::on(frontend.clone());
        let nodes = clues.status().await.map_err(|error| error.to_string());
        let means = "`nodes`, `scale` and `flavor` have nothing to work on";
        said.keep(nodes, "CLUES", means);
        let auth = Ec3::of(frontend).auth().await;
        let auth = auth.map_err(|error| error.to_string());
        let means = "`token status` and `token renew` have nothing to work on";
        let Some(auth) = said.keep(auth, "the token of CLUES", means) else {
            return;
        };
        let now = self.store.clock().now();
        if read_expiry(&auth.token()).is_none_or(|at| at <= now) {
            said.warnings.push(
                "the token of CLUES has ended: no node is added until `token renew`".to_owned(),
            );
        }
    }

    /// Where the name points, and whether the hub answers.
    async fn look_at_host(&self, host: &HostName, im: &InIm) -> Said {
        let mut said = Said::default();
        let settings = &self.services.settings;
        match self.services.dns.resolve(host).await {
            Ok(found) if found.contains(&im.address) => {}
            Ok(_elsewhere) => said.warnings.push(format!(
                "`{host}` does not point to the front end {}",
                im.address
            )),
            Err(error) => said
                .warnings
                .push(format!("`{host}` can't be looked up: {error}")),
        }
        let target = HubTarget {
            scheme: settings.hub_scheme.clone(),
            host: host.clone(),
            port: settings.hub_port,
            address: im.address,
        };
        if let Err(error) = self.services.hubs.check(&target).await {
            said.warnings.push(format!("the hub is not well: {error}"));
        }
        said
    }

    /// Secrets that the bot has not and that some command will want.
    pub(super) async fn missed_secrets(&self, found: &Found) -> Result<Vec<String>, PlanError> {
        let host = &found.host;
        if host.problem_below(&self.settings.domains).is_some() {
            return Ok(vec![format!(
                "the DNS of {host}, which is none of ours; `destroy` leaves the name"
            )]);
        }
        let owner = SecretOwner::Host(host.clone());
        let secret = self.vault.get(&owner, DNS_SECRET).await?;
        let missed = secret.is_none().then(|| {
            format!("the DNS secret of {host}; `destroy` leaves the name until `dns set-secret`")
        });
        Ok(missed.into_iter().collect())
    }

    /// The version of the chart; a chart that is not known to be ours is said.
    fn chart_version(&self, live: &LiveValues, said: &mut Said) -> String {
        let helm = &self.services.settings.helm;
        let (ours, known) = (&helm.chart, &self.settings.known_charts);
        if let Some(version) = live.release.version_of(ours) {
            if !known.iter().any(|one| one == version) && version != self.settings.chart_version {
                said.warnings.push(format!(
                    "the bot does not know chart {version}, and helm does not keep where it came from: unless that is {}, say it with `/pangeo values chart` before any other change of values",
                    helm.repository
                ));
            }
            return version.to_owned();
        }
        let chart = &live.release.chart;
        said.warnings.push(format!(
            "the release is of the chart `{chart}`: every change of values would install `{ours}` over it"
        ));
        let version = chart.rsplit_once('-').map(|(_name, version)| version);
        version.unwrap_or_default().to_owned()
    }

    /// Our name of the cloud that the machines are in.
    fn cloud_of(&self, template: Option<&Described>, said: &mut Said) -> Option<String> {
        let clouds = &self.services.settings.clouds;
        let image = template.and_then(|template| template.image.as_deref());
        let site = image.and_then(site_of_image);
        let is_there = |image: &String| site.is_some() && site_of_image(image) == site;
        let mut there = clouds
            .iter()
            .filter(|cloud| cloud.image.as_ref().is_some_and(is_there));
        if let Some(cloud) = there.next() {
            return Some(cloud.name.clone());
        }
        if let Some(first) = clouds.first() {
            said.unread.push(format!(
                "its cloud; quotas are those of `{}`, the first of the configuration",
                first.name
            ));
        }
        None
    }
}

impl Said {
    /// What was read, or a line about what was not.
    fn keep<T>(&mut self, read: Result<T, String>, what: &str, means: &str) -> Option<T> {
        match read {
            Ok(read) => Some(read),
            Err(why) => {
                self.unread.push(format!("{what}: {why}; {means}"));
                None
            }
        }
    }
}

/// The version that runs, without its `v`.
async fn kubernetes_version(frontend: &Arc<Frontend>) -> Result<String, String> {
    let asked = async {
        let kubernetes = Kubernetes::connect(frontend.clone()).await?;
        kubernetes.version().await
    };
    match asked.await {
        Ok(version) => Ok(version.trim_start_matches('v').to_owned()),
        Err(error) => Err(error.to_string()),
    }
}
