//! The access token with which CLUES asks IM for nodes.
//!
//! `/usr/local/ec3/auth.dat` holds it; every 5 minutes `refresh_token.py` refreshes it when less
//! than 600 s are left, with the refresh token in `refresh.dat` (grycap/ec3,
//! `refresh_token.py`).

use chrono::TimeDelta;

use super::{Look, Remedy, Seen, Verdict};

/// What IM's refusal of an ended token looks like in CLUES' log.
const REFUSED: &[&str] = &[
    "OIDC auth Token expired",
    "Error trying to decode OIDC auth token",
];

/// When a refresh is overdue: it is done below 10 minutes, tried every 5.
pub const OVERDUE: TimeDelta = TimeDelta::minutes(4);

/// How long after a renewal `refresh.dat` may be missing.
const TRADE: TimeDelta = TimeDelta::minutes(11);

const RENEW: Remedy = Remedy {
    words: "write a new access token into both places of `/usr/local/ec3/auth.dat`, then remove `/usr/local/ec3/refresh.dat`",
    command: Some("token renew"),
};

/// The token has ended: by itself, or as IM says in CLUES' log.
pub fn expired(seen: &Seen) -> Verdict {
    let line = seen.clues.seen().and_then(|clues| clues.last_line(REFUSED));
    match (&seen.token, line) {
        (Look::At(token), line) => match token.ends_at {
            Some(at) if at <= seen.now => {
                let end = format!(
                    "the token in auth.dat ended {}",
                    at.format("%Y-%m-%d %H:%M UTC")
                );
                Verdict::found([end].into_iter().chain(line.map(str::to_owned)), RENEW)
            }
            Some(at) => Verdict::Fine(format!("it ends {}", at.format("%Y-%m-%d %H:%M UTC"))),
            None => match line {
                Some(line) => Verdict::found([line.to_owned()], RENEW),
                None => Verdict::Fine("CLUES' log of the last hour shows no refusal".to_owned()),
            },
        },
        (Look::Failed(_), Some(line)) => Verdict::found([line.to_owned()], RENEW),
        (Look::Failed(why), None) => Verdict::Unknown(why.clone()),
    }
}

/// The token is not refreshed: it comes to its end, or there is nothing to refresh it with.
pub fn refresh_failing(seen: &Seen) -> Verdict {
    seen.token.judge(|token| {
        let Some(refreshed) = token.refreshed_at else {
            let since = token.written_at.map(|at| seen.now - at);
            return match since {
                Some(since) if since < TRADE => Verdict::Fine(format!(
                    "a new token was written {} min ago; refresh.dat appears within 10",
                    since.num_minutes()
                )),
                Some(_) | None => {
                    Verdict::found(["/usr/local/ec3/refresh.dat is missing".to_owned()], RENEW)
                }
            };
        };
        match token.ends_at {
            Some(at) if at - seen.now < OVERDUE => Verdict::found(
                [format!(
                    "the token ends {}, refresh.dat is of {}",
                    at.format("%Y-%m-%d %H:%M UTC"),
                    refreshed.format("%Y-%m-%d %H:%M UTC")
                )],
                RENEW,
            ),
            Some(_) | None => Verdict::Fine(format!(
                "refresh.dat is of {}",
                refreshed.format("%Y-%m-%d %H:%M UTC")
            )),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::super::SeenToken;
    use super::super::tests::{at, clues_of, evidence, well};
    use super::*;

    fn with(ends: Option<i64>, written: i64, refreshed: Option<i64>) -> Seen {
        Seen {
            token: Look::At(SeenToken {
                ends_at: ends.map(at),
                written_at: Some(at(written)),
                refreshed_at: refreshed.map(at),
                refresh_ends_at: None,
            }),
            ..well()
        }
    }

    #[test]
    fn an_ended_token_is_found_by_its_end_or_by_the_line() {
        let seen = with(Some(-1), -90, Some(-90));
        assert!(evidence(&expired(&seen)).contains("ended 2027-01-15 07:59 UTC"));
        assert!(matches!(expired(&with(Some(1), 0, None)), Verdict::Fine(_)));
        let line = "[PLUGIN-IM];ERROR;2027-01-15 08:00:00,000;Error getting infrastructure list: Unauthorized. OIDC auth Token expired.";
        let mut unreadable = with(None, -90, Some(-90));
        assert!(matches!(expired(&unreadable), Verdict::Fine(_)));
        clues_of(&mut unreadable).recent.push(line.to_owned());
        assert_eq!(evidence(&expired(&unreadable)), line);
        unreadable.token = Look::Failed("no way".to_owned());
        assert_eq!(evidence(&expired(&unreadable)), line);
    }

    #[test]
    fn a_line_of_the_time_before_a_renewal_is_no_evidence() {
        let mut renewed = with(Some(50), -1, None);
        let line = "[PLUGIN-IM];ERROR;2027-01-15 07:50:00,000;OIDC auth Token expired";
        clues_of(&mut renewed).recent.push(line.to_owned());
        assert!(matches!(expired(&renewed), Verdict::Fine(_)));
    }

    #[test]
    fn a_refresh_that_is_missing_or_overdue_is_found() {
        for (ends, written, refreshed, found) in [
            (Some(40), -20, Some(-20), false),
            // Below 10 minutes: cron may not have come yet.
            (Some(6), -54, Some(-54), false),
            (Some(3), -57, Some(-57), true),
            (Some(-3), -63, Some(-63), true),
            // Renewed a minute ago, or long ago.
            (Some(59), -1, None, false),
            (Some(40), -20, None, true),
        ] {
            let verdict = refresh_failing(&with(ends, written, refreshed));
            let is_found = matches!(verdict, Verdict::Found { .. });
            assert_eq!(
                is_found, found,
                "{ends:?} {written} {refreshed:?}: {verdict:?}"
            );
        }
    }
}
