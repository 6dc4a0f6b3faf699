//! A folder of certificates for a plugin that runs elsewhere, and for the suite that asks it.

use std::{fs, io, os::unix::fs::OpenOptionsExt as _, path::Path, path::PathBuf};

use kite_proto::{CERTIFICATE_FILE, CLIENTS_CA_FILE, KEY_FILE};

use crate::{Authorities, Authority, Certified, Host, IdentityError};

/// The suite's own files, beside those that a plugin reads: the client's certificate and key, the CA of the plugins' servers, and
/// the key of the clients' CA, which need not be there.
const CLIENT_FILE: &str = "client.crt";
const CLIENT_KEY_FILE: &str = "client.key";
const SERVERS_CA_FILE: &str = "servers-ca.crt";
const CLIENTS_CA_KEY_FILE: &str = "clients-ca.key";
/// Who may read a key.
const KEY_MODE: u32 = 0o600;

/// Why there is no folder of certificates.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    #[error("failed to make certificates")]
    Make(#[source] IdentityError),
    #[error("failed to write {path}")]
    Write { path: PathBuf, source: io::Error },
    #[error("failed to read {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("failed to use {path} as the key of the clients' CA")]
    Authority { path: PathBuf, source: IdentityError },
}

/// Writes certificates of these CAs into `folder`: for the plugin called `name`, and for the suite.
pub fn write(folder: &Path, authorities: &Authorities, name: &str) -> Result<(), FolderError> {
    let plugin = authorities.servers.server(name).map_err(FolderError::Make)?;
    let client = authorities.clients.client_certified().map_err(FolderError::Make)?;
    let files = [
        (CERTIFICATE_FILE, plugin.certificate),
        (KEY_FILE, plugin.key),
        (CLIENTS_CA_FILE, authorities.clients.pem()),
        (CLIENT_FILE, client.certificate),
        (CLIENT_KEY_FILE, client.key),
        (SERVERS_CA_FILE, authorities.servers.pem()),
        (CLIENTS_CA_KEY_FILE, authorities.clients.key().to_owned()),
    ];
    let wrote = |path: PathBuf| |source| FolderError::Write { path, source };
    fs::create_dir_all(folder).map_err(wrote(folder.to_owned()))?;
    for (file, text) in files {
        let path = folder.join(file);
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(KEY_MODE);
        let written = options
            .open(&path)
            .and_then(|mut file| io::Write::write_all(&mut file, text.as_bytes()));
        written.map_err(wrote(path))?;
    }
    Ok(())
}

/// Reads who asks from `folder`.
pub fn read(folder: &Path) -> Result<Host, FolderError> {
    let read = |file: &str| {
        let path = folder.join(file);
        fs::read_to_string(&path).map_err(|source| FolderError::Read { path, source })
    };
    let path = folder.join(CLIENTS_CA_KEY_FILE);
    let clients = if path.exists() {
        let authority = Authority::read(&read(CLIENTS_CA_FILE)?, &read(CLIENTS_CA_KEY_FILE)?);
        Some(authority.map_err(|source| FolderError::Authority { path, source })?)
    } else {
        None
    };
    Ok(Host {
        certified: Certified {
            certificate: read(CLIENT_FILE)?,
            key: read(CLIENT_KEY_FILE)?,
        },
        servers_ca: read(SERVERS_CA_FILE)?,
        clients,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let authorities = Authorities::new().unwrap();
        write(folder.path(), &authorities, "hello").unwrap();
        let host = read(folder.path()).unwrap();
        assert_eq!(host.servers_ca, authorities.servers.pem());
        assert_eq!(host.clients.unwrap().pem(), authorities.clients.pem());
    }

    #[test]
    fn the_key_of_the_clients_ca_need_not_be_there_and_all_else_must() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &Authorities::new().unwrap(), "hello").unwrap();
        fs::remove_file(folder.path().join(CLIENTS_CA_KEY_FILE)).unwrap();
        assert!(read(folder.path()).unwrap().clients.is_none());
        fs::write(folder.path().join(CLIENTS_CA_KEY_FILE), "key").unwrap();
        assert!(matches!(read(folder.path()), Err(FolderError::Authority { .. })));
        fs::remove_file(folder.path().join(CLIENT_FILE)).unwrap();
        fs::remove_file(folder.path().join(CLIENTS_CA_KEY_FILE)).unwrap();
        assert!(matches!(read(folder.path()), Err(FolderError::Read { .. })));
    }
}
