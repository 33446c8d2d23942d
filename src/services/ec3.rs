//! EC3's token files on a front end: with the token in `auth.dat`, CLUES asks IM for nodes.
//!
//! `/usr/local/ec3/auth.dat` holds one credential a line; the token stands in two places: on the
//! line with `3.x_oidc_access_token` as `password`, and on that of `InfrastructureManager` as
//! `token`, either in quotes or not. Every 5 minutes cron runs `refresh_token.py`: without
//! `refresh.dat` it trades the access token for a refresh token, else it refreshes when less than
//! 600 s are left. So a renewal writes `auth.dat`, removes `refresh.dat` and waits for a new one.
//! Source: `refresh_token.py` of grycap/clues, read 2026-11.
//!
//! **Invariant:** `auth.dat` has its old or its whole new content at any time, with its owner and
//! mode, and nothing but the two values changes. What changed since it was read is not overwritten.
//!
//! **Invariant:** tokens travel over standard input, never as arguments.

use std::fmt;

use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

use super::frontend::{Frontend, FrontendError, Replaced};

/// The credentials.
pub const AUTH_FILE: &str = "/usr/local/ec3/auth.dat";

/// The refresh token that cron keeps.
pub const REFRESH_FILE: &str = "/usr/local/ec3/refresh.dat";

/// The log of CLUES.
pub const CLUES_LOG: &str = "/var/log/clues2/clues2.log";

/// What CLUES' log says while IM refuses the token.
pub const EXPIRED: &str = "OIDC auth Token expired";

/// The longest `auth.dat`, in bytes.
const MAX_AUTH: usize = 256 * 1024;

/// The longest piece of the log that is searched at once, in bytes.
const LOG_PIECE: u64 = 16 * 1024 * 1024;

/// Prints when the file `$1` changed, in seconds since 1970, and what the clock says.
const AGE: &str = r#"[ -e "$1" ] || exit 66
stat -c %Y -- "$1"
date +%s"#;

/// Prints the size of the file `$1`, and on how many lines between the byte `$2` and that size the
/// text `$3` stands; at most `$4` bytes are looked at.
const COUNT: &str = r#"[ -e "$1" ] || { echo 0; echo 0; exit 0; }
size=$(stat -c %s -- "$1")
from=$2
[ "$from" -le "$size" ] || from=0
[ $((size - from)) -le "$4" ] || from=$((size - $4))
echo "$size"
tail -c +"$((from + 1))" -- "$1" | head -c "$((size - from))" | grep -a -c -F -e "$3" || true"#;

/// `EX_NOINPUT` of sysexits.h: what our scripts answer for a missing file.
const NO_INPUT: i32 = 66;

/// Why the token files could not be used.
#[derive(Debug, thiserror::Error)]
pub enum Ec3Error {
    /// The front end.
    #[error(transparent)]
    Frontend(#[from] FrontendError),
    /// `auth.dat` is not as EC3 writes it.
    #[error("{AUTH_FILE} is not as EC3 writes it: {what}")]
    NotEc3 {
        /// What is missing.
        what: &'static str,
    },
    /// Somebody wrote it since it was read; nothing was changed.
    #[error("{AUTH_FILE} was changed by somebody else meanwhile")]
    ChangedMeanwhile,
    /// The token has characters that the file can't carry.
    #[error("the token has characters that {AUTH_FILE} can't carry")]
    BadToken,
    /// A script of ours answered nonsense.
    #[error("the front end's answer about {path} is not understood")]
    NotUnderstood {
        /// The file.
        path: &'static str,
    },
}

impl Ec3Error {
    /// Whether the same call may succeed later without anybody doing something.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Frontend(error) => error.is_transient(),
            Self::ChangedMeanwhile | Self::NotUnderstood { .. } => true,
            Self::NotEc3 { .. } | Self::BadToken => false,
        }
    }

    /// What a person can do.
    pub fn hint(&self) -> String {
        match self {
            Self::Frontend(error) => error.hint().to_owned(),
            Self::NotEc3 { .. } => {
                format!(
                    "look at {AUTH_FILE} on the front end; it must have a line with 3.x_oidc_access_token and one of InfrastructureManager"
                )
            }
            Self::ChangedMeanwhile | Self::NotUnderstood { .. } => "retry".to_owned(),
            Self::BadToken => "copy the token again, whole and without spaces".to_owned(),
        }
    }
}

