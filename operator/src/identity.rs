//! Who is who: the operator's CAs and the certificates that they issue.

pub mod authority;
pub mod certificate;
pub mod gateway;
pub mod keeper;
pub mod kept;
pub mod lives;
pub mod news;
pub mod plugins;
pub mod rotation;
pub mod secrets;
pub mod validity;

use std::{sync::Arc, time::SystemTime};

use kite_api::{PluginName, identity as names};
use tokio::sync::watch;

use self::{
    authority::{AuthorityError, Purpose},
    certificate::{Certified, Names},
    kept::Cas,
    lives::Lives,
};

/// The CAs, and the operator's own client certificate, which exists in memory only.
#[derive(Debug)]
pub struct Identity {
    pub servers: Cas,
    pub clients: Cas,
    pub serving: Cas,
    pub operator: Certified,
    lives: Lives,
}

/// The identity as it is at any time.
#[derive(Clone, Debug)]
pub struct Current(watch::Receiver<Arc<Identity>>);

impl Current {
    /// As it is now. What is done with it is done soon: it changes when CAs do.
    pub fn get(&self) -> Arc<Identity> {
        Arc::clone(&self.0.borrow())
    }

    #[cfg(test)]
    pub(crate) fn always(identity: Identity) -> Self {
        Self(watch::channel(Arc::new(identity)).1)
    }
}

/// For each purpose what is known of it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ByPurpose<T> {
    pub servers: T,
    pub clients: T,
    pub serving: T,
}

impl<T> ByPurpose<T> {
    pub fn of(&self, purpose: Purpose) -> &T {
        match purpose {
            Purpose::Servers => &self.servers,
            Purpose::Clients => &self.clients,
            Purpose::Serving => &self.serving,
        }
    }

    pub fn of_mut(&mut self, purpose: Purpose) -> &mut T {
        match purpose {
            Purpose::Servers => &mut self.servers,
            Purpose::Clients => &mut self.clients,
            Purpose::Serving => &mut self.serving,
        }
    }
}

impl Identity {
    /// The identity that these CAs give. The operator's certificate is `operator`, if it is good for longer.
    pub fn new(
        cas: ByPurpose<Cas>,
        operator: Option<Certified>,
        lives: Lives,
        now: SystemTime,
    ) -> Result<Self, AuthorityError> {
        let ByPurpose {
            servers,
            clients,
            serving,
        } = cas;
        let names = Names::uri("kite-operator", names::OPERATOR_URI);
        let operator = kept_or_issued(&clients, operator, &names, lives, now)?;
        Ok(Self {
            servers,
            clients,
            serving,
            operator,
            lives,
        })
    }

    /// The certificate of `plugin`: `existing`, if it is good for longer, or else a new one.
    pub fn plugin_certificate(
        &self,
        plugin: &PluginName,
        existing: Option<Certified>,
        now: SystemTime,
    ) -> Result<Certified, AuthorityError> {
        kept_or_issued(&self.servers, existing, &plugin_names(plugin), self.lives, now)
    }

    /// What ends when, of what is in memory: the CAs that issue, and the operator's certificate. Of a plugin's and the gateway's their
    /// Secrets tell.
    pub fn ends(&self) -> [(&'static str, Option<SystemTime>); 4] {
        let end = |purpose: Purpose, cas: &Cas| (purpose.metric(), cas.issuing.certified().not_after());
        [
            end(Purpose::Servers, &self.servers),
            end(Purpose::Clients, &self.clients),
            end(Purpose::Serving, &self.serving),
            ("operator-client", self.operator.not_after()),
        ]
    }
}

impl Cas {
    /// The certificates of all that are believed, PEM. Their order is that in which they issue, so that nothing changes for those who
    /// believe when another begins to.
    pub fn trust(&self) -> String {
        let old = self.old.iter().map(|old| old.root.as_str());
        let next = self.next.iter().map(|next| next.ca.certificate());
        let mut all: Vec<&str> = Vec::new();
        for root in old.chain([self.issuing.certificate()]).chain(next) {
            let root = root.trim();
            if !all.contains(&root) {
                all.push(root);
            }
        }
        all.into_iter().flat_map(|root| [root, "\n"]).collect()
    }
}

/// `existing`, if it is good for longer, or else a new certificate for `names`.
fn kept_or_issued(
    cas: &Cas,
    existing: Option<Certified>,
    names: &Names,
    lives: Lives,
    now: SystemTime,
) -> Result<Certified, AuthorityError> {
    let is_kept = |existing: &Certified| cas.issuing.keeps(existing, names, lives.certificate, now);
    match existing.filter(is_kept) {
        Some(existing) => Ok(existing),
        None => cas.issuing.issue(names, lives.certificate, now),
    }
}

/// The DNS name that clients verify, and the URI that people read.
fn plugin_names(plugin: &PluginName) -> Names {
    let mut names = Names::uri(plugin.as_str(), &names::plugin_uri(plugin));
    names.dns.insert(kite_proto::server_name(plugin.as_str()));
    names
}

#[cfg(test)]
pub(crate) mod tests {
    use super::{
        authority::Authority,
        rotation::{Next, Old, Rotation},
        *,
    };

