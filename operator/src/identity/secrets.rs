//! The CAs' Secrets in *system*: made where there is none, mended where nothing is lost, and never replaced.

use std::{sync::Arc, time::SystemTime};

use k8s_openapi::api::core::v1::{ObjectReference, Secret};
use kite_api::{identity as names, labels};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{ObjectMeta, Patch, PatchParams, PostParams},
};

use super::{
    authority::{Authority, AuthorityError, Purpose},
    kept::{self, Cas, Kept, KeptError},
    lives::Lives,
    rotation::{Next, Rotation},
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
        "failed to use the CA in Secret {}; it is not replaced, because every certificate that it issued would be void: restore it, or \
         delete the Secret to have a new CA made", .0.name.as_deref().unwrap_or_default()
    )]
    Unusable(Box<ObjectReference>, #[source] KeptError),
    #[error("failed to make a CA")]
    Create(#[source] AuthorityError),
    #[error("failed to issue a certificate")]
    Issue(#[source] AuthorityError),
}

/// All of them.
pub const PURPOSES: [Purpose; 3] = [Purpose::Servers, Purpose::Clients, Purpose::Serving];

impl Purpose {
    /// The Secret of its CA.
    pub fn secret(self) -> &'static str {
        match self {
            Self::Servers => names::SERVERS_CA_SECRET,
            Self::Clients => names::CLIENTS_CA_SECRET,
            Self::Serving => names::SERVING_CA_SECRET,
        }
    }

    /// What figures call its CA.
    pub fn metric(self) -> &'static str {
        match self {
            Self::Servers => "plugins-ca",
            Self::Clients => "clients-ca",
            Self::Serving => "serving-ca",
        }
    }
}

/// What was done about a Secret that was not as it was left.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Mended {
    /// What was no good in it, beside the CA that issues, was taken out or set anew.
    Cleaned(Vec<&'static str>),
    /// The CA that issues was no good, and put back from memory.
    Restored(String),
    /// Another CA was put in its place, and becomes the next.
    Brought,
}

/// What a CA's Secret keeps.
#[derive(Clone, Debug)]
pub struct Found {
    pub cas: Cas,
    pub requested: bool,
    pub reference: ObjectReference,
    pub mended: Option<Mended>,
    version: Option<String>,
}

/// The CAs' Secrets of an installation.
#[derive(Clone, Debug)]
pub struct Store {
    secrets: Api<Secret>,
    lives: Lives,
}

impl Store {
    pub fn new(client: &Client, system: &str, lives: Lives) -> Self {
        Self {
            secrets: Api::namespaced(client.clone(), system),
            lives,
        }
    }

    /// Whether all CAs exist; one that could not be used is an error.
    pub async fn exist(&self) -> Result<bool, IdentityError> {
        for purpose in PURPOSES {
            let Some(secret) = self.get(purpose).await? else {
                return Ok(false);
            };
            self.read(&secret, purpose)?;
        }
        Ok(true)
    }

    /// The CAs for `purpose`, which were `known` to be so when they were last looked at. Where there is no Secret it is made; where it is not as
    /// it was left it is mended, if nothing is lost by that.
    pub async fn load(&self, purpose: Purpose, known: Option<&Cas>) -> Result<Found, IdentityError> {
        let secret = match self.get(purpose).await? {
            Some(secret) => secret,
            None => self.make(purpose, known).await?,
        };
        let reference = secret.object_ref(&());
        let version = secret.resource_version();
        let (cas, requested, mended) = mended(self.read(&secret, purpose), known)?;
        let found = Found {
            cas,
            requested,
            reference,
            mended,
            version,
        };
        if found.mended.is_none() {
            return Ok(found);
        }
        let written = self.write(purpose, &found, &found.cas, false).await?;
        let version = written.resource_version();
        Ok(Found { version, ..found })
    }

    /// Has what was `found` be `cas` from now on, unless somebody else has changed it since, which is an error. `granted`: somebody asked for
    /// another CA, and gets it.
    pub async fn write(
        &self,
        purpose: Purpose,
        found: &Found,
        cas: &Cas,
        granted: bool,
    ) -> Result<Secret, IdentityError> {
        let name = purpose.secret();
        let params = PatchParams {
            field_manager: Some(labels::OPERATOR.to_owned()),
            ..PatchParams::default()
        };
        let patch = Patch::Merge(kept::patch(found.version.as_deref(), cas, granted));
        let written = self.secrets.patch(name, &params, &patch).await;
        written.map_err(|error| IdentityError::Write(name.into(), error.into()))
    }

    /// A new CA.
    pub fn create(&self, purpose: Purpose, now: SystemTime) -> Result<Arc<Authority>, AuthorityError> {
        Authority::create(purpose, self.lives.authority(purpose), now).map(Arc::new)
    }

