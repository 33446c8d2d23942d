//! Every cause of a stall of scaling, switched on and off.
//!
//! The rows are those of the bot's diagnosis; nothing of the bot is used. Switched on, a cause is a
//! state of the pretend systems; whoever puts that right, by whatever way, has switched it off.
//! Most of them stall nothing before a pod waits.

use anyhow::Context;

use super::World;
use crate::frontend::{Kept, Withheld};

/// A cause of a stall of scaling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum StallCause {
    /// The access token in `auth.dat` has ended, and the refresh token is worthless.
    TokenExpired,
    /// The token ends in three minutes, and the refresh token is worthless.
    RefreshFailing,
    /// `cluesd` is dead.
    CluesDead,
    /// CLUES believes that nodes have 1 core and 1 GiB, as a new front end does.
    WrongNodeSize,
    /// Users hold every node that there can be, and one more waits.
    MaximumReached,
    /// The quota of cores is used up, so that IM refuses machines.
    CloudRefuses,
    /// The next worker's VM ends `unconfigured`; the node joins without a network.
    NotConfigured,
    /// The kubelets of the nodes that are on do not answer.
    NodeNotReady,
    /// A user asks for twice a node.
    PodNeverFits,
    /// CLUES gave up all nodes that are off.
    PowerOnGivenUp,
    /// All nodes that are off are disabled.
    NodesDisabled,
    /// The image of a user's server can't be pulled.
    NotScaling,
}

impl StallCause {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::TokenExpired,
        Self::RefreshFailing,
        Self::CluesDead,
        Self::WrongNodeSize,
        Self::MaximumReached,
        Self::CloudRefuses,
        Self::NotConfigured,
        Self::NodeNotReady,
        Self::PodNeverFits,
        Self::PowerOnGivenUp,
        Self::NodesDisabled,
        Self::NotScaling,
    ];

    /// A short name for programs.
    pub fn id(self) -> &'static str {
        match self {
            Self::TokenExpired => "token-expired",
            Self::RefreshFailing => "refresh-failing",
            Self::CluesDead => "clues-dead",
            Self::WrongNodeSize => "wrong-node-size",
            Self::MaximumReached => "maximum-reached",
            Self::CloudRefuses => "cloud-refuses",
            Self::NotConfigured => "not-configured",
            Self::NodeNotReady => "node-not-ready",
            Self::PodNeverFits => "pod-never-fits",
            Self::PowerOnGivenUp => "power-on-given-up",
            Self::NodesDisabled => "nodes-disabled",
            Self::NotScaling => "not-scaling",
        }
    }

    /// The cause with this short name.
    pub fn of_id(id: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|cause| cause.id() == id)
    }

    /// A name for people.
    pub fn title(self) -> &'static str {
        match self {
            Self::TokenExpired => "Token expired",
            Self::RefreshFailing => "Token not refreshed",
            Self::CluesDead => "CLUES dead",
            Self::WrongNodeSize => "Wrong node size in CLUES",
            Self::MaximumReached => "Maximum reached",
            Self::CloudRefuses => "Quota used up",
            Self::NotConfigured => "VM never configured",
            Self::NodeNotReady => "Nodes not ready",
            Self::PodNeverFits => "A pod never fits",
            Self::PowerOnGivenUp => "Power-on given up",
            Self::NodesDisabled => "Nodes disabled",
            Self::NotScaling => "An image can't be pulled",
        }
    }
}

/// The quota that is used up.
const CORES: &str = "cores";

impl World {
    /// Switches a cause of a stall on or off in the cluster of an infrastructure.
    ///
    /// # Errors
    /// When there is no such front end or its files can't be written.
    pub fn cause(&self, infrastructure: &str, cause: StallCause, on: bool) -> anyhow::Result<()> {
        let front_ends = &self.front_ends;
        let known = front_ends.address(infrastructure);
        known.with_context(|| format!("no front end of {infrastructure}"))?;
        match cause {
            StallCause::TokenExpired => self.end_token(infrastructure, on, -3600)?,
            StallCause::RefreshFailing => self.end_token(infrastructure, on, 180)?,
            StallCause::CluesDead if on => front_ends.kill_clues(infrastructure),
            StallCause::CluesDead => front_ends.start_clues(infrastructure),
            StallCause::WrongNodeSize => front_ends.set_believed_size(infrastructure, !on)?,
            StallCause::MaximumReached => front_ends.hold_all_nodes(infrastructure, on),
            StallCause::CloudRefuses if on => self.im.use_up_quota(CORES),
            StallCause::CloudRefuses => self.im.restore_quota(CORES),
            StallCause::NotConfigured if on => self.im.fail_next_worker(infrastructure),
            StallCause::NotConfigured => self.im.heal_workers(infrastructure),
            StallCause::NodeNotReady => front_ends.silence_kubelets(infrastructure, on),
            StallCause::PodNeverFits => front_ends.want_too_much(infrastructure, on),
            StallCause::PowerOnGivenUp => {
                front_ends.withhold_nodes(infrastructure, Withheld::GivenUp, on);
            }
            StallCause::NodesDisabled => {
                front_ends.withhold_nodes(infrastructure, Withheld::Disabled, on);
            }
            StallCause::NotScaling => front_ends.miss_an_image(infrastructure, on),
        }
        Ok(())
    }

    /// The causes that are on now, whoever switched them on.
    pub fn causes(&self, infrastructure: &str) -> Vec<StallCause> {
        let is_on = |cause: &StallCause| self.is_on(infrastructure, *cause);
        StallCause::ALL.into_iter().filter(is_on).collect()
    }

    fn is_on(&self, infrastructure: &str, cause: StallCause) -> bool {
        let front_ends = &self.front_ends;
        let kept = |by| front_ends.is_kept_by(infrastructure, by);
        match cause {
            StallCause::TokenExpired => !self.has_valid_token(infrastructure),
            StallCause::RefreshFailing => {
                self.has_valid_token(infrastructure) && front_ends.is_unrefreshed(infrastructure)
            }
            StallCause::CluesDead => !front_ends.clues_runs(infrastructure),
            StallCause::WrongNodeSize => !front_ends.believes_right(infrastructure),
            StallCause::MaximumReached => kept(Kept::Holders),
            StallCause::CloudRefuses => self.im.is_quota_used_up(CORES),
            StallCause::NotConfigured => self.im.has_broken_workers(infrastructure),
            StallCause::NodeNotReady => kept(Kept::NotReady),
            StallCause::PodNeverFits => kept(Kept::TooLarge),
            StallCause::PowerOnGivenUp => kept(Kept::GivenUp),
            StallCause::NodesDisabled => kept(Kept::Disabled),
            StallCause::NotScaling => kept(Kept::Image),
        }
    }

    /// Whether CLUES' token of a front end is good.
    pub(super) fn has_valid_token(&self, infrastructure: &str) -> bool {
        let token = self.front_ends.clues_token(infrastructure).ok().flatten();
        token.is_some_and(|token| self.checkin.valid_token(&token).is_some())
    }

    fn end_token(&self, infrastructure: &str, on: bool, left_s: i64) -> anyhow::Result<()> {
        let lifetime = if on { left_s } else { 3600 };
        let lifetime = chrono::Duration::seconds(lifetime);
        let token = self.checkin.mint_token(super::BOT_USER, lifetime)?;
        if on {
            self.front_ends.leave_with_token(infrastructure, &token)
        } else {
            self.front_ends.renew_by_hand(infrastructure, &token)
        }
    }
}
