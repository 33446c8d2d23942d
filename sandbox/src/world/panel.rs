//! The page's world panel: look at the pretend world, and break it.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use anyhow::Context;
use futures::future::BoxFuture;
use serde_json::{Map, Value, json};
use tokio::sync::Mutex;

use super::bot::BotProcess;
use super::{ByHand, World, hubs, stalls};
use crate::discord::WorldPanel;
use crate::faults::{Fault, On};
use crate::frontend::{HelmFault, SshDoor};

/// How long a system is broken when the panel breaks it, unless it is healed before.
const MANY: u32 = 1_000_000;

/// Shows the world and acts on it.
pub struct Panel {
    world: Arc<World>,
    bot: Arc<Mutex<BotProcess>>,
    last: std::sync::Mutex<String>,
}

impl Panel {
    /// Over a world and the bot that lives in it.
    pub fn new(world: Arc<World>, bot: Arc<Mutex<BotProcess>>) -> Self {
        let last = std::sync::Mutex::new("all is well".to_owned());
        Self { world, bot, last }
    }

    async fn do_it(&self, action: &str, args: &Map<String, Value>) -> anyhow::Result<String> {
        let world = &self.world;
        let text = |name: &str| args.get(name).and_then(Value::as_str).unwrap_or_default();
        match action {
            "token-expire" => world.write_token(chrono::Duration::hours(-1))?,
            "token-expire-front-ends" => world.expire_front_ends()?,
            "token-show" => return self.shown_token(),
            "token-renew" => world.renew_token()?,
            "quota-exhaust" => world.im.set_quota("cores", 100.0, 100.0),
            "quota-free" => world.im.set_quota("cores", 0.0, 200.0),
            "im-down" => breaks(
                world.im.faults(),
                Fault::answer(500, "Internal Server Error"),
            ),
            "im-hangs" => breaks(world.im.faults(), Fault::hang(Duration::from_secs(600))),
            "im-configure-fails" => world.im.fail_next_configure(),
            "im-launch-fails" => world.im.fail_next_launch("No valid host was found"),
            "dns-add" => {
                let host = host(text("host"))?;
                world.prepare_host(&host);
                return Ok(format!(
                    "added {host}; its update secret is {}",
                    super::DNS_SECRET
                ));
            }
            "dns-abuse" => breaks(world.dns.faults(), Fault::answer(403, "abuse")),
            "dns-911" => breaks(world.dns.faults(), Fault::answer(200, "911")),
            "by-hand" => return self.made_by_hand(&host(text("host"))?).await,
            "client-add" => {
                let host = host(text("host"))?;
                let id = format!("client-{host}");
                world.prepare_client(&id, super::CLIENT_SECRET, &host);
                return Ok(format!(
                    "registered {id}; its secret is {}",
                    super::CLIENT_SECRET
                ));
            }
            "ssh-refuse" => self.every_door(SshDoor::Refusing)?,
            "ssh-open" => self.every_door(SshDoor::Open)?,
            "ssh-new-key" => {
                for infrastructure in world.front_ends.infrastructures() {
                    world.front_ends.change_host_key(&infrastructure).await?;
                }
            }
            "disk-full" => self.every_disk(true)?,
            "disk-free" => self.every_disk(false)?,
            "helm-fails" => world.front_ends.fail_helm(&HelmFault::NotReady, 1),
            "hub-502" => breaks(
                world.front_ends.hub_faults(),
                Fault::answer(502, "Bad Gateway"),
            ),
            "bot-kill" => self.bot.lock().await.kill().await?,
            "bot-start" => {
                self.bot.lock().await.start().await?;
            }
            "heal" => self.heal().await?,
            other => {
                let said = stalls::act(world, other, args)?;
                return said.with_context(|| format!("there is no action `{other}`"));
            }
        }
        let title = ACTIONS
            .iter()
            .find(|(id, ..)| *id == action)
            .map_or(action, |row| row.1);
        Ok(format!("done: {title}"))
    }

    /// What IM's dashboard shows below Advanced → Settings.
    fn shown_token(&self) -> anyhow::Result<String> {
        let lifetime = chrono::Duration::hours(1);
        let token = self.world.checkin.mint_token(super::BOT_USER, lifetime)?;
        Ok(format!("an access token of {}: {token}", super::BOT_USER))
    }

