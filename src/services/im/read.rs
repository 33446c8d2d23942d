//! What IM says in plain text: addresses of infrastructures and machines, and RADL.

use super::error::ImError;
use super::not_understood;
use crate::domain::names::InfrastructureId;

/// The id at the end of `…/infrastructures/<id>`.
pub(super) fn id_from_uri(call: &'static str, uri: &str) -> Result<InfrastructureId, ImError> {
    uri.rsplit_once("/infrastructures/")
        .and_then(|(_, id)| InfrastructureId::parse(id).ok())
        .ok_or_else(|| not_understood(call, "not the URI of an infrastructure"))
}

/// The numbers at the ends of a list of `…/vms/<n>`.
pub(super) fn vm_numbers(call: &'static str, uris: &str) -> Result<Vec<u32>, ImError> {
    uris.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .map(|uri| {
            uri.rsplit_once("/vms/")
                .and_then(|(_, n)| n.parse().ok())
                .ok_or_else(|| not_understood(call, "not the URI of a VM"))
        })
        .collect()
}

/// The name in `description desc (name = 'geo')`, as IM writes it when it renders RADL.
pub(super) fn name_in_radl(radl: &str) -> Option<String> {
    let rest = radl.lines().find_map(|line| {
        let line = line.trim_start();
        line.starts_with("description ").then_some(line)
    })?;
    let (_, rest) = rest.split_once("name = '")?;
    rest.split_once('\'').map(|(name, _)| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_come_from_uris() {
        let id = |uri| id_from_uri("GET", uri).map(|id| id.to_string());
        assert_eq!(
            id("http://127.0.0.1:8800/infrastructures/1624dc60-e7ee").unwrap(),
            "1624dc60-e7ee"
        );
        assert!(id("<html>").is_err());
        assert!(id("http://x/infrastructures/a%2Fb").is_err());
        assert_eq!(
            vm_numbers("GET", "http://x/im/infrastructures/a/vms/0\nhttp://x/vms/2").unwrap(),
            [0, 2]
        );
        assert!(vm_numbers("GET", "nonsense").is_err());
    }

    #[test]
    fn the_name_of_a_radl_is_found() {
        let radl = "description desc (name = 'geo-1')\nnetwork public_net ( outbound = 'yes' )";
        assert_eq!(name_in_radl(radl).as_deref(), Some("geo-1"));
        assert_eq!(name_in_radl("system front (\nname = 'x'\n)"), None);
    }
}
