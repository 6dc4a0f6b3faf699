//! Who is who: the operator's CAs and the certificates that they issue.

pub mod authority;
pub mod certificate;
pub mod gateway;
pub mod secrets;

use std::time::SystemTime;

use kite_api::{PluginName, identity as names};

use self::{
    authority::{Authority, AuthorityError},
    certificate::{Certified, Names},
};

/// The CAs, and the operator's own client certificate, which exists in memory only.
#[derive(Debug)]
pub struct Identity {
    pub servers: Authority,
    pub clients: Authority,
    pub serving: Authority,
    pub operator: Certified,
}

impl Identity {
    /// The identity that these CAs give.
    pub fn new(
        servers: Authority,
        clients: Authority,
        serving: Authority,
        now: SystemTime,
    ) -> Result<Self, AuthorityError> {
        let operator = clients.issue(&Names::uri("kite-operator", names::OPERATOR_URI), now)?;
        Ok(Self {
            servers,
            clients,
            serving,
            operator,
        })
    }

    /// Tells the CAs that a plugin's certificate and its trust come from, from all others.
    pub fn authorities_hash(&self) -> String {
        let certificates = [self.servers.certificate(), self.clients.certificate()].concat();
        kite_proto::sha256(certificates.as_bytes())
    }

    /// The certificate of `plugin`: `existing`, if a client would accept it now, or else a new one.
    pub fn plugin_certificate(
        &self,
        plugin: &PluginName,
        existing: Option<Certified>,
        now: SystemTime,
    ) -> Result<Certified, AuthorityError> {
        let names = plugin_names(plugin);
        match existing.filter(|existing| self.servers.accepts(existing, &names, now)) {
            Some(existing) => Ok(existing),
            None => self.servers.issue(&names, now),
        }
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
    use super::{authority::Purpose, *};

    pub(crate) fn identity() -> Identity {
        let now = SystemTime::now();
        let make = |purpose| Authority::create(purpose, now).unwrap();
        Identity::new(
            make(Purpose::Servers),
            make(Purpose::Clients),
            make(Purpose::Serving),
            now,
        )
        .unwrap()
    }

    #[test]
    fn a_plugins_certificate_is_kept_while_it_is_valid() {
        let identity = identity();
        let hello = PluginName::parse("hello").unwrap();
        let now = SystemTime::now();
        let first = identity.plugin_certificate(&hello, None, now).unwrap();
        assert_eq!(
            identity.plugin_certificate(&hello, Some(first.clone()), now).unwrap(),
            first
        );
    }

    #[test]
    fn each_of_the_cas_that_plugins_use_changes_their_hash() {
        let (a, b) = (identity(), identity());
        let now = SystemTime::now();
        let copy =
            |authority: &Authority, purpose| Authority::read(purpose, authority.certified().clone(), now).unwrap();
        let mix = |servers: &Identity, clients: &Identity, serving: &Identity| {
            Identity::new(
                copy(&servers.servers, Purpose::Servers),
                copy(&clients.clients, Purpose::Clients),
                copy(&serving.serving, Purpose::Serving),
                now,
            )
            .unwrap()
            .authorities_hash()
        };
        assert_eq!(mix(&a, &a, &b), a.authorities_hash());
        assert_ne!(mix(&b, &a, &a), a.authorities_hash());
        assert_ne!(mix(&a, &b, &a), a.authorities_hash());
    }

    #[test]
    fn another_plugins_certificate_is_replaced() {
        let identity = identity();
        let now = SystemTime::now();
        let other = identity
            .plugin_certificate(&PluginName::parse("other").unwrap(), None, now)
            .unwrap();
        let hello = PluginName::parse("hello").unwrap();
        assert_ne!(
            identity.plugin_certificate(&hello, Some(other.clone()), now).unwrap(),
            other
        );
    }
}
