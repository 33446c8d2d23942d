//! EC3's token files on a front end, and what cron's `refresh_token.py` and CLUES make of them.
//!
//! Source: `refresh_token.py` and the IM plugin of CLUES (grycap/clues). The script reads the token
//! from `auth.dat`; without `refresh.dat` it trades it for a refresh token, else it refreshes when
//! less than 600 s are left. Like the real one it writes `auth.dat` in place, without quotes.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use chrono::Utc;

use super::FrontEnds;
use super::shared::Shared;
use crate::checkin::Checkin;

/// A refresh token that Check-in does not take.
const WORTHLESS: &str = "refresh-token-that-expired";

/// With fewer seconds left, `refresh_token.py` refreshes.
const REFRESH_BELOW_S: i64 = 600;

/// CLUES looks so many times as often as cron runs the script.
const LOOKS_PER_REFRESH: u32 = 4;

/// How the tokens of front ends live.
#[derive(Clone)]
pub struct Ec3Options {
    /// Who gives out tokens.
    pub checkin: Arc<Checkin>,
    /// Whose tokens they are.
    pub user: String,
    /// The pause of cron: five minutes of simulated time.
    pub refresh_every: Duration,
}

impl std::fmt::Debug for Ec3Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ec3Options")
            .field("user", &self.user)
            .field("refresh_every", &self.refresh_every)
            .finish_non_exhaustive()
    }
}

/// The content of a new `auth.dat`.
pub(super) fn auth_dat(token: &str) -> String {
    format!(
        "id = im; type = InfrastructureManager; token = {token}\n\
         id = egi; type = OpenStack; host = https://sandbox.egi.eu:5000; username = egi.eu; \
         tenant = openid; auth_version = 3.x_oidc_access_token; password = '{token}'; \
         vo = vo.pangeo.eu\n"
    )
}

/// What runs on all front ends: cron and CLUES.
pub(super) async fn run(shared: Arc<Shared>, options: Ec3Options) {
    let mut look = tokio::time::interval(options.refresh_every / LOOKS_PER_REFRESH);
    let mut looks = 0_u32;
    loop {
        look.tick().await;
        let folders: Vec<PathBuf> = shared
            .saved
            .read()
            .clusters
            .values()
            .filter(|cluster| cluster.configured)
            .map(|cluster| shared.options.state_dir.join(&cluster.folder).join("data"))
            .collect();
        for data in folders {
            if looks.is_multiple_of(LOOKS_PER_REFRESH)
                && let Err(error) = refresh(&options.checkin, &data)
            {
                tracing::debug!(error = format!("{error:#}"), "refresh_token.py failed");
            }
            if let Err(error) = clues_looks(&options.checkin, &data) {
                tracing::debug!(error = format!("{error:#}"), "CLUES could not look");
            }
        }
        looks = looks.wrapping_add(1);
    }
}

/// One run of `refresh_token.py`.
fn refresh(checkin: &Checkin, data: &Path) -> anyhow::Result<()> {
    let (auth, refresh) = (auth_file(data), refresh_file(data));
    let text = fs::read_to_string(&auth)?;
    let token = token_in(&text).context("auth.dat has no token")?;
    let new = match fs::read_to_string(&refresh) {
        Err(_missing) => {
            let (access, refresh_token) = checkin
                .exchange(&token)?
                .context("Check-in trades no refresh token for this access token")?;
            fs::write(&refresh, refresh_token)?;
            fs::set_permissions(&refresh, fs::Permissions::from_mode(0o600))?;
            access
        }
        Ok(refresh_token) => {
            let left = checkin
                .read_token(&token)
                .map(|claims| claims.exp - Utc::now().timestamp());
            if left.is_none_or(|left| left >= REFRESH_BELOW_S) {
                return Ok(());
            }
            checkin
                .refresh(refresh_token.trim())?
                .context("Check-in refuses the refresh token")?
        }
    };
    fs::write(&auth, with_token(&text, &new)).context("write auth.dat")
}

/// CLUES asks IM for its infrastructure; with an expired token IM says so.
fn clues_looks(checkin: &Checkin, data: &Path) -> anyhow::Result<()> {
    let text = fs::read_to_string(auth_file(data))?;
    let expired = clues_token_in(&text)
        .and_then(|token| checkin.read_token(&token))
        .is_some_and(|claims| claims.exp <= Utc::now().timestamp());
    if !expired {
        return Ok(());
    }
    let now = Utc::now().format("%Y-%m-%d %H:%M:%S,%3f");
    let line = format!(
        "[PLUGIN-IM];ERROR;{now};Error getting infrastructure list: Unauthorized. \
         Invalid InfrastructureManager credentials. OIDC auth Token expired..\n"
    );
    let log = data.join("var/log/clues2/clues2.log");
    let mut log = fs::OpenOptions::new().append(true).open(log)?;
    Ok(log.write_all(line.as_bytes())?)
}

