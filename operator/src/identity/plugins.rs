//! The plugins' Secrets, looked at all together: certificates that are due are renewed and CAs that are believed are brought, whether or not
//! all else that the plugin needs can be.

use std::{collections::BTreeMap, future::ready, time::SystemTime};

use futures::{StreamExt as _, stream};
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kite_api::{PluginName, error_chain, labels, object_names};
use kite_proto::{CLIENTS_CA_FILE, GATEWAY_CA_FILE};
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};

use super::{Identity, authority::AuthorityError, certificate::Certified, rotation::Spread, secrets::TLS};
use crate::metrics::Metrics;

/// How many Secrets are held at once. There may be thousands.
const PAGE: u32 = 100;
/// How many are written at once: a webhook may let each wait for as long as a request may take.
const AT_ONCE: usize = 16;

/// Who had the CAs that are believed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Plugins {
    /// Those of gateway and operator.
    pub clients: Spread,
    /// That of the gateway's serving certificate.
    pub serving: Spread,
}

impl Plugins {
    const WHOLE: Self = Self {
        clients: Spread::Whole,
        serving: Spread::Whole,
    };
    const LACKING: Self = Self {
        clients: Spread::Lacking,
        serving: Spread::Lacking,
    };

    fn and(self, other: Self) -> Self {
        Self {
            clients: self.clients.min(other.clients),
            serving: self.serving.min(other.serving),
        }
    }
}

/// Has all of them be as they should be, as far as that can be had. One that cannot be written holds up no other.
pub async fn ensure(identity: &Identity, client: &Client, namespace: &str, metrics: &Metrics) -> Plugins {
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let ours = format!("{}={},{}", labels::MANAGED_BY, labels::OPERATOR, labels::PLUGIN);
    let mut params = ListParams::default().labels(&ours).limit(PAGE);
    let mut all = Plugins::WHOLE;
    loop {
        let page = match api.list(&params).await {
            Ok(page) => page,
            Err(error) => {
                tracing::warn!(error = error_chain(&error), "the plugins' Secrets could not be listed");
                return Plugins::LACKING;
            }
        };
        let looked_at = stream::iter(page.items).map(|secret| one(identity, &api, secret, metrics));
        let looked_at = looked_at.buffer_unordered(AT_ONCE);
        all = looked_at.fold(all, |all, one| ready(all.and(one))).await;
        match page.metadata.continue_.filter(|more| !more.is_empty()) {
            Some(more) => params.continue_token = Some(more),
            None => return all,
        }
    }
}

async fn one(identity: &Identity, api: &Api<Secret>, secret: Secret, metrics: &Metrics) -> Plugins {
    let name = secret.name_any();
    let amended = match amended(identity, secret, SystemTime::now()) {
        Ok(None) => return Plugins::WHOLE,
        Ok(Some(amended)) => amended,
        Err(error) => {
            tracing::error!(
                secret = name,
                error = error_chain(&error),
                "a certificate could not be issued"
            );
            return Plugins::WHOLE;
        }
    };
    let params = PatchParams {
        field_manager: Some(labels::OPERATOR.to_owned()),
        ..PatchParams::default()
    };
    match api.patch(&name, &params, &Patch::Merge(&amended.patch)).await {
        Ok(_) => {
            if let Some((plugin, end)) = amended.renewed {
                metrics.plugin_certificate(plugin.as_str(), end);
            }
            tracing::info!(
                secret = name,
                "wrote a plugin's certificate and the CAs that it believes"
            );
            amended.had
        }
        // It is gone, and nobody uses it any more.
        Err(kube::Error::Api(status)) if status.is_not_found() => Plugins::WHOLE,
        Err(error) => {
            tracing::warn!(
                secret = name,
                error = error_chain(&error),
                "a plugin's Secret could not be written: certificates of a new CA are not issued before it has that"
            );
            amended.lacks
        }
    }
}

/// What a Secret is changed by.
#[derive(Debug)]
struct Amended {
    patch: Value,
    /// The plugin whose certificate is another then, and when that ends.
    renewed: Option<(PluginName, Option<SystemTime>)>,
    had: Plugins,
    lacks: Plugins,
}