    pub(crate) fn cas(purpose: Purpose) -> Cas {
        let lives = Lives::default();
        let made = Authority::create(purpose, lives.authority(purpose), SystemTime::now());
        Rotation::of(Arc::new(made.unwrap()))
    }

    /// The identity that these CAs for servers give.
    pub(crate) fn identity_of(servers: Cas) -> Identity {
        let cas = ByPurpose {
            servers,
            clients: cas(Purpose::Clients),
            serving: cas(Purpose::Serving),
        };
        Identity::new(cas, None, Lives::default(), SystemTime::now()).unwrap()
    }

    pub(crate) fn identity() -> Identity {
        identity_of(cas(Purpose::Servers))
    }

    fn hello() -> PluginName {
        PluginName::parse("hello").unwrap()
    }

    #[test]
    fn a_plugins_certificate_is_kept_until_it_is_due() {
        let identity = identity();
        let now = SystemTime::now();
        let first = identity.plugin_certificate(&hello(), None, now).unwrap();
        let at = |now| identity.plugin_certificate(&hello(), Some(first.clone()), now).unwrap();
        let life = Lives::default().certificate;
        assert_eq!(at(now + life / 2), first);
        assert_ne!(at(now + life * 7 / 10), first);
    }

    #[test]
    fn another_plugins_certificate_is_replaced() {
        let identity = identity();
        let now = SystemTime::now();
        let other = PluginName::parse("other").unwrap();
        let other = identity.plugin_certificate(&other, None, now).unwrap();
        let own = identity.plugin_certificate(&hello(), Some(other.clone()), now);
        assert_ne!(own.unwrap(), other);
    }

    #[test]
    fn a_certificate_of_an_old_ca_is_replaced_though_it_is_believed() {
        let first = cas(Purpose::Servers);
        let now = SystemTime::now();
        let of_the_first = identity_of(first.clone())
            .plugin_certificate(&hello(), None, now)
            .unwrap();
        let mut second = cas(Purpose::Servers);
        second.old = Some(Old {
            root: first.issuing.certificate().to_owned(),
            until: now,
        });
        let identity = identity_of(second);
        assert!(identity.servers.trust().contains(first.issuing.certificate().trim()));
        let own = identity.plugin_certificate(&hello(), Some(of_the_first.clone()), now);
        assert_ne!(own.unwrap(), of_the_first);
    }

    #[test]
    fn the_operators_certificate_is_kept_as_a_plugins_is() {
        let first = identity();
        let again = |clients: Cas, now| {
            let cas = ByPurpose {
                servers: first.servers.clone(),
                clients,
                serving: first.serving.clone(),
            };
            let operator = Some(first.operator.clone());
            Identity::new(cas, operator, Lives::default(), now).unwrap().operator
        };
        let now = SystemTime::now();
        assert_eq!(again(first.clients.clone(), now), first.operator);
        let later = now + Lives::default().certificate * 7 / 10;
        assert_ne!(again(first.clients.clone(), later), first.operator);
        assert_ne!(again(cas(Purpose::Clients), now), first.operator);
    }

    #[test]
    fn nothing_changes_for_those_who_believe_when_another_ca_begins_to_issue() {
        let (first, second) = (cas(Purpose::Servers).issuing, cas(Purpose::Servers).issuing);
        let before = Rotation {
            issuing: Arc::clone(&first),
            next: Some(Next {
                ca: Arc::clone(&second),
                since: None,
            }),
            old: None,
        };
        let root = first.certificate().to_owned();
        let old = |root| {
            let until = SystemTime::now();
            Some(Old { root, until })
        };
        let after = Rotation {
            issuing: Arc::clone(&second),
            next: None,
            old: old(root.clone()),
        };
        assert_eq!(before.trust(), after.trust());
        assert_eq!(before.trust().matches("BEGIN CERTIFICATE").count(), 2);
        let twice = Rotation {
            old: old(root.trim().to_owned()),
            ..Rotation::of(first)
        };
        assert_eq!(twice.trust().matches("BEGIN CERTIFICATE").count(), 1);
    }
}
