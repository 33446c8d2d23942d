//! The contextualisation log, as Ansible writes it.

/// The tasks of a Kubernetes front end, in order: role and task.
const TASKS: [(&str, &str); 22] = [
    ("grycap.nfs", "Install the NFS server"),
    ("grycap.docker", "Add the repository of containerd"),
    ("grycap.docker", "Install containerd"),
    ("grycap.kubernetes", "Set the hostname"),
    ("grycap.kubernetes", "Disable swap"),
    ("grycap.kubernetes", "Install kubeadm, kubelet and kubectl"),
    ("grycap.kubernetes", "Pull the images of the control plane"),
    ("grycap.kubernetes", "Initialise the control plane"),
    ("grycap.kubernetes", "Copy admin.conf"),
    ("grycap.kubernetes", "Install the network flannel"),
    ("grycap.kubernetes", "Wait until the front end is Ready"),
    ("grycap.kubernetes", "Install the ingress controller"),
    ("grycap.kubernetes", "Install the NFS provisioner"),
    ("grycap.kubernetes", "Install cert-manager"),
    ("grycap.kubernetes", "Create the issuer letsencrypt-prod"),
    ("grycap.clues", "Install CLUES"),
    ("grycap.clues", "Write plugin-kubernetes.cfg"),
    ("grycap.clues", "Start cluesd"),
    ("grycap.ec3", "Write auth.dat"),
    ("grycap.ec3", "Install the refresh of the token"),
    ("helm", "Install kube-prometheus-stack"),
    ("helm", "Wait until Grafana is available"),
];

/// What IM itself writes before Ansible starts.
pub(super) fn head() -> String {
    let now = chrono::Utc::now().format("%Y-%m-%d %H:%M:%S%.6f");
    [
        "Select master VM",
        "Wait master VM to boot",
        "Wait master VM to have the SSH active.",
        "Creating and copying Ansible playbook files",
        "Galaxy roles to install: grycap.nfs, grycap.docker, grycap.kubernetes, grycap.clues",
        "Performing preliminary steps to configure Ansible.",
        "Configure Ansible in the master VM.",
    ]
    .iter()
    .map(|line| format!("{now}: {line}\n"))
    .collect()
}

/// The pieces of Ansible's output, one for each step of time.
pub(super) fn pieces(fails: bool) -> Vec<String> {
    let mut pieces = vec![
        "VM 0:\nContextualization agent output processed successfully\n\n\
         PLAY [front] *******************************************************************\n\n\
         TASK [Gathering Facts] *********************************************************\n\
         ok: [front]\n"
            .to_owned(),
    ];
    let upto = if fails { 13 } else { TASKS.len() };
    for (n, (role, task)) in TASKS.iter().take(upto).enumerate() {
        let title = format!("TASK [{role} : {task}] ");
        let word = if n % 3 == 0 { "ok" } else { "changed" };
        pieces.push(format!("\n{title:*<80}\n{word}: [front]\n"));
    }
    let title = format!("{:*<80}", "PLAY RECAP ");
    if fails {
        pieces.push(format!(
            "\n{:*<80}\nfatal: [front]: FAILED! => {{\"changed\": false, \"msg\": \"Timeout when \
             waiting for search string 200 OK in https://repo.example/\"}}\n\n{title}\n\
             front                      : ok=14   changed=9    unreachable=0    failed=1    \
             skipped=3    rescued=0    ignored=0\n\n",
            "TASK [grycap.kubernetes : Install cert-manager] "
        ));
    } else {
        pieces.push(format!(
            "\n{title}\nfront                      : ok=23   changed=15   unreachable=0    \
             failed=0    skipped=3    rescued=0    ignored=0\n\n"
        ));
    }
    pieces
}

/// What the certificate manager says at the end.
pub(super) fn certificate(host: &str, points_here: bool) -> String {
    let task = format!("TASK [certificate for {host}] ");
    let said = if points_here {
        "ok: [front] => the certificate was issued"
    } else {
        "ok: [front] => the name does not point to this front end: no certificate yet"
    };
    format!("{task:*<80}\n{said}\n\n")
}

/// What Ansible says at the end of a worker.
pub(super) fn worker(node: &str, word: &str) -> String {
    let task = format!("TASK [grycap.kubernetes : Join the cluster] ({node}) ");
    format!("{task:*<80}\n{word}: [{node}]\n\n")
}