/// The token that the script reads: that of the first line that has one.
fn token_in(text: &str) -> Option<String> {
    text.lines().find_map(|line| {
        field(line, "OpenStack", "password = ")
            .or_else(|| field(line, "InfrastructureManager", "token = "))
    })
}

/// The token that CLUES shows to IM.
pub(super) fn clues_token_in(text: &str) -> Option<String> {
    field(text, "InfrastructureManager", "token = ")
}

/// The value after `name` on the first line that has `mark`, without quotes.
fn field(text: &str, mark: &str, name: &str) -> Option<String> {
    let line = text.lines().find(|line| line.contains(mark))?;
    let (_, value) = line.split_once(name)?;
    let value = value.split(';').next()?.trim();
    Some(value.trim_matches('\'').to_owned())
}

/// The text with the token in its two places, unquoted as the script writes it.
fn with_token(text: &str, token: &str) -> String {
    let line = |line: &str| {
        let name = if line.contains("3.x_oidc_access_token") {
            "password = "
        } else if line.contains("InfrastructureManager") {
            "token = "
        } else {
            return line.to_owned();
        };
        let Some((before, after)) = line.split_once(name) else {
            return line.to_owned();
        };
        let rest = after.find(';').and_then(|at| after.get(at..));
        format!("{before}{name}{token}{}", rest.unwrap_or_default())
    };
    text.lines().map(|text| line(text) + "\n").collect()
}

fn auth_file(data: &Path) -> PathBuf {
    data.join("usr-local/ec3/auth.dat")
}

fn refresh_file(data: &Path) -> PathBuf {
    data.join("usr-local/ec3/refresh.dat")
}

impl FrontEnds {
    /// `auth.dat` of a front end, as it is now.
    ///
    /// # Errors
    /// When there is no such front end.
    pub fn auth_dat(&self, infrastructure: &str) -> anyhow::Result<String> {
        let file = auth_file(&self.data(infrastructure)?);
        fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))
    }

    /// The refresh token that cron keeps, if there is one.
    ///
    /// # Errors
    /// When there is no such front end.
    pub fn refresh_dat(&self, infrastructure: &str) -> anyhow::Result<Option<String>> {
        let file = refresh_file(&self.data(infrastructure)?);
        Ok(fs::read_to_string(file).ok())
    }

    /// Puts an access token into both places of `auth.dat`, and a refresh token that nobody takes
    /// into `refresh.dat`: what a front end looks like that nobody renewed in time.
    ///
    /// # Errors
    /// When there is no such front end.
    pub fn leave_with_token(&self, infrastructure: &str, token: &str) -> anyhow::Result<()> {
        let data = self.data(infrastructure)?;
        fs::write(refresh_file(&data), WORTHLESS)?;
        let text = self.auth_dat(infrastructure)?;
        fs::write(auth_file(&data), with_token(&text, token)).context("write auth.dat")
    }

    /// Puts an access token into both places of `auth.dat` and removes `refresh.dat`, as a person
    /// does who renews by hand.
    ///
    /// # Errors
    /// When there is no such front end.
    pub fn renew_by_hand(&self, infrastructure: &str, token: &str) -> anyhow::Result<()> {
        let data = self.data(infrastructure)?;
        let text = self.auth_dat(infrastructure)?;
        fs::write(auth_file(&data), with_token(&text, token)).context("write auth.dat")?;
        match fs::remove_file(refresh_file(&data)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).context("remove refresh.dat")
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Whether the refresh token of a front end is one that Check-in does not take.
    pub fn is_unrefreshed(&self, infrastructure: &str) -> bool {
        let token = self.refresh_dat(infrastructure).ok().flatten();
        token.as_deref() == Some(WORTHLESS)
    }

    /// The token of a front end's `auth.dat`, as CLUES shows it to IM.
    ///
    /// # Errors
    /// When there is no such front end.
    pub fn clues_token(&self, infrastructure: &str) -> anyhow::Result<Option<String>> {
        let text = self.auth_dat(infrastructure)?;
        Ok(clues_token_in(&text))
    }

    fn data(&self, infrastructure: &str) -> anyhow::Result<PathBuf> {
        let folder = self
            .shared
            .look(infrastructure, |cluster| cluster.folder.clone())
            .with_context(|| format!("no front end of {infrastructure}"))?;
        Ok(self.shared.options.state_dir.join(folder).join("data"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_finds_and_replaces_both_places() {
        let text = auth_dat("old");
        assert_eq!(token_in(&text).as_deref(), Some("old"));
        let new = with_token(&text, "new");
        assert_eq!(new.matches("new").count(), 2);
        assert!(!new.contains("old") && new.contains("password = new; vo = vo.pangeo.eu\n"));
    }
}