/// `auth.dat`, read. Its text is secret.
#[derive(Clone)]
pub struct AuthFile {
    text: SecretString,
    places: [std::ops::Range<usize>; 2],
}

impl fmt::Debug for AuthFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuthFile")
    }
}

impl AuthFile {
    /// Reads the content of the file.
    ///
    /// # Errors
    /// [`Ec3Error::NotEc3`] when the token does not stand in its two places.
    pub fn parse(text: SecretString) -> Result<Self, Ec3Error> {
        let missing = |what| Ec3Error::NotEc3 { what };
        let raw = text.expose_secret();
        let site = place(raw, "3.x_oidc_access_token", "password")
            .ok_or_else(|| missing("no `password` on a line with 3.x_oidc_access_token"))?;
        let im = place(raw, "InfrastructureManager", "token")
            .ok_or_else(|| missing("no `token` on a line of InfrastructureManager"))?;
        let places = [site, im];
        Ok(Self { text, places })
    }

    /// The token that CLUES shows to IM.
    pub fn token(&self) -> SecretString {
        self.at(1)
    }

    /// The token that IM shows to the site.
    pub fn site_token(&self) -> SecretString {
        self.at(0)
    }

    fn at(&self, index: usize) -> SecretString {
        let place = self.places.get(index).cloned().unwrap_or_default();
        let text = self.text.expose_secret().get(place);
        SecretString::from(text.unwrap_or_default())
    }

    /// Whether this token stands in both places.
    pub fn has(&self, token: &SecretString) -> bool {
        let token = token.expose_secret();
        [0, 1]
            .into_iter()
            .all(|index| self.at(index).expose_secret() == token)
    }

    /// The same file with this token in both places.
    ///
    /// # Errors
    /// [`Ec3Error::BadToken`] for what is not a token.
    pub fn with(&self, token: &SecretString) -> Result<Self, Ec3Error> {
        let token = token.expose_secret();
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        if token.is_empty() || !token.bytes().all(allowed) {
            return Err(Ec3Error::BadToken);
        }
        let mut text = self.text.expose_secret().to_owned();
        let mut places: Vec<_> = self.places.to_vec();
        // From behind, so that the first place stays where it is.
        places.sort_by_key(|place| std::cmp::Reverse(place.start));
        for place in places {
            text.replace_range(place, token);
        }
        Self::parse(SecretString::from(text))
    }

    fn digest(&self) -> String {
        hex::encode(Sha256::digest(self.text.expose_secret().as_bytes()))
    }
}

/// Where the value of `key` stands on the first line with `mark` that has one, without quotes.
/// A `;` inside quotes does not end a value.
fn place(text: &str, mark: &str, key: &str) -> Option<std::ops::Range<usize>> {
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        if line.contains(mark)
            && let Some(found) = value_on(line, key)
        {
            return Some(start + found.start..start + found.end);
        }
        start += line.len();
    }
    None
}

fn value_on(line: &str, key: &str) -> Option<std::ops::Range<usize>> {
    let mut from = 0;
    for field in fields(line) {
        let to = from + field.len();
        if let Some((name, value)) = field.split_once('=')
            && name.trim() == key
        {
            let value_from = to - value.len() + (value.len() - value.trim_start().len());
            let value = value.trim();
            let quote = value.chars().next().filter(|c| matches!(c, '\'' | '"'));
            let inner = quote.and_then(|quote| value.get(1..)?.strip_suffix(quote));
            return Some(match inner {
                Some(inner) => value_from + 1..value_from + 1 + inner.len(),
                None => value_from..value_from + value.len(),
            });
        }
        from = to + 1;
    }
    None
}

