//! The files of a pretend front end, in the places where the real one has them.
//!
//! The folder of a front end holds `etc`, `var`, `home`, `root`, `run`, `tmp` and `usr-local`;
//! `setup.sh` puts them together with the machine's `/usr` into one root.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::state::Cluster;
use super::{clues, scheduler};
use crate::tls::Authority;

const SUDO: &str = r#"#!/bin/sh
# The front end's user is root already; this only looks like sudo and keeps its log.
while :; do
    case ${1-} in
    -n | -E | -H) shift ;;
    -u) shift 2 ;;
    --) shift; break ;;
    *) break ;;
    esac
done
[ $# -gt 0 ] || { echo "usage: sudo command" >&2; exit 1; }
line=$(printf '%s ' "$@" | tr '\n' ' ' | cut -c 1-400)
echo "cloudadm : TTY=unknown ; USER=root ; COMMAND=$line" >> /var/log/auth.log
command -v -- "$1" > /dev/null || { echo "sudo: $1: command not found" >&2; exit 1; }
# A test may let a command wait here, before its effect or after it (held.rs).
all="$*"
wait_at() {
    [ -s /run/hold ] && { read -r place; read -r id; read -r words; } < /run/hold || return 0
    [ "$place" = "$1" ] || return 0
    case $all in *"$words"*) ;; *) return 0 ;; esac
    : > "/run/$id.reached"
    while [ -e "/run/$id" ]; do sleep 0.02; done
    [ ! -e "/run/$id.discarded" ] || exit 1
}
if [ -e /run/hold ]; then
    wait_at before
    HOME=/root USER=root LOGNAME=root "$@"
    code=$?
    wait_at after
    exit "$code"
fi
HOME=/root USER=root LOGNAME=root exec "$@"
"#;

const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\n\
    cloudadm:x:0:0:cloudadm:/home/cloudadm:/bin/bash\n\
    sshd:x:101:65534::/run/sshd:/usr/sbin/nologin\n\
    nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n";

const GROUP: &str = "root:x:0:\nnogroup:x:65534:\n";

const CLUES2_CFG: &str = "[general]\nTIMEOUT_COMMANDS=10\nLOGGER_MARK=1800\n\n\
    [monitoring]\nMAX_WAIT_POWERON=3000\n\n\
    [scheduling]\nRECONSIDER_JOB_TIME=@RECONSIDER@\nIDLE_TIME=900\nEXTRA_NODES_FREE=@FREE@\n\
    MAX_BOOTING_NODES=5\nRETRIES_POWER_ON=3\n";

/// Makes all files of a new front end.
pub(super) fn make(
    data: &Path,
    cluster: &Cluster,
    public_key: &str,
    token: &str,
    reconsider: Duration,
) -> anyhow::Result<()> {
    for folder in [
        "etc/ssh",
        "etc/clues2/conf.d",
        "etc/kubernetes",
        "var/tmp",
        "var/log/clues2",
        "var/lib",
        "home/cloudadm/.ssh",
        "root",
        "run/sshd",
        "tmp",
        "usr-local/bin",
        "usr-local/ec3",
    ] {
        let path = data.join(folder);
        fs::create_dir_all(&path).with_context(|| format!("make {}", path.display()))?;
    }
    put(data, "etc/passwd", PASSWD, 0o644)?;
    put(data, "etc/group", GROUP, 0o644)?;
    put(
        data,
        "etc/nsswitch.conf",
        "passwd: files\ngroup: files\nhosts: files\n",
        0o644,
    )?;
    put(data, "etc/hosts", "127.0.0.1 localhost\n", 0o644)?;
    put(data, "etc/hostname", "kubeserver\n", 0o644)?;
    put(
        data,
        "home/cloudadm/.ssh/authorized_keys",
        public_key,
        0o600,
    )?;
    put(data, "usr-local/bin/sudo", SUDO, 0o755)?;
    for program in ["helm", "kubectl", "clues", "service"] {
        let link = data.join("usr-local/bin").join(program);
        symlink("/opt/programs", &link).with_context(|| format!("link {}", link.display()))?;
    }
    make_host_key(data)?;
    make_clues(data, cluster, token, reconsider)
}

const HOST_KEY: &str = "etc/ssh/ssh_host_ed25519_key";

/// Where the first host key lies while the machine has another one.
const FIRST_HOST_KEY: &str = "etc/ssh/first_host_key";

/// Makes a new host key, in place of an older one; the first one is kept.
pub(super) fn make_host_key(data: &Path) -> anyhow::Result<()> {
    let (file, first) = (data.join(HOST_KEY), data.join(FIRST_HOST_KEY));
    if file.exists() && !first.exists() {
        for suffix in ["", "pub"] {
            let (from, to) = (file.with_extension(suffix), first.with_extension(suffix));
            fs::rename(&from, &to).with_context(|| format!("keep {}", from.display()))?;
        }
    }
    keygen(&file)
}

/// Gives the machine its first host key back; false if it never had another one.
pub(super) fn restore_host_key(data: &Path) -> anyhow::Result<bool> {
    let (file, first) = (data.join(HOST_KEY), data.join(FIRST_HOST_KEY));
    if !first.exists() {
        return Ok(false);
    }
    // The private half last: as long as it lies there, this can be done again.
    for suffix in ["pub", ""] {
        let (from, to) = (first.with_extension(suffix), file.with_extension(suffix));
        if from.exists() {
            fs::rename(&from, &to).with_context(|| format!("restore {}", to.display()))?;
        }
    }
    Ok(true)
}

