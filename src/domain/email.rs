//! E-mail addresses.

use crate::domain::names::HostName;

/// Whether a text is an e-mail address as Let's Encrypt takes it: ASCII, `local@domain`, at most
/// 254 characters (RFC 5321, section 4.5.3.1, without quoted local parts).
pub fn is_email(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'%' | b'+' | b'-');
    text.len() <= 254
        && text.split_once('@').is_some_and(|(local, domain)| {
            (1..=64).contains(&local.len())
                && local.bytes().all(plain)
                && !local.starts_with(['.', '-'])
                && HostName::parse(&domain.to_ascii_lowercase()).is_ok()
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_from_other_texts() {
        assert!(is_email("a.b+c@Example.org"));
        for bad in [
            "",
            "@",
            "a@b",
            "a b@c.eu",
            "a@b.eu\n",
            "a@@b.eu",
            ".a@b.eu",
            "ä@b.eu",
            "a@b.eu;id",
        ] {
            assert!(!is_email(bad), "{bad:?} was accepted");
        }
    }
}
