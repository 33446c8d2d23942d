//! What the pretend cloud does when Infrastructure Manager asks it for machines.

use std::net::IpAddr;

use futures::future::BoxFuture;

/// The front end that Infrastructure Manager wants.
#[derive(Clone, Debug)]
pub struct MachineRequest {
    /// IM's id of the infrastructure.
    pub infrastructure: String,
    /// The values of the TOSCA inputs, by name, with the template's defaults filled in.
    pub inputs: serde_json::Map<String, serde_json::Value>,
}

/// A front end that runs.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Its public address; in the sandbox a loopback address of its own such as `127.71.3.9`.
    pub address: IpAddr,
    /// The user to log in as (`cloudadm`).
    pub user: String,
    /// The private key, in OpenSSH's PEM form.
    pub private_key: String,
}

/// The pretend cloud. [`crate::im`] calls it, [`crate::frontend`] implements it.
pub trait Machines: Send + Sync + 'static {
    /// Starts the front end of an infrastructure; the same again if it already runs.
    fn start(&self, request: MachineRequest) -> BoxFuture<'_, anyhow::Result<Machine>>;

    /// The template as it is now, with which IM is about to configure the machines.
    fn template_is(
        &self,
        _infrastructure: &str,
        _inputs: &serde_json::Map<String, serde_json::Value>,
    ) {
    }

    /// IM has (re)configured the front end. `host` is `kube_public_dns_name`; `points_here` tells
    /// whether that name resolved to the front end's address at that moment, which is when
    /// Let's Encrypt gives out a certificate.
    fn configured<'a>(
        &'a self,
        infrastructure: &'a str,
        host: Option<&'a str>,
        points_here: bool,
    ) -> BoxFuture<'a, anyhow::Result<()>>;

    /// Stops the front end and removes its files; nothing happens if there is none.
    fn stop<'a>(&'a self, infrastructure: &'a str) -> BoxFuture<'a, anyhow::Result<()>>;
}

/// A worker node's VM, as Infrastructure Manager has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerVm {
    /// IM's number of it.
    pub number: u32,
    /// The name of the node.
    pub node: String,
    /// Its state, in IM's words.
    pub state: String,
}

/// That Infrastructure Manager did not do what CLUES asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The reason phrase of the answer, such as `Unauthorized`.
    pub reason: &'static str,
    /// IM's text.
    pub text: String,
}

/// What the CLUES of an elastic cluster asks Infrastructure Manager for. [`crate::im`] implements
/// it, [`crate::frontend`] calls it.
///
/// `token` is the access token of the front end's `auth.dat`; without one, nobody is asked who they
/// are.
pub trait Workers: Send + Sync + 'static {
    /// Adds a VM for a node.
    ///
    /// # Errors
    /// When IM or the site refuses.
    fn add(&self, infrastructure: &str, node: &str, token: Option<&str>) -> Result<u32, Refused>;

    /// Removes a VM; one that is gone is fine.
    ///
    /// # Errors
    /// When IM refuses.
    fn remove(&self, infrastructure: &str, vm: u32, token: Option<&str>) -> Result<(), Refused>;

    /// The VMs of worker nodes.
    fn list(&self, infrastructure: &str) -> Vec<WorkerVm>;
}
