//! The gateway's two certificates, as Secrets in *system*, kept as the gateway's Service wants them.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    pin::pin,
    time::{Duration, SystemTime},
};

use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::{
    ByteString,
    api::core::v1::{Secret, Service},
};
use kite_api::{
    error_chain,
    identity::{CA_KEY, GATEWAY_CLIENT_SECRET, GATEWAY_SERVICE, GATEWAY_SERVING_SECRET, GATEWAY_URI},
    labels,
};
use kube::{
    Api, Client,
    api::{PartialObjectMeta, Patch, PatchParams},
    runtime::{WatchStreamExt, watcher},
};
use tokio_util::sync::CancellationToken;

use super::{
    Identity,
    authority::Authority,
    certificate::{Certified, Names},
    secrets::{self, IdentityError},
};
use crate::{backoff, options::HostName};

/// How often all is looked at though nothing has changed: a certificate may be about to expire.
const LOOK: Duration = Duration::from_hours(1);
/// A certificate that has less than this left is replaced: it must not expire before the next look, nor when that is late.
const MARGIN: Duration = LOOK.saturating_mul(2);

/// Keeps the Secrets as they should be, until `stop`.
pub async fn keep(identity: &Identity, client: &Client, system: &str, names: &[HostName], stop: &CancellationToken) {
    let mut changes = pin!(changes(client, system));
    let mut failures = 0;
    let mut wait = LOOK;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = changes.next() => {}
            () = tokio::time::sleep(wait) => {}
        }
        wait = match ensure(identity, client, system, names).await {
            Ok(()) => {
                failures = 0;
                LOOK
            }
            Err(error) => {
                failures += 1;
                tracing::error!(
                    error = error_chain(&error),
                    "the gateway's certificates are not as they should be"
                );
                backoff::delay(failures)
            }
        };
    }
}

/// One item for each change of the gateway's Service and of the operator's own Secrets.
fn changes(client: &Client, system: &str) -> impl stream::Stream<Item = ()> {
    let service: Api<PartialObjectMeta<Service>> = Api::namespaced(client.clone(), system);
    let service = watcher(
        service,
        watcher::Config::default().fields(&format!("metadata.name={GATEWAY_SERVICE}")),
    );
    let secret: Api<PartialObjectMeta<Secret>> = Api::namespaced(client.clone(), system);
    let ours = format!("{}={}", labels::MANAGED_BY, labels::OPERATOR);
    let secret = watcher(secret, watcher::Config::default().labels(&ours));
    // A watch that fails is begun again; what it missed is in its new list.
    let service = service.default_backoff().touched_objects().map_ok(drop);
    let secret = secret.default_backoff().touched_objects().map_ok(drop);
    stream::select(service, secret).filter_map(async |result| {
        result
            .inspect_err(|error| tracing::warn!(error = error_chain(error), "a watch of the gateway's was interrupted"))
            .ok()
    })
}

/// Makes what is missing and replaces what would not be accepted. Writes nothing where all is well. `names` are those
/// under which the gateway is reached beside its Service's.
pub async fn ensure(
    identity: &Identity,
    client: &Client,
    system: &str,
    names: &[HostName],
) -> Result<(), IdentityError> {
    secrets::put_back(identity, client, system).await?;
    let services: Api<Service> = Api::namespaced(client.clone(), system);
    let service = services
        .get_opt(GATEWAY_SERVICE)
        .await
        .map_err(|error| IdentityError::ReadService(GATEWAY_SERVICE, error.into()))?;
    let api: Api<Secret> = Api::namespaced(client.clone(), system);
    let client_names = Names::uri("kite-gateway", GATEWAY_URI);
    let client_secret = Wanted {
        name: GATEWAY_CLIENT_SECRET,
        issuer: &identity.clients,
        names: client_names,
        ca: identity.servers.certificate(),
    };
    let serving_secret = Wanted {
        name: GATEWAY_SERVING_SECRET,
        issuer: &identity.serving,
        names: serving_names(system, service.as_ref(), names),
        ca: identity.serving.certificate(),
    };
    client_secret.ensure(&api).await?;
    serving_secret.ensure(&api).await
}

/// A Secret as it should be.
struct Wanted<'a> {
    name: &'static str,
    issuer: &'a Authority,
    names: Names,
    /// The CA that the Secret carries beside the certificate.
    ca: &'a str,
}