    async fn get(&self, purpose: Purpose) -> Result<Option<Secret>, IdentityError> {
        let name = purpose.secret();
        let found = self.secrets.get_opt(name).await;
        found.map_err(|error| IdentityError::Read(name.into(), error.into()))
    }

    fn read(&self, secret: &Secret, purpose: Purpose) -> Result<Kept, IdentityError> {
        kept::read(secret, purpose, &self.lives.rules(purpose), SystemTime::now())
            .map_err(|error| IdentityError::Unusable(secret.object_ref(&()).into(), error))
    }

    /// Makes the Secret, with what is `known` or a new CA, and never overwrites: another replica may have been quicker, and whose CA
    /// stands in the cluster is everybody's.
    async fn make(&self, purpose: Purpose, known: Option<&Cas>) -> Result<Secret, IdentityError> {
        let name = purpose.secret();
        let made = match known {
            Some(known) => known.clone(),
            None => Rotation::of(self.create(purpose, SystemTime::now()).map_err(IdentityError::Create)?),
        };
        let params = PostParams {
            field_manager: Some(labels::OPERATOR.to_owned()),
            ..PostParams::default()
        };
        match self.secrets.create(&params, &kept::secret(name, &made)).await {
            Ok(secret) => {
                let what = if known.is_some() { "put a CA back" } else { "made a CA" };
                tracing::info!(secret = name, what);
                Ok(secret)
            }
            Err(kube::Error::Api(status)) if status.is_already_exists() => {
                let read = self.secrets.get(name).await;
                read.map_err(|error| IdentityError::Read(name.into(), error.into()))
            }
            Err(error) => Err(IdentityError::Make(name.to_owned(), error.into())),
        }
    }
}

/// What the Secret is to keep, whether another CA is asked for, and what was mended, after what was `read` of it and what is `known` of it.
fn mended(
    read: Result<Kept, IdentityError>,
    known: Option<&Cas>,
) -> Result<(Cas, bool, Option<Mended>), IdentityError> {
    let Kept { cas, requested, spoilt } = match (read, known) {
        (Ok(kept), _) => kept,
        (Err(IdentityError::Unusable(_, error)), Some(known)) => {
            return Ok((
                known.clone(),
                false,
                Some(Mended::Restored(kite_api::error_chain(&error))),
            ));
        }
        (Err(error), _) => return Err(error),
    };
    if let Some(known) = known.filter(|known| is_replaced(known, &cas)) {
        let brought = Rotation {
            issuing: Arc::clone(&known.issuing),
            next: Some(Next {
                ca: cas.issuing,
                since: None,
            }),
            old: known.old.clone(),
        };
        return Ok((brought, requested, Some(Mended::Brought)));
    }
    let mended = (!spoilt.is_empty()).then_some(Mended::Cleaned(spoilt));
    Ok((cas, requested, mended))
}

/// Whether somebody has put another CA in the place of the one that issues. Nobody would believe it yet.
fn is_replaced(known: &Cas, now: &Cas) -> bool {
    let is_it = |ca: &Arc<Authority>| ca.certified() == now.issuing.certified();
    !is_it(&known.issuing)
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
    use super::*;
    use crate::identity::tests::cas;

    fn kept(cas: Cas) -> Kept {
        Kept {
            cas,
            requested: false,
            spoilt: Vec::new(),
        }
    }

    fn unusable() -> Result<Kept, IdentityError> {
        Err(IdentityError::Unusable(Box::default(), KeptError::Incomplete))
    }

    #[test]
    fn what_is_as_it_was_left_stays() {
        let known = cas(Purpose::Servers);
        let (cas, _, mended) = mended(Ok(kept(known.clone())), Some(&known)).unwrap();
        assert_eq!((cas.issuing.certified(), mended), (known.issuing.certified(), None));
    }

    #[test]
    fn a_ca_that_is_no_good_is_put_back_from_memory_or_told_and_left() {
        let known = cas(Purpose::Servers);
        let (cas, _, told) = mended(unusable(), Some(&known)).unwrap();
        assert_eq!(cas.issuing.certified(), known.issuing.certified());
        let why = String::from("failed to find tls.crt and tls.key in it");
        assert_eq!(told, Some(Mended::Restored(why)));
        assert!(matches!(mended(unusable(), None), Err(IdentityError::Unusable(..))));
    }

    #[test]
    fn a_ca_that_somebody_put_in_its_place_becomes_the_next_unless_nothing_is_known_of_another() {
        let (known, other) = (cas(Purpose::Servers), cas(Purpose::Servers));
        let (both, _, told) = mended(Ok(kept(other.clone())), Some(&known)).unwrap();
        assert_eq!(both.issuing.certified(), known.issuing.certified());
        assert_eq!(both.next.unwrap().ca.certified(), other.issuing.certified());
        assert_eq!(told, Some(Mended::Brought));
        let (alone, _, told) = mended(Ok(kept(other.clone())), None).unwrap();
        assert_eq!((alone.issuing.certified(), told), (other.issuing.certified(), None));
    }
}
