//! Rate limits: buckets per route and main resource, and 50 requests a second in all.
//!
//! The numbers are those that bots see in Discord's headers (2026-08); Discord documents only
//! that they may change. Interaction callbacks and follow-ups are outside the global limit
//! (<https://discord.com/developers/docs/topics/rate-limits>).

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::error::json_response;
use super::rest::Route;
use super::{Discord, lock};

/// How strictly requests are limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateLimits {
    /// As Discord does.
    AsDiscord,
    /// Headers as Discord sends them, but never a 429; for benches and quick tests.
    Relaxed,
}

/// Requests a second in all.
const GLOBAL: usize = 50;

/// How many requests within which time one bucket takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rule {
    pub(crate) name: &'static str,
    pub(crate) limit: u32,
    pub(crate) window: Duration,
}

const fn rule(name: &'static str, limit: u32, window_ms: u64) -> Rule {
    Rule {
        name,
        limit,
        window: Duration::from_millis(window_ms),
    }
}

/// The rule of a route.
pub(crate) fn rule_of(route: &Route) -> Rule {
    match route {
        Route::CreateMessage(_) => rule("create-message", 5, 5_000),
        Route::EditMessage(..) => rule("edit-message", 5, 5_000),
        Route::DeleteMessage(..) => rule("delete-message", 5, 1_000),
        Route::BulkDelete(_) => rule("bulk-delete", 1, 1_000),
        Route::AddReaction(..) | Route::RemoveOwnReaction(..) | Route::RemoveReaction(..) => {
            rule("reaction", 1, 250)
        }
        Route::RemoveReactions(..) | Route::RemoveEmoji(..) => rule("reactions", 1, 250),
        Route::ListMessages(_) | Route::GetMessage(..) | Route::ListReactions(..) => {
            rule("read-messages", 30, 10_000)
        }
        Route::ThreadFromMessage(..) | Route::CreateThread(_) => rule("threads", 10, 10_000),
        Route::EditChannel(_) | Route::DeleteChannel(_) => rule("edit-channel", 10, 15_000),
        Route::ListCommands(_) | Route::GetCommand(..) => rule("read-commands", 10, 10_000),
        Route::PutCommands(_)
        | Route::CreateCommand(_)
        | Route::EditCommand(..)
        | Route::DeleteCommand(..) => rule("commands", 5, 20_000),
        Route::CreateDm => rule("dms", 5, 1_000),
        Route::FollowUp(..)
        | Route::GetResponse(..)
        | Route::EditResponse(..)
        | Route::DeleteResponse(..) => rule("webhook", 5, 2_000),
        Route::Callback(..) => rule("callback", 1_000, 1_000),
        Route::Gateway
        | Route::GatewayBot
        | Route::Me
        | Route::MyApplication
        | Route::GetChannel(_)
        | Route::Typing(_)
        | Route::GetGuild(_)
        | Route::GuildChannels(_)
        | Route::GuildRoles(_)
        | Route::GetMember(..)
        | Route::GetUser(_)
        | Route::JoinThread(_)
        | Route::ThreadMember(..) => rule("other", 20, 5_000),
    }
}

/// The rule for renaming a channel or thread: 2 in 10 min.
pub(crate) const RENAME: Rule = rule("rename", 2, 600_000);

/// What the limiter says about a request.
#[derive(Clone, Debug)]
pub(crate) struct Verdict {
    bucket: String,
    limit: u32,
    remaining: u32,
    reset_after: Duration,
    /// Why it is refused, if it is.
    refused: Option<&'static str>,
}

struct Bucket {
    left: u32,
    resets: Instant,
}

/// The buckets of the bot.
pub(crate) struct Buckets {
    mode: RateLimits,
    by_name: HashMap<String, Bucket>,
    last_second: VecDeque<Instant>,
    refuse_next: u32,
    refusals: u64,
}

impl Buckets {
    pub(crate) fn new(mode: RateLimits) -> Self {
        Self {
            mode,
            by_name: HashMap::new(),
            last_second: VecDeque::new(),
            refuse_next: 0,
            refusals: 0,
        }
    }

