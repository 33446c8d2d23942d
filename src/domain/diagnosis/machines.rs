//! The machines: what the cloud gives, what IM makes of it, and whether Kubernetes can use it.

use super::{Remedy, Seen, SeenQuota, Verdict};

/// CLUES could not get nodes from IM, whatever the reason.
const REFUSED: &[&str] = &["Error adding resources"];

/// IM gave a node; what it refused before is past.
const GIVEN: &[&str] = &["successfully created/restarted"];

/// Refusals because of the token are another cause.
const TOKEN: &[&str] = &["OIDC auth"];

fn is_exhausted(quota: &SeenQuota) -> bool {
    quota.limit >= 0.0 && quota.used >= quota.limit
}

/// IM or the cloud refused, a VM failed, or pods wait while a quota is used up.
pub fn cloud_refuses(seen: &Seen) -> Verdict {
    const ASK: Remedy = Remedy {
        words: "ask the site for more, use smaller workers, or remove failed VMs",
        command: None,
    };
    let mut evidence = Vec::new();
    if let Some(clues) = seen.clues.seen() {
        let line = clues.last_line_since(REFUSED, GIVEN);
        let line = line.filter(|line| !TOKEN.iter().any(|text| line.contains(text)));
        evidence.extend(line.map(str::to_owned));
    }
    let vms = seen.vms.seen();
    let failed = vms
        .into_iter()
        .flatten()
        .filter(|(_, state)| state == "failed");
    evidence.extend(failed.map(|(number, _)| format!("IM: VM {number} is failed")));
    let quotas = seen.quotas.seen();
    if seen.wants_nodes() > 0 {
        let exhausted = quotas
            .into_iter()
            .flatten()
            .filter(|quota| is_exhausted(quota));
        evidence.extend(exhausted.map(|quota| {
            format!(
                "quota of {}: {} of {} used",
                quota.name, quota.used, quota.limit
            )
        }));
    }
    if !evidence.is_empty() {
        return Verdict::found(evidence, ASK);
    }
    seen.vms.judge(|vms| {
        let quota = match quotas {
            Some(_) => "no quota stands in the way",
            None => "the quotas are not known",
        };
        Verdict::Fine(format!("no VM of {} failed, {quota}", vms.len()))
    })
}

/// A VM runs, but its configuration failed.
pub fn not_configured(seen: &Seen) -> Verdict {
    const RECONFIGURE: Remedy = Remedy {
        words: "reconfigure the infrastructure in IM's dashboard, see `/pangeo logs im`; if that fails again replace the node",
        command: Some("nodes replace"),
    };
    seen.vms.judge(|vms| {
        let bad = vms.iter().filter(|(_, state)| state == "unconfigured");
        let lines: Vec<String> = bad
            .map(|(number, state)| format!("IM: VM {number} is {state}"))
            .collect();
        if lines.is_empty() {
            return Verdict::Fine(format!("none of {} VMs is unconfigured", vms.len()));
        }
        Verdict::found(lines, RECONFIGURE)
    })
}

/// A node is there, but not ready.
pub fn node_not_ready(seen: &Seen) -> Verdict {
    const REPLACE: Remedy = Remedy {
        words: "restart kubelet on the node, or replace the node",
        command: Some("nodes replace"),
    };
    seen.kubernetes.judge(|kubernetes| {
        let bad = kubernetes.nodes.iter().filter(|node| !node.ready);
        let lines: Vec<String> = bad
            .map(|node| format!("Kubernetes: node {} is not Ready", node.name))
            .collect();
        if lines.is_empty() {
            return Verdict::Fine(format!("all {} nodes are ready", kubernetes.nodes.len()));
        }
        Verdict::found(lines, REPLACE)
    })
}

#[cfg(test)]
mod tests {
    use super::super::Look;
    use super::super::tests::{amount, clues_of, evidence, kubernetes_of, wants, well};
    use super::*;

    #[test]
    fn refusals_of_the_cloud_are_found_and_those_of_the_token_are_not_its() {
        let mut seen = well();
        let token = "[PLUGIN-IM];ERROR;2027-01-15 08:00:00,000;Error adding resources Unauthorized. OIDC auth Token expired.";
        clues_of(&mut seen).recent.push(token.to_owned());
        assert!(matches!(cloud_refuses(&seen), Verdict::Fine(_)));
        let quota = "[PLUGIN-IM];ERROR;2027-01-15 08:00:01,000;Error adding resources Bad Request. Quota exceeded for cores.";
        clues_of(&mut seen).recent.push(quota.to_owned());
        assert_eq!(evidence(&cloud_refuses(&seen)), quota);

        let given =
            "[PLUGIN-IM];DEBUG;2027-01-15 08:05:00,000;Node wn2 successfully created/restarted";
        clues_of(&mut seen).recent.push(given.to_owned());
        assert!(
            matches!(cloud_refuses(&seen), Verdict::Fine(_)),
            "it is past"
        );

        let mut failed = well();
        failed.vms = Look::At(vec![(0, "configured".to_owned()), (3, "failed".to_owned())]);
        assert_eq!(evidence(&cloud_refuses(&failed)), "IM: VM 3 is failed");
    }

    #[test]
    fn a_used_up_quota_counts_only_while_pods_wait() {
        let mut seen = well();
        seen.quotas = Look::At(vec![SeenQuota {
            name: "cores".to_owned(),
            used: 64.0,
            limit: 64.0,
        }]);
        assert!(matches!(cloud_refuses(&seen), Verdict::Fine(_)));
        kubernetes_of(&mut seen).waiting.push(wants(amount(1, 2)));
        assert_eq!(
            evidence(&cloud_refuses(&seen)),
            "quota of cores: 64 of 64 used"
        );
        seen.quotas = Look::At(vec![SeenQuota {
            name: "cores".to_owned(),
            used: 64.0,
            limit: -1.0,
        }]);
        assert!(matches!(cloud_refuses(&seen), Verdict::Fine(_)), "no limit");
    }

    #[test]
    fn machines_that_are_not_usable_are_named() {
        let mut seen = well();
        seen.vms = Look::At(vec![(2, "unconfigured".to_owned())]);
        assert_eq!(evidence(&not_configured(&seen)), "IM: VM 2 is unconfigured");
        kubernetes_of(&mut seen).nodes[0].ready = false;
        assert_eq!(
            evidence(&node_not_ready(&seen)),
            "Kubernetes: node wn1 is not Ready"
        );
    }
}
