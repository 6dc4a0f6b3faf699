//! The CAs' Secrets in *system*: read, or made where there is none, and never replaced.

use std::time::SystemTime;

use k8s_openapi::api::core::v1::Secret;
use kite_api::{identity as names, labels};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};

use super::{
    Identity,
    authority::{Authority, AuthorityError, Purpose},
    certificate::Certified,
};

/// Type of a Secret that holds a certificate and its key.
pub const TLS: &str = "kubernetes.io/tls";

/// Why the identity is not complete.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    #[error("failed to read Secret {0}")]
    Read(String, #[source] Box<kube::Error>),
    #[error("failed to make Secret {0}")]
    Make(String, #[source] Box<kube::Error>),
    #[error("failed to write Secret {0}")]
    Write(String, #[source] Box<kube::Error>),
    #[error("failed to read Service {0}")]
    ReadService(&'static str, #[source] Box<kube::Error>),
    #[error(
        "failed to use the CA in Secret {0}; it is not replaced, because every certificate that it issued would be \
         void: restore it, or delete the Secret to have a new CA made at the operator's next start"
    )]
    Unusable(&'static str, #[source] AuthorityError),
    #[error("failed to use the CA in Secret {0}: it lacks tls.crt or tls.key; restore it, or delete the Secret")]
    Incomplete(&'static str),
    #[error("failed to issue a certificate")]
    Issue(#[source] AuthorityError),
}

/// The CAs of the installation in namespace `system`.
pub async fn load_or_make(client: &Client, system: &str) -> Result<Identity, IdentityError> {
    let now = SystemTime::now();
    let servers = authority(client, system, names::SERVERS_CA_SECRET, Purpose::Servers, now).await?;
    let clients = authority(client, system, names::CLIENTS_CA_SECRET, Purpose::Clients, now).await?;
    let serving = authority(client, system, names::SERVING_CA_SECRET, Purpose::Serving, now).await?;
    Identity::new(servers, clients, serving, now).map_err(IdentityError::Issue)
}

/// Puts the CAs' Secrets back, as they are in memory, where somebody deleted them.
pub async fn put_back(identity: &Identity, client: &Client, system: &str) -> Result<(), IdentityError> {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), system);
    for (name, authority) in [
        (names::SERVERS_CA_SECRET, &identity.servers),
        (names::CLIENTS_CA_SECRET, &identity.clients),
        (names::SERVING_CA_SECRET, &identity.serving),
    ] {
        let exists = secrets
            .get_metadata_opt(name)
            .await
            .map_err(|error| IdentityError::Read(name.into(), error.into()))?;
        if exists.is_none() {
            make(&secrets, name, authority).await?;
        }
    }
    Ok(())
}

async fn authority(
    client: &Client,
    system: &str,
    name: &'static str,
    purpose: Purpose,
    now: SystemTime,
) -> Result<Authority, IdentityError> {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), system);
    let read = async || {
        secrets
            .get_opt(name)
            .await
            .map_err(|error| IdentityError::Read(name.into(), error.into()))
    };
    if let Some(existing) = read().await? {
        return of_secret(&existing, name, purpose, now);
    }
    let made = Authority::create(purpose, now).map_err(IdentityError::Issue)?;
    make(&secrets, name, &made).await?;
    // Another replica may have been quicker; whose CA stands in the cluster is everybody's.
    match read().await? {
        Some(existing) => of_secret(&existing, name, purpose, now),
        None => Ok(made),
    }
}

fn of_secret(
    secret: &Secret,
    name: &'static str,
    purpose: Purpose,
    now: SystemTime,
) -> Result<Authority, IdentityError> {
    let certified = secret
        .data
        .as_ref()
        .and_then(Certified::of_data)
        .ok_or(IdentityError::Incomplete(name))?;
    Authority::read(purpose, certified, now).map_err(|error| IdentityError::Unusable(name, error))
}

/// Creates, and never overwrites.
async fn make(secrets: &Api<Secret>, name: &str, authority: &Authority) -> Result<(), IdentityError> {
    let secret = Secret {
        metadata: metadata(name),
        type_: Some(TLS.to_owned()),
        data: Some(authority.certified().clone().into_data()),
        ..Secret::default()
    };
    let params = PostParams {
        field_manager: Some(labels::OPERATOR.to_owned()),
        ..PostParams::default()
    };
    match secrets.create(&params, &secret).await {
        Ok(_) => {
            tracing::info!(secret = name, "made a CA");
            Ok(())
        }
        Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(()),
        Err(error) => Err(IdentityError::Make(name.to_owned(), error.into())),
    }
}

/// Metadata of the Secrets that the operator keeps in *system*.
pub(super) fn metadata(name: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        labels: Some([(labels::MANAGED_BY.to_owned(), labels::OPERATOR.to_owned())].into()),
        ..ObjectMeta::default()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use k8s_openapi::ByteString;

    use super::*;

    #[test]
    fn a_secret_that_is_no_ca_is_an_error_and_not_a_new_ca() {
        let read = |data| {
            of_secret(
                &Secret {
                    data,
                    ..Secret::default()
                },
                "s",
                Purpose::Servers,
                SystemTime::now(),
            )
            .map(|_| ())
        };
        assert!(matches!(read(None), Err(IdentityError::Incomplete("s"))));
        let garbage = ["tls.crt", "tls.key"].map(|key| (key.to_owned(), ByteString(b"garbage".to_vec())));
        assert!(matches!(
            read(Some(BTreeMap::from(garbage))),
            Err(IdentityError::Unusable("s", AuthorityError::Pair))
        ));
    }
}