impl Wanted<'_> {
    async fn ensure(&self, api: &Api<Secret>) -> Result<(), IdentityError> {
        let existing = api
            .get_opt(self.name)
            .await
            .map_err(|error| IdentityError::Read(self.name.into(), error.into()))?;
        let now = SystemTime::now();
        if existing
            .and_then(|secret| secret.data)
            .is_some_and(|data| self.is_met_by(&data, now))
        {
            return Ok(());
        }
        let certified = self.issuer.issue(&self.names, now).map_err(IdentityError::Issue)?;
        let mut data = certified.into_data();
        data.insert(CA_KEY.to_owned(), ByteString(self.ca.as_bytes().to_vec()));
        let secret = Secret {
            metadata: secrets::metadata(self.name),
            type_: Some(secrets::TLS.to_owned()),
            data: Some(data),
            ..Secret::default()
        };
        api.patch(
            self.name,
            &PatchParams::apply(labels::OPERATOR).force(),
            &Patch::Apply(secret),
        )
        .await
        .map_err(|error| IdentityError::Write(self.name.into(), error.into()))?;
        tracing::info!(secret = self.name, "issued a certificate");
        Ok(())
    }

    fn is_met_by(&self, data: &BTreeMap<String, ByteString>, now: SystemTime) -> bool {
        let carries_ca = data.get(CA_KEY).is_some_and(|ca| ca.0 == self.ca.as_bytes());
        carries_ca
            && Certified::of_data(data).is_some_and(|certified| {
                let accepts = |at| self.issuer.accepts(&certified, &self.names, at);
                accepts(now) && accepts(now + MARGIN)
            })
    }
}

/// All under which the gateway can be reached.
fn serving_names(system: &str, service: Option<&Service>, others: &[HostName]) -> Names {
    let mut names = Names {
        common_name: GATEWAY_SERVICE.to_owned(),
        dns: [
            GATEWAY_SERVICE.to_owned(),
            format!("{GATEWAY_SERVICE}.{system}"),
            format!("{GATEWAY_SERVICE}.{system}.svc"),
            format!("{GATEWAY_SERVICE}.{system}.svc.cluster.local"),
            String::from("localhost"),
        ]
        .into(),
        uris: [].into(),
        addresses: [].into(),
    };
    let spec = service.and_then(|service| service.spec.as_ref());
    let cluster_ips = spec.and_then(|spec| spec.cluster_ips.as_ref()).into_iter().flatten();
    // A headless Service has "None" there, which is no address.
    names
        .addresses
        .extend(cluster_ips.filter_map(|address| address.parse::<IpAddr>().ok()));
    let balancer = service.and_then(|service| service.status.as_ref()?.load_balancer.as_ref()?.ingress.as_ref());
    for ingress in balancer.into_iter().flatten() {
        names
            .addresses
            .extend(ingress.ip.as_ref().and_then(|address| address.parse::<IpAddr>().ok()));
        names.dns.extend(ingress.hostname.clone());
    }
    for other in others {
        match other {
            HostName::Dns(name) => _ = names.dns.insert(name.clone()),
            HostName::Address(address) => _ = names.addresses.insert(*address),
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::{LoadBalancerIngress, LoadBalancerStatus, ServiceSpec, ServiceStatus};

    use super::*;
    use crate::identity::tests::identity;

    fn service() -> Service {
        let ingress = |ip: Option<&str>, hostname: Option<&str>| LoadBalancerIngress {
            ip: ip.map(str::to_owned),
            hostname: hostname.map(str::to_owned),
            ..LoadBalancerIngress::default()
        };
        Service {
            spec: Some(ServiceSpec {
                cluster_ips: Some(vec![String::from("10.96.0.7"), String::from("None")]),
                ..ServiceSpec::default()
            }),
            status: Some(ServiceStatus {
                load_balancer: Some(LoadBalancerStatus {
                    ingress: Some(vec![
                        ingress(Some("192.0.2.1"), None),
                        ingress(None, Some("lb.example")),
                    ]),
                }),
                ..ServiceStatus::default()
            }),
            ..Service::default()
        }
    }

    #[test]
    fn the_serving_certificate_names_every_address_of_the_service() {
        let others = ["kite.example", "2001:db8::1"].map(|name| name.parse().unwrap());
        let names = serving_names("kite-system", Some(&service()), &others);
        assert_eq!(
            names.addresses,
            ["10.96.0.7", "192.0.2.1", "2001:db8::1"]
                .map(|address| address.parse().unwrap())
                .into()
        );
        assert_eq!(
            names.dns.into_iter().collect::<Vec<_>>(),
            [
                "kite-gateway",
                "kite-gateway.kite-system",
                "kite-gateway.kite-system.svc",
                "kite-gateway.kite-system.svc.cluster.local",
                "kite.example",
                "lb.example",
                "localhost"
            ]
        );
    }

    #[test]
    fn the_certificate_is_issued_anew_when_addresses_change() {
        let identity = identity();
        let wanted = |service: Option<&Service>| Wanted {
            name: GATEWAY_SERVING_SECRET,
            issuer: &identity.serving,
            names: serving_names("kite-system", service, &[]),
            ca: identity.serving.certificate(),
        };
        let now = SystemTime::now();
        let mut data = identity.serving.issue(&wanted(None).names, now).unwrap().into_data();
        assert!(!wanted(None).is_met_by(&data, now), "without its CA");
        data.insert(
            CA_KEY.to_owned(),
            ByteString(identity.serving.certificate().as_bytes().to_vec()),
        );
        assert!(wanted(None).is_met_by(&data, now));
        assert!(!wanted(Some(&service())).is_met_by(&data, now));
        let year = Duration::from_hours(365 * 24);
        assert!(wanted(None).is_met_by(&data, now + year - MARGIN - LOOK));
        assert!(!wanted(None).is_met_by(&data, now + year - LOOK), "about to expire");
    }
}