/// Makes a key pair and returns both halves, as `ssh-keygen` writes them.
pub(super) fn make_user_key(folder: &Path) -> anyhow::Result<(String, String)> {
    let file = folder.join("key");
    keygen(&file)?;
    let public = file.with_extension("pub");
    let pair = (fs::read_to_string(&file)?, fs::read_to_string(&public)?);
    // IM hands it out; the machine itself does not keep it.
    fs::remove_file(&file)?;
    fs::remove_file(&public)?;
    Ok(pair)
}

fn keygen(file: &Path) -> anyhow::Result<()> {
    for old in [file.to_owned(), file.with_extension("pub")] {
        if old.exists() {
            fs::remove_file(old)?;
        }
    }
    let output = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-C", "sandbox", "-f"])
        .arg(file)
        .stdin(Stdio::null())
        .output()
        .context("run ssh-keygen (Debian package openssh-client)")?;
    ensure!(
        output.status.success(),
        "ssh-keygen failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

/// Writes what depends on addresses: the settings of `sshd` and Kubernetes' credentials.
pub(super) fn make_settings(
    data: &Path,
    sshd: SocketAddr,
    kubernetes: SocketAddr,
    authority: &Authority,
) -> anyhow::Result<()> {
    let settings = format!(
        "ListenAddress {sshd}\n\
         HostKey /etc/ssh/ssh_host_ed25519_key\n\
         AuthorizedKeysFile /home/%u/.ssh/authorized_keys\n\
         StrictModes no\nUsePAM no\nUseDNS no\nPidFile none\nPrintMotd no\n\
         PermitRootLogin prohibit-password\nPasswordAuthentication no\n\
         KbdInteractiveAuthentication no\nMaxSessions 200\nMaxStartups 200\nLogLevel ERROR\n"
    );
    put(data, "etc/ssh/sshd_config", &settings, 0o644)?;
    let client = authority.issue_client("kubernetes-admin")?;
    let encoded = |text: &str| STANDARD.encode(text);
    let admin = format!(
        "apiVersion: v1\nkind: Config\npreferences: {{}}\ncurrent-context: kubernetes-admin@kubernetes\n\
         clusters:\n- name: kubernetes\n  cluster:\n    server: https://{kubernetes}\n    certificate-authority-data: {}\n\
         contexts:\n- name: kubernetes-admin@kubernetes\n  context:\n    cluster: kubernetes\n    user: kubernetes-admin\n\
         users:\n- name: kubernetes-admin\n  user:\n    client-certificate-data: {}\n    client-key-data: {}\n",
        encoded(authority.pem()),
        encoded(&client.certificate_pem),
        encoded(&client.key_pem),
    );
    put(data, "etc/kubernetes/admin.conf", &admin, 0o600)
}

/// CLUES and EC3: read and changed by later commands of the bot.
fn make_clues(
    data: &Path,
    cluster: &Cluster,
    token: &str,
    reconsider: Duration,
) -> anyhow::Result<()> {
    let number = |name: &str, default: u32| -> u32 {
        cluster
            .input(name)
            .and_then(|text| text.parse().ok())
            .unwrap_or(default)
    };
    let free = number("min_wn_num", 0).to_string();
    put(
        data,
        "etc/clues2/clues2.cfg",
        &CLUES2_CFG
            .replace("@FREE@", &free)
            .replace("@RECONSIDER@", &reconsider.as_secs().to_string()),
        0o644,
    )?;
    put(
        data,
        "etc/clues2/conf.d/plugin-kubernetes.cfg",
        "[KUBERNETES]\nKUBERNETES_SERVER=https://localhost:6443\nKUBERNETES_NODE_MEMORY=1073741824\n\
         KUBERNETES_NODE_SLOTS=1\nKUBERNETES_NODE_PODS=110\n",
        0o644,
    )?;
    put(
        data,
        "etc/clues2/conf.d/plugin-im.cfg",
        "[IM VIRTUAL CLUSTER]\nIM_VIRTUAL_CLUSTER_AUTH_DATA_FILE=/usr/local/ec3/auth.dat\n\
         IM_VIRTUAL_CLUSTER_DROP_FAILING_VMS=600\n",
        0o644,
    )?;
    let nodes: Vec<_> = (1..=number("max_wn_num", number("wn_num", 1)))
        .map(|number| serde_json::json!({ "name": format!("wn{number}") }))
        .collect();
    put(
        data,
        "etc/clues2/kubernetes_vnodes.info",
        &serde_json::to_string_pretty(&nodes)?,
        0o644,
    )?;
    let begin = scheduler::mark(chrono::Utc::now());
    put(
        data,
        "var/log/clues2/clues2.log",
        &clues::log_line("CLUES", clues::Level::Debug, &begin),
        0o644,
    )?;
    put(data, "var/log/auth.log", "", 0o640)?;
    put(
        data,
        "usr-local/ec3/auth.dat",
        &super::ec3::auth_dat(token),
        0o600,
    )
}

fn put(data: &Path, name: &str, text: &str, mode: u32) -> anyhow::Result<()> {
    let path = data.join(name);
    fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(mode))
        .with_context(|| format!("set the mode of {}", path.display()))
}