/// What the Secret of a plugin is to be changed by; nothing, if it is as it should be, or not a plugin's.
fn amended(identity: &Identity, secret: Secret, now: SystemTime) -> Result<Option<Amended>, AuthorityError> {
    let label = secret
        .labels()
        .get(labels::PLUGIN)
        .map(|plugin| PluginName::parse(plugin));
    let Some(Ok(plugin)) = label else { return Ok(None) };
    let is_its = secret.name_any() == object_names::certificate(&plugin) && secret.type_.as_deref() == Some(TLS);
    if !is_its {
        return Ok(None);
    }
    let version = secret.metadata.resource_version;
    let data = secret.data.unwrap_or_default();
    let mut changed: BTreeMap<String, ByteString> = BTreeMap::new();
    let existing = Certified::of_data(&data);
    let certified = identity.plugin_certificate(&plugin, existing.clone(), now)?;
    let mut renewed = None;
    if existing.as_ref() != Some(&certified) {
        renewed = Some((plugin, certified.not_after()));
        changed.extend(certified.into_data());
    }
    let mut bring = |file: &str, trust: String| {
        let had = data.get(file).is_some_and(|bytes| bytes.0 == trust.as_bytes());
        if !had {
            changed.insert(file.to_owned(), ByteString(trust.into_bytes()));
        }
        had
    };
    let clients = bring(CLIENTS_CA_FILE, identity.clients.trust());
    let serving = bring(GATEWAY_CA_FILE, identity.serving.trust());
    let spread = |had: bool, else_: Spread| if had { Spread::Whole } else { else_ };
    let of = |else_| Plugins {
        clients: spread(clients, else_),
        serving: spread(serving, else_),
    };
    Ok((!changed.is_empty()).then(|| Amended {
        patch: json!({"metadata": {"resourceVersion": version}, "data": changed}),
        renewed,
        had: of(Spread::Fresh),
        lacks: of(Spread::Lacking),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{
        authority::Purpose,
        lives::Lives,
        rotation::Next,
        tests::{cas, identity},
    };

    fn secret(identity: &Identity, change: impl FnOnce(&mut Secret)) -> Secret {
        let plugin = PluginName::parse("hello").unwrap();
        let certified = identity.plugin_certificate(&plugin, None, SystemTime::now()).unwrap();
        let mut data = certified.into_data();
        data.insert(
            CLIENTS_CA_FILE.to_owned(),
            ByteString(identity.clients.trust().into_bytes()),
        );
        data.insert(
            GATEWAY_CA_FILE.to_owned(),
            ByteString(identity.serving.trust().into_bytes()),
        );
        let mut secret = Secret {
            metadata: super::super::secrets::metadata("kite-plugin-hello-tls"),
            type_: Some(TLS.to_owned()),
            data: Some(data),
            ..Secret::default()
        };
        secret
            .labels_mut()
            .insert(labels::PLUGIN.to_owned(), String::from("hello"));
        secret.metadata.resource_version = Some(String::from("7"));
        change(&mut secret);
        secret
    }

    /// Keys that are changed.
    fn changed(amended: &Amended) -> Vec<&str> {
        let data = amended.patch["data"].as_object().unwrap();
        data.keys().map(String::as_str).collect()
    }

    #[test]
    fn what_is_as_it_should_be_or_anothers_is_left_alone() {
        let identity = identity();
        let others: [fn(&mut Secret); 4] = [
            |_| {},
            |secret| secret.metadata.name = Some(String::from("mine")),
            |secret| secret.type_ = Some(String::from("Opaque")),
            |secret| secret.metadata.labels = None,
        ];
        for (index, change) in others.into_iter().enumerate() {
            let secret = secret(&identity, |secret| {
                change(secret);
                if index > 0 {
                    secret.data = None;
                }
            });
            assert!(
                amended(&identity, secret, SystemTime::now()).unwrap().is_none(),
                "{index}"
            );
        }
    }

    #[test]
    fn a_certificate_that_is_due_or_spoilt_is_renewed_and_nothing_else() {
        let identity = identity();
        let later = SystemTime::now() + Lives::default().certificate * 7 / 10;
        let due = amended(&identity, secret(&identity, |_| {}), later).unwrap().unwrap();
        let spoilt = secret(&identity, |secret| {
            let data = secret.data.as_mut().unwrap();
            data.insert(String::from("tls.key"), ByteString(Vec::new()));
        });
        let spoilt = amended(&identity, spoilt, SystemTime::now()).unwrap().unwrap();
        for amended in [due, spoilt] {
            assert_eq!(changed(&amended), ["tls.crt", "tls.key"]);
            assert_eq!(amended.patch["metadata"]["resourceVersion"], "7");
            assert_eq!((amended.had, amended.lacks), (Plugins::WHOLE, Plugins::WHOLE));
            assert_eq!(amended.renewed.unwrap().0.as_str(), "hello");
        }
    }

    #[test]
    fn who_lacks_a_ca_is_brought_it_and_counts_as_lacking_if_it_cannot_be() {
        let before = identity();
        let mut after = identity();
        after.servers = before.servers.clone();
        after.serving = before.serving.clone();
        after.clients = before.clients.clone();
        after.clients.next = Some(Next {
            ca: cas(Purpose::Clients).issuing,
            since: None,
        });
        let amended = amended(&after, secret(&before, |_| {}), SystemTime::now())
            .unwrap()
            .unwrap();
        assert_eq!(changed(&amended), [CLIENTS_CA_FILE]);
        let clients = |clients| Plugins {
            clients,
            serving: Spread::Whole,
        };
        assert_eq!(amended.had, clients(Spread::Fresh));
        assert_eq!(amended.lacks, clients(Spread::Lacking));
    }
}