/// The fields of a line, parted by `;` outside of quotes.
fn fields(line: &str) -> Vec<&str> {
    let mut fields = Vec::new();
    let mut quote = None;
    let mut from = 0;
    for (at, c) in line.char_indices() {
        match (quote, c) {
            (None, '\'' | '"') => quote = Some(c),
            (Some(open), _) if open == c => quote = None,
            (None, ';') => {
                fields.extend(line.get(from..at));
                from = at + 1;
            }
            _ => {}
        }
    }
    fields.extend(line.get(from..));
    fields
}

/// How often a text stands in the log of CLUES.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogCount {
    /// The size of the log, from which to count the next time.
    pub size: u64,
    /// The lines between.
    pub lines: u64,
}

/// The token files of one front end.
#[derive(Clone, Copy, Debug)]
pub struct Ec3<'a>(&'a Frontend);

impl<'a> Ec3<'a> {
    /// Of this front end.
    pub fn of(frontend: &'a Frontend) -> Self {
        Self(frontend)
    }

    /// Reads `auth.dat`.
    ///
    /// # Errors
    /// [`Ec3Error`].
    pub async fn auth(&self) -> Result<AuthFile, Ec3Error> {
        let bytes = self.0.read_from(AUTH_FILE, 0, MAX_AUTH).await?;
        let not_text = |_| Ec3Error::NotEc3 {
            what: "it is not text",
        };
        AuthFile::parse(SecretString::from(
            String::from_utf8(bytes).map_err(not_text)?,
        ))
    }

    /// Writes `auth.dat` if it still is what was read before.
    ///
    /// # Errors
    /// [`Ec3Error::ChangedMeanwhile`] if it is not; nothing was changed then.
    pub async fn write(&self, old: &AuthFile, new: &AuthFile) -> Result<(), Ec3Error> {
        let bytes = new.text.expose_secret().as_bytes();
        match self.0.replace(AUTH_FILE, &old.digest(), bytes).await? {
            Replaced::Done => Ok(()),
            Replaced::ChangedMeanwhile => Err(Ec3Error::ChangedMeanwhile),
        }
    }

    /// When the refresh token was written, by the front end's clock and brought to ours; `None`
    /// if there is none.
    ///
    /// # Errors
    /// [`Ec3Error`].
    pub async fn refreshed_at(
        &self,
        now: DateTime<Utc>,
    ) -> Result<Option<DateTime<Utc>>, Ec3Error> {
        let args = ["sudo", "sh", "-c", AGE, "age", REFRESH_FILE];
        let output = self.0.run(&args).await?;
        if output.status == NO_INPUT {
            return Ok(None);
        }
        let [changed, there] = numbers(&output.text(), REFRESH_FILE)?;
        Ok(Some(now - chrono::TimeDelta::seconds(there - changed)))
    }