    /// Counts a request in its bucket and, unless exempt, in the global one.
    pub(crate) fn count(&mut self, rule: Rule, major: &str, exempt: bool) -> Verdict {
        let now = Instant::now();
        if self.by_name.len() > 10_000 {
            self.by_name.retain(|_, b| b.resets > now);
        }
        let bucket = self
            .by_name
            .entry(format!("{}:{major}", rule.name))
            .or_insert(Bucket {
                left: rule.limit,
                resets: now + rule.window,
            });
        if bucket.resets <= now {
            *bucket = Bucket {
                left: rule.limit,
                resets: now + rule.window,
            };
        }
        let reset_after = bucket.resets.duration_since(now);
        let empty = bucket.left == 0;
        let mut verdict = Verdict {
            bucket: bucket_hash(rule.name),
            limit: rule.limit,
            remaining: bucket.left.saturating_sub(1),
            reset_after,
            refused: None,
        };
        if self.refuse_next > 0 {
            self.refuse_next -= 1;
            verdict.refused = Some("user");
        } else if self.mode == RateLimits::AsDiscord {
            let second = |t: &Instant| now.duration_since(*t) >= Duration::from_secs(1);
            while self.last_second.front().is_some_and(second) {
                self.last_second.pop_front();
            }
            if !exempt && self.last_second.len() >= GLOBAL {
                verdict.refused = Some("global");
                let oldest = self.last_second.front().copied().unwrap_or(now);
                verdict.reset_after = Duration::from_secs(1).saturating_sub(now - oldest);
            } else if empty {
                verdict.refused = Some("user");
            }
        }
        if verdict.refused.is_some() {
            self.refusals += 1;
            return verdict;
        }
        if !exempt {
            self.last_second.push_back(now);
            while self.last_second.len() > GLOBAL {
                self.last_second.pop_front();
            }
        }
        if let Some(bucket) = self.by_name.get_mut(&format!("{}:{major}", rule.name)) {
            bucket.left = bucket.left.saturating_sub(1);
        }
        verdict
    }
}

/// Discord names buckets by an opaque hash.
fn bucket_hash(name: &str) -> String {
    let digest = Sha256::digest(name.as_bytes());
    hex::encode(digest.get(..16).unwrap_or_default())
}

impl Verdict {
    /// The 429, if the request is refused.
    pub(crate) fn refusal(&self) -> Option<Response> {
        let scope = self.refused?;
        // Discord rounds up to milliseconds; never 0, so that a client that obeys gets through.
        let retry_after = self.reset_after.as_secs_f64().max(0.001);
        let body = json!({
            "message": "You are being rate limited.",
            "retry_after": (retry_after * 1_000.0).ceil() / 1_000.0,
            "global": scope == "global",
        });
        let mut response = json_response(StatusCode::TOO_MANY_REQUESTS, &body);
        let headers = response.headers_mut();
        put(headers, "retry-after", &format!("{}", retry_after.ceil()));
        put(headers, "x-ratelimit-scope", scope);
        if scope == "global" {
            put(headers, "x-ratelimit-global", "true");
        } else {
            self.put_headers(headers);
        }
        Some(response.into_response())
    }

    /// Adds what Discord tells about the bucket.
    pub(crate) fn put_headers(&self, headers: &mut HeaderMap) {
        let remaining = if self.refused.is_some() {
            0
        } else {
            self.remaining
        };
        let now_ms = chrono::Utc::now().timestamp_millis();
        let after_ms = i64::try_from(self.reset_after.as_millis()).unwrap_or(i64::MAX);
        let reset_ms = now_ms.saturating_add(after_ms);
        put(headers, "x-ratelimit-limit", &self.limit.to_string());
        put(headers, "x-ratelimit-remaining", &remaining.to_string());
        let reset = format!("{}.{:03}", reset_ms / 1_000, reset_ms % 1_000);
        put(headers, "x-ratelimit-reset", &reset);
        let after = format!("{:.3}", self.reset_after.as_secs_f64());
        put(headers, "x-ratelimit-reset-after", &after);
        put(headers, "x-ratelimit-bucket", &self.bucket);
    }
}

fn put(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

impl Discord {
    /// Answers the next `n` requests with 429, whatever their bucket says.
    pub fn refuse_next(&self, n: u32) {
        lock(&self.limits).refuse_next = n;
    }

    /// How many requests were refused with 429 so far.
    pub fn rate_limited(&self) -> u64 {
        lock(&self.limits).refusals
    }

    /// Changes how strictly requests are limited.
    pub fn set_rate_limits(&self, mode: RateLimits) {
        lock(&self.limits).mode = mode;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_takes_its_limit_and_refuses_the_next() {
        let mut buckets = Buckets::new(RateLimits::AsDiscord);
        let rule = rule("r", 2, 60_000);
        assert!(buckets.count(rule, "1", false).refused.is_none());
        assert!(buckets.count(rule, "1", false).refused.is_none());
        assert_eq!(buckets.count(rule, "1", false).refused, Some("user"));
        assert!(buckets.count(rule, "2", false).refused.is_none());
    }

    #[test]
    fn more_than_fifty_a_second_are_refused_except_callbacks() {
        let mut buckets = Buckets::new(RateLimits::AsDiscord);
        let rule = rule("r", 1_000, 60_000);
        let refused = (0..60)
            .filter(|_| buckets.count(rule, "1", false).refused == Some("global"))
            .count();
        assert_eq!(refused, 10);
        assert!(buckets.count(rule, "1", true).refused.is_none());
    }

    #[test]
    fn relaxed_never_refuses_unless_a_test_asks() {
        let mut buckets = Buckets::new(RateLimits::Relaxed);
        let rule = rule("r", 1, 60_000);
        assert!((0..100).all(|_| buckets.count(rule, "1", false).refused.is_none()));
        buckets.refuse_next = 1;
        assert_eq!(buckets.count(rule, "1", false).refused, Some("user"));
    }
}
