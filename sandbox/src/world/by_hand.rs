//! A cluster that somebody makes by hand after the howto, so that the bot can adopt it.

use anyhow::Context;
use serde_json::{Value, json};

use super::World;

/// The chart of the howto's later readers.
const CHART: &str = "2024.1.1";

/// The howto's values with login by Check-in.
const VALUES: &str = include_str!("by_hand.yaml");

/// How long the access token lives with which a person works.
const TOKEN_LIFETIME_H: i64 = 1;

/// What somebody makes.
#[derive(Clone, Copy, Debug)]
pub struct ByHand<'a> {
    /// The name of the infrastructure in IM.
    pub name: &'a str,
    /// The DNS name of the hub.
    pub host: &'a str,
    /// With whose account of Check-in.
    pub user: &'a str,
}

impl World {
    /// Goes through the howto without the bot: DNS name, OIDC client, cluster, reconfigure, helm.
    /// Answers IM's id.
    ///
    /// # Errors
    /// When IM refuses it or the machines fail.
    pub async fn make_by_hand(&self, wanted: ByHand<'_>) -> anyhow::Result<String> {
        let ByHand { name, host, user } = wanted;
        self.prepare_host(host);
        let client = format!("client-{host}");
        self.prepare_client(&client, super::CLIENT_SECRET, host);
        let lifetime = chrono::Duration::hours(TOKEN_LIFETIME_H);
        let token = self.checkin.mint_token(user, lifetime)?;
        let id = self.im.create_by_hand(&token, name, &inputs(host)).await?;
        self.im.wait_until_configured(&id, 1).await?;
        let address = self.front_ends.address(&id).context("it has no address")?;
        self.dns.set_record(host, Some(address));
        self.im.reconfigure_by_hand(&token, &id).await?;
        self.im.wait_until_configured(&id, 2).await?;
        let values = VALUES
            .replace("@HOST@", host)
            .replace("@ISSUER@", self.checkin.issuer().trim_end_matches('/'))
            .replace("@CLIENT@", &client)
            .replace("@SECRET@", super::CLIENT_SECRET)
            .replace("@TOKEN1@", &random_token())
            .replace("@TOKEN2@", &random_token());
        self.front_ends.install_by_hand(&id, CHART, &values)?;
        Ok(id)
    }
}

/// What a person fills in in the dashboard.
fn inputs(host: &str) -> Vec<(&'static str, Value)> {
    vec![
        ("fe_cpus", json!(4)),
        ("fe_mem", json!("16 GB")),
        ("wn_cpus", json!(8)),
        ("wn_mem", json!("32 GB")),
        ("wn_num", json!(1)),
        ("max_wn_num", json!(5)),
        ("min_wn_num", json!(0)),
        ("kube_admin_token", json!(random_token())),
        ("kube_cert_manager", json!(true)),
        ("kube_cert_user_email", json!("sandbox@example.org")),
        ("kube_public_dns_name", json!(host)),
        ("kube_ingress_type", json!("nginx")),
        ("admin_password", json!(random_token())),
    ]
}

/// As `openssl rand -hex 32` makes it.
fn random_token() -> String {
    let half = || uuid::Uuid::new_v4().simple().to_string();
    half() + &half()
}