    /// The refresh token that cron keeps; `None` if there is none, or it is no text.
    ///
    /// # Errors
    /// [`Ec3Error`].
    pub async fn refresh_token(&self) -> Result<Option<SecretString>, Ec3Error> {
        match self.0.read_from(REFRESH_FILE, 0, MAX_AUTH).await {
            Ok(bytes) => {
                let text = String::from_utf8(bytes).ok();
                let text = text.map(|text| text.trim().to_owned());
                Ok(text.filter(|text| !text.is_empty()).map(SecretString::from))
            }
            Err(FrontendError::NoSuchFile { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes the refresh token, so that cron trades the access token for a new one.
    ///
    /// # Errors
    /// [`Ec3Error`].
    pub async fn forget_refresh_token(&self) -> Result<(), Ec3Error> {
        Ok(self.0.remove(REFRESH_FILE).await?)
    }

    /// Counts the lines of the log, from a byte on, that say that the token is expired.
    ///
    /// # Errors
    /// [`Ec3Error`].
    pub async fn expired_lines(&self, from: u64) -> Result<LogCount, Ec3Error> {
        let (from, most) = (from.to_string(), LOG_PIECE.to_string());
        let args = [
            "sudo", "sh", "-c", COUNT, "count", CLUES_LOG, &from, EXPIRED, &most,
        ];
        let output = self.0.run_ok(&args, &[]).await?;
        let [size, lines] = numbers(&output.text(), CLUES_LOG)?;
        let natural = |number: i64| {
            u64::try_from(number).map_err(|_negative| Ec3Error::NotUnderstood { path: CLUES_LOG })
        };
        Ok(LogCount {
            size: natural(size)?,
            lines: natural(lines)?,
        })
    }
}

fn numbers(text: &str, path: &'static str) -> Result<[i64; 2], Ec3Error> {
    let numbers: Option<Vec<i64>> = text.lines().map(|line| line.trim().parse().ok()).collect();
    numbers
        .and_then(|numbers| numbers.try_into().ok())
        .ok_or(Ec3Error::NotUnderstood { path })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &str = "id = im; type = InfrastructureManager; token = old.tok-en\n\
        id = egi; type = OpenStack; auth_version = 3.x_oidc_access_token; password = old.tok-en; vo = vo.pangeo.eu\n";

    fn parse(text: &str) -> Result<AuthFile, Ec3Error> {
        AuthFile::parse(SecretString::from(text))
    }

    fn renewed(text: &str) -> String {
        let new = parse(text).unwrap().with(&"n.e_w".into()).unwrap();
        new.text.expose_secret().to_owned()
    }

    #[test]
    fn both_places_are_found_and_nothing_else_changes() {
        let old = parse(PLAIN).unwrap();
        assert_eq!(old.token().expose_secret(), "old.tok-en");
        assert_eq!(old.site_token().expose_secret(), "old.tok-en");
        assert!(old.has(&"old.tok-en".into()) && !old.has(&"new".into()));
        assert_eq!(renewed(PLAIN), PLAIN.replace("old.tok-en", "n.e_w"));
    }

    #[test]
    fn forms_that_people_and_programs_write_survive() {
        let forms = [
            // quoted, in either way, other order, without a final line end
            "id = egi; password = 'OLD'; auth_version = 3.x_oidc_access_token\nid=im;type=InfrastructureManager;token=\"OLD\"",
            // Windows line ends, comments, an empty line, a password of something else
            "# comment\r\n\r\nid = one; type = OpenNebula; password = keep;\r\nid = im; type = InfrastructureManager; token = OLD\r\nid = o; auth_version = 3.x_oidc_access_token; password = OLD\r\n",
            // a quoted semicolon and equals sign before it, a trailing semicolon, spaces
            "id = im; note = 'a;token = x=y'; type = InfrastructureManager; token =   OLD  ;\nauth_version = '3.x_oidc_access_token'; password = OLD;\n",
            // characters of more than one byte before the values
            "id = Zürich€; type = InfrastructureManager; token = OLD\nid = 雲; auth_version = 3.x_oidc_access_token; password = 'OLD'\n",
            // an earlier half of the name
            "id = im; type = InfrastructureManager; mytoken = keep; token = OLD\nmy password = keep; password = OLD; auth_version = 3.x_oidc_access_token\n",
        ];
        for form in forms {
            assert_eq!(renewed(form), form.replace("OLD", "n.e_w"), "{form}");
        }
    }

    #[test]
    fn a_file_without_one_of_the_places_is_refused() {
        for text in [
            "",
            "id = im; type = InfrastructureManager; token = a\n",
            "id = egi; auth_version = 3.x_oidc_access_token; password = a\n",
            "id = im; type = InfrastructureManager; username = a\nid = egi; auth_version = 3.x_oidc_access_token; password = a\n",
        ] {
            assert!(
                matches!(parse(text), Err(Ec3Error::NotEc3 { .. })),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_token_never_gets_into_the_file() {
        let old = parse(PLAIN).unwrap();
        for bad in ["", "a b", "a;b", "a'b", "a\nid = x", "ä", "a=b"] {
            let refused = old.with(&bad.into());
            assert!(matches!(refused, Err(Ec3Error::BadToken)), "{bad:?}");
        }
        assert!(!format!("{old:?}").contains("old"));
    }

    #[test]
    fn answers_of_the_scripts_are_two_numbers() {
        assert_eq!(numbers("12\n3\n", CLUES_LOG).unwrap(), [12, 3]);
        for bad in ["", "1", "1\n2\n3", "a\n1", "99999999999999999999\n1"] {
            assert!(numbers(bad, CLUES_LOG).is_err(), "{bad:?}");
        }
    }
}
