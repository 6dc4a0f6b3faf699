//! What is laid over the template that a revision has recorded: what the installation gives the pods of all its plugins, and what holds at
//! once of the object. Where neither says anything, the template stays as it is to the letter, so that nothing restarts.

use std::time::Duration;

use k8s_openapi::api::core::v1::{
    ConfigMapProjection, Container, PodSpec, PodTemplateSpec, SecretProjection, VolumeProjection,
};
use kite_api::{KitePluginSpec, RequestLimits, identity::CA_KEY};
use kite_proto::{CA_BUNDLE_FILE, GRACE_VARIABLE, MOUNT_PATH};

use super::pod::{CONTAINER, IDENTITY_VOLUME, file, reference, value_of};
use crate::pod_defaults::{CaBundle, PodDefaults};

/// How much longer than a request may take a plugin has for its end: five seconds in which gateways still send some, and five for what the
/// SDK does when the last has ended.
const MARGIN: Duration = Duration::from_secs(10);
/// Programs that know these look for CAs in the file, and in the folder, in which most images have those of the public.
const CA_FILE_VARIABLE: &str = "SSL_CERT_FILE";
const CA_FOLDER_VARIABLE: &str = "SSL_CERT_DIR";
const CA_FOLDER: &str = "/etc/ssl/certs";

/// How many seconds a pod has from SIGTERM to its end: longer than the longest request.
pub(super) fn grace(spec: &KitePluginSpec) -> i64 {
    seconds(RequestLimits::of(spec).timeout + MARGIN)
}

fn seconds(time: Duration) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}

/// Lays all of it over `template`.
pub(super) fn lay(template: &mut PodTemplateSpec, spec: &KitePluginSpec, defaults: &PodDefaults) {
    let Some(pod) = &mut template.spec else { return };
    outlast(pod, spec);
    pull(pod, defaults);
    if let Some(bundle) = defaults.ca_bundle() {
        trust(pod, &bundle);
    }
}

/// A request may be allowed to take longer than it was when the revision was made. Of a pod to which nothing is said of its time, as none was
/// once, only what would cut requests off is changed.
fn outlast(pod: &mut PodSpec, spec: &KitePluginSpec) {
    let is_told = plugins(pod).any(|container| container.env.iter().flatten().any(|it| it.name == GRACE_VARIABLE));
    let needed = if is_told {
        grace(spec)
    } else {
        seconds(RequestLimits::of(spec).timeout)
    };
    if pod.termination_grace_period_seconds.is_some_and(|has| has >= needed) {
        return;
    }
    let grace = grace(spec);
    pod.termination_grace_period_seconds = Some(grace);
    for container in plugins(pod) {
        let variables = container.env.get_or_insert_default();
        let told = value_of(GRACE_VARIABLE, grace.to_string());
        match variables.iter_mut().find(|variable| variable.name == GRACE_VARIABLE) {
            Some(variable) => *variable = told,
            None => variables.push(told),
        }
    }
}

/// From where the image comes, and with what.
fn pull(pod: &mut PodSpec, defaults: &PodDefaults) {
    for container in plugins(pod) {
        let image = container.image.as_mut();
        if let Some((image, other)) = image.and_then(|image| defaults.mirrored(image).map(|other| (image, other))) {
            *image = other;
        }
    }
    for name in &defaults.pull_secrets {
        let secrets = pod.image_pull_secrets.get_or_insert_default();
        if !secrets.iter().any(|secret| secret.name == *name) {
            secrets.push(reference(name));
        }
    }
}

/// The bundle as one more file in the folder that the operator mounts, and where programs look for it. What the object itself says of these
/// variables holds.
fn trust(pod: &mut PodSpec, bundle: &CaBundle<'_>) {
    let items = Some(vec![file(CA_KEY, CA_BUNDLE_FILE)]);
    let source = match bundle {
        CaBundle::ConfigMap(name) => VolumeProjection {
            config_map: Some(ConfigMapProjection {
                name: (*name).to_owned(),
                items,
                optional: Some(false),
            }),
            ..VolumeProjection::default()
        },
        CaBundle::Secret(name) => VolumeProjection {
            secret: Some(SecretProjection {
                name: (*name).to_owned(),
                items,
                optional: Some(false),
            }),
            ..VolumeProjection::default()
        },
    };
    let mut folders = pod.volumes.iter_mut().flatten();
    let folder = folders.find(|volume| volume.name == IDENTITY_VOLUME);
    let Some(folder) = folder.and_then(|volume| volume.projected.as_mut()) else {
        return;
    };
    folder.sources.get_or_insert_default().push(source);
    for container in plugins(pod) {
        let variables = container.env.get_or_insert_default();
        let is_set = variables
            .iter()
            .any(|it| [CA_FILE_VARIABLE, CA_FOLDER_VARIABLE].contains(&it.name.as_str()));
        if !is_set {
            variables.extend([
                value_of(CA_FILE_VARIABLE, format!("{MOUNT_PATH}/{CA_BUNDLE_FILE}")),
                value_of(CA_FOLDER_VARIABLE, CA_FOLDER.to_owned()),
            ]);
        }
    }
}

fn plugins(pod: &mut PodSpec) -> impl Iterator<Item = &mut Container> {
    pod.containers
        .iter_mut()
        .filter(|container| container.name == CONTAINER)
}
