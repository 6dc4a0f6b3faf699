//! The gateway's two certificates, as Secrets in *system*, kept as the gateway's Service wants them.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    time::{Duration, SystemTime},
};

use k8s_openapi::{
    ByteString,
    api::core::v1::{Secret, Service},
};
use kite_api::{
    identity::{CA_KEY, GATEWAY_CLIENT_SECRET, GATEWAY_SERVICE, GATEWAY_SERVING_SECRET, GATEWAY_URI},
    labels,
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};

use super::{
    Identity,
    authority::Authority,
    certificate::{Certified, Names},
    rotation::Spread,
    secrets::{self, IdentityError},
};
use crate::options::HostName;

/// A Secret of the gateway's, as it stands then.
#[derive(Clone, Copy, Debug)]
pub struct Ensured {
    /// When its certificate ends.
    pub end: Option<SystemTime>,
    /// Whether it had the CAs that are believed.
    pub spread: Spread,
}

/// The gateway's two Secrets.
#[derive(Clone, Copy, Debug)]
pub struct Gateway {
    pub client: Ensured,
    pub serving: Ensured,
}

/// Makes what is missing and replaces what is due or would not be accepted. Writes nothing where all is well. `names` are those
/// under which the gateway is reached beside its Service's.
pub async fn ensure(
    identity: &Identity,
    client: &Client,
    system: &str,
    names: &[HostName],
) -> Result<Gateway, IdentityError> {
    let services: Api<Service> = Api::namespaced(client.clone(), system);
    let service = services
        .get_opt(GATEWAY_SERVICE)
        .await
        .map_err(|error| IdentityError::ReadService(GATEWAY_SERVICE, error.into()))?;
    let api: Api<Secret> = Api::namespaced(client.clone(), system);
    let client_names = Names::uri("kite-gateway", GATEWAY_URI);
    let life = identity.lives.certificate;
    let client_secret = Wanted {
        name: GATEWAY_CLIENT_SECRET,
        issuer: &identity.clients.issuing,
        life,
        names: client_names,
        ca: identity.servers.trust(),
    };
    let serving_secret = Wanted {
        name: GATEWAY_SERVING_SECRET,
        issuer: &identity.serving.issuing,
        life,
        names: serving_names(system, service.as_ref(), names),
        ca: identity.serving.trust(),
    };
    Ok(Gateway {
        client: client_secret.ensure(&api).await?,
        serving: serving_secret.ensure(&api).await?,
    })
}

/// A Secret as it should be.
struct Wanted<'a> {
    name: &'static str,
    issuer: &'a Authority,
    life: Duration,
    names: Names,
    /// The CAs that the Secret carries beside the certificate.
    ca: String,
}

impl Wanted<'_> {
    async fn ensure(&self, api: &Api<Secret>) -> Result<Ensured, IdentityError> {
        let existing = api
            .get_opt(self.name)
            .await
            .map_err(|error| IdentityError::Read(self.name.into(), error.into()))?;
        let now = SystemTime::now();
        let existing = existing.and_then(|secret| secret.data).unwrap_or_default();
        let spread = if self.has_cas(&existing) {
            Spread::Whole
        } else {
            Spread::Fresh
        };
        let kept = self.kept(&existing, now);
        if let Some(kept) = kept.as_ref().filter(|_| spread == Spread::Whole) {
            let end = kept.not_after();
            return Ok(Ensured { end, spread });
        }
        let certified = match kept {
            Some(kept) => kept,
            None => self
                .issuer
                .issue(&self.names, self.life, now)
                .map_err(IdentityError::Issue)?,
        };
        let end = certified.not_after();
        let mut data = certified.into_data();
        data.insert(CA_KEY.to_owned(), ByteString(self.ca.clone().into_bytes()));
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
        tracing::info!(secret = self.name, "wrote a certificate and its CAs");
        Ok(Ensured { end, spread })
    }

    fn has_cas(&self, data: &BTreeMap<String, ByteString>) -> bool {
        data.get(CA_KEY).is_some_and(|ca| ca.0 == self.ca.as_bytes())
    }

    /// The certificate that is there, if it is good for longer.
    fn kept(&self, data: &BTreeMap<String, ByteString>, now: SystemTime) -> Option<Certified> {
        Certified::of_data(data).filter(|certified| self.issuer.keeps(certified, &self.names, self.life, now))
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
    fn the_certificate_is_issued_anew_when_addresses_change_and_when_it_is_due() {
        let identity = identity();
        let wanted = |service: Option<&Service>| Wanted {
            name: GATEWAY_SERVING_SECRET,
            issuer: &identity.serving.issuing,
            life: identity.lives.certificate,
            names: serving_names("kite-system", service, &[]),
            ca: identity.serving.trust(),
        };
        let now = SystemTime::now();
        let life = identity.lives.certificate;
        let issued = identity.serving.issuing.issue(&wanted(None).names, life, now);
        let mut data = issued.unwrap().into_data();
        assert!(!wanted(None).has_cas(&data));
        data.insert(CA_KEY.to_owned(), ByteString(identity.serving.trust().into_bytes()));
        assert!(wanted(None).has_cas(&data));
        assert!(wanted(None).kept(&data, now).is_some());
        assert!(wanted(Some(&service())).kept(&data, now).is_none());
        assert!(wanted(None).kept(&data, now + life * 3 / 5).is_some());
        assert!(wanted(None).kept(&data, now + life * 7 / 10).is_none());
    }
}