    /// The howto, gone through without the bot.
    async fn made_by_hand(&self, host: &str) -> anyhow::Result<String> {
        let name = host.split('.').next().unwrap_or(host);
        let user = super::BOT_USER;
        let id = self.world.make_by_hand(ByHand { name, host, user }).await?;
        Ok(format!(
            "made by hand: {host}, infrastructure {id}; try /pangeo adopt name:{name} host:{host}"
        ))
    }

    fn every_door(&self, door: SshDoor) -> anyhow::Result<()> {
        let front_ends = &self.world.front_ends;
        front_ends
            .infrastructures()
            .iter()
            .try_for_each(|id| front_ends.set_ssh(id, door))
    }

    fn every_disk(&self, full: bool) -> anyhow::Result<()> {
        let front_ends = &self.world.front_ends;
        front_ends
            .infrastructures()
            .iter()
            .try_for_each(|id| front_ends.fill_disk(id, full))
    }

    async fn heal(&self) -> anyhow::Result<()> {
        let world = &self.world;
        for faults in [
            world.im.faults(),
            world.dns.faults(),
            world.checkin.faults(),
            world.registry.faults(),
            world.discord.faults(),
            world.front_ends.hub_faults(),
            world.front_ends.kubernetes_faults(),
        ] {
            faults.clear();
        }
        world.front_ends.heal_helm();
        hubs::heal(world)?;
        world.im.set_quota("cores", 0.0, 200.0);
        self.every_door(SshDoor::Open)?;
        self.every_disk(false)?;
        for infrastructure in world.front_ends.infrastructures() {
            world.front_ends.restore_host_key(&infrastructure).await?;
            for cause in world.causes(&infrastructure) {
                world.cause(&infrastructure, cause, false)?;
            }
        }
        world.renew_token()
    }

    fn clusters(&self) -> Vec<Value> {
        let row = |label: String, value: String, state: &str| json!([label, value, state]);
        let mut rows = Vec::new();
        for view in self.world.im.infrastructures() {
            let name = view.name.clone().unwrap_or_else(|| view.id.clone());
            let good = if view.state == "configured" {
                "ok"
            } else {
                "busy"
            };
            let vms = view.vms.len();
            rows.push(row(name, format!("{} · {vms} VMs", view.state), good));
            if let Some(address) = self.world.front_ends.address(&view.id) {
                rows.push(row("  front end".to_owned(), address.to_string(), ""));
                rows.extend(stalls::rows(&self.world, &view.id));
                let token = self.world.front_ends.clues_token(&view.id).ok().flatten();
                let valid = token.is_some_and(|t| self.world.checkin.valid_token(&t).is_some());
                let (value, state) = if valid {
                    ("valid", "ok")
                } else {
                    ("expired", "bad")
                };
                rows.push(row("  its token".to_owned(), value.to_owned(), state));
            }
            if let Some(last) = self.world.front_ends.releases(&view.id).last() {
                let state = if last.status == "deployed" {
                    "ok"
                } else {
                    "bad"
                };
                let value = format!("revision {} {}", last.revision, last.status);
                rows.push(row("  helm release".to_owned(), value, state));
            }
        }
        if rows.is_empty() {
            rows.push(row("none yet".to_owned(), String::new(), ""));
        }
        rows
    }

    fn names(&self) -> Vec<Value> {
        let records = self.world.dns.records();
        let hosts = self.world.dns.hosts();
        hosts
            .into_iter()
            .map(|host| {
                let value = records
                    .get(&host)
                    .map_or_else(|| "points nowhere".to_owned(), ToString::to_string);
                json!([host, value, ""])
            })
            .collect()
    }

    fn token(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.world.token_file()).unwrap_or_default();
        let valid = self.world.checkin.valid_token(&text).is_some();
        let (value, state) = if valid {
            ("valid", "ok")
        } else {
            ("expired", "bad")
        };
        vec![json!(["the bot's access token", value, state])]
    }
}

