//! The credentials for a registry that `docker login` and its kin have left in the Docker configuration.

use std::{collections::BTreeMap, env, fs, path::PathBuf};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use oci_client::secrets::RegistryAuth;
use serde::Deserialize;

#[derive(Deserialize)]
struct Configuration {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
}

#[derive(Deserialize)]
struct Entry {
    auth: Option<String>,
}

/// The credentials for `registry`, from `config.json` in `$DOCKER_CONFIG` or `~/.docker`; anonymous where there are none.
pub(super) fn find(registry: &str) -> RegistryAuth {
    let folder = env::var_os("DOCKER_CONFIG")
        .map(PathBuf::from)
        .or_else(|| env::home_dir().map(|home| home.join(".docker")));
    folder
        .and_then(|folder| fs::read(folder.join("config.json")).ok())
        .and_then(|file| of_configuration(&file, registry))
        .unwrap_or(RegistryAuth::Anonymous)
}

fn of_configuration(file: &[u8], registry: &str) -> Option<RegistryAuth> {
    let configuration: Configuration = serde_json::from_slice(file).ok()?;
    let entry = configuration
        .auths
        .into_iter()
        .find_map(|(address, entry)| (host(&address) == registry).then_some(entry));
    let decoded = String::from_utf8(STANDARD.decode(entry?.auth?).ok()?).ok()?;
    let (user, password) = decoded.split_once(':')?;
    Some(RegistryAuth::Basic(user.to_owned(), password.to_owned()))
}

/// The host of an entry, which may be written as an address (`https://index.docker.io/v1/`).
fn host(address: &str) -> &str {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    rest.split_once('/').map_or(rest, |(host, _)| host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_found_by_its_host_whichever_way_it_is_written() {
        let file = br#"{"auths": {"https://index.docker.io/v1/": {"auth": "YTpiOmM="}, "registry:5000": {}}}"#;
        let expected = RegistryAuth::Basic("a".to_owned(), "b:c".to_owned());
        assert_eq!(of_configuration(file, "index.docker.io"), Some(expected));
        assert_eq!(of_configuration(file, "registry:5000"), None);
        assert_eq!(of_configuration(file, "registry"), None);
        assert_eq!(of_configuration(b"{", "registry"), None);
    }
}