/// Every action: id, title, group, whether it wants a host, whether it hurts.
const ACTIONS: &[(&str, &str, &str, bool, bool)] = &[
    ("heal", "Heal everything", "All", false, false),
    (
        "token-expire",
        "Expire the access token",
        "Token",
        false,
        true,
    ),
    (
        "token-renew",
        "Renew the access token",
        "Token",
        false,
        false,
    ),
    (
        "token-expire-front-ends",
        "Expire the front ends' tokens",
        "Token",
        false,
        true,
    ),
    (
        "token-show",
        "Show an access token to paste",
        "Token",
        false,
        false,
    ),
    ("dns-add", "Add a host to Dynamic DNS", "Names", true, false),
    (
        "client-add",
        "Register a Check-in client",
        "Names",
        true,
        false,
    ),
    ("by-hand", "Make a cluster by hand", "Cloud", true, false),
    ("dns-abuse", "Dynamic DNS says abuse", "Names", false, true),
    ("dns-911", "Dynamic DNS says 911", "Names", false, true),
    ("quota-exhaust", "Exhaust the quota", "Cloud", false, true),
    ("quota-free", "Free the quota", "Cloud", false, false),
    ("im-down", "IM answers 500", "Cloud", false, true),
    ("im-hangs", "IM hangs", "Cloud", false, true),
    (
        "im-launch-fails",
        "The next launch fails",
        "Cloud",
        false,
        true,
    ),
    (
        "im-configure-fails",
        "The next configuration fails",
        "Cloud",
        false,
        true,
    ),
    ("ssh-refuse", "SSH refuses", "Front ends", false, true),
    ("ssh-open", "SSH opens again", "Front ends", false, false),
    ("ssh-new-key", "Host keys change", "Front ends", false, true),
    ("disk-full", "The disk is full", "Front ends", false, true),
    (
        "disk-free",
        "The disk has room again",
        "Front ends",
        false,
        false,
    ),
    (
        "helm-fails",
        "The next helm fails",
        "Front ends",
        false,
        true,
    ),
    ("hub-502", "Hubs answer 502", "Front ends", false, true),
    ("bot-kill", "Kill the bot (SIGKILL)", "Bot", false, true),
    ("bot-start", "Start the bot", "Bot", false, false),
];

impl WorldPanel for Panel {
    fn panel(&self) -> Value {
        let mut actions: Vec<Value> = ACTIONS
            .iter()
            .chain(hubs::ACTIONS)
            .map(|(id, title, group, wants_host, danger)| {
                let args = if *wants_host {
                    json!([{"name": "host", "title": "Host name", "kind": "text"}])
                } else {
                    json!([])
                };
                json!({"id": id, "title": title, "group": group, "args": args, "danger": danger})
            })
            .collect();
        // What goes on all the time stands first, behind what heals it.
        let at = actions.len().min(1);
        actions.splice(at..at, stalls::actions(&self.world));
        let last = self
            .last
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        json!({
            "simulation": true,
            "panels": [
                {"title": "Infrastructures", "rows": self.clusters()},
                {"title": "Time", "rows": stalls::time(&self.world)},
                {"title": "DNS names", "rows": self.names()},
                {"title": "Check-in", "rows": self.token()},
                {"title": "Last action", "rows": [[last, "", ""]]},
            ],
            "actions": actions,
        })
    }

    fn act<'a>(
        &'a self,
        action: &'a str,
        args: Map<String, Value>,
    ) -> BoxFuture<'a, anyhow::Result<String>> {
        Box::pin(async move {
            let done = self.do_it(action, &args).await?;
            self.last
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone_from(&done);
            Ok(done)
        })
    }
}

fn breaks(faults: &crate::faults::Faults, fault: Fault) {
    let injected = faults.inject(On::any(), fault, MANY);
    drop(injected);
}

/// A host of the sandbox's domain.
fn host(text: &str) -> anyhow::Result<String> {
    let text = text.trim().to_lowercase();
    let label = text
        .strip_suffix(super::DOMAIN)
        .and_then(|rest| rest.strip_suffix('.'));
    let good = label.is_some_and(|label| {
        !label.is_empty()
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.')
    });
    good.then_some(text)
        .with_context(|| format!("give a host below {}", super::DOMAIN))
}
