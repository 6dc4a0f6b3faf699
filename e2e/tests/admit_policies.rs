//! The policies of the boundary name only fields that there are, as the cluster's own check of their types says.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{collections::BTreeSet, time::Duration};

use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicySpec, ValidatingAdmissionPolicyStatus, Validation,
};
use kite_api::boundary::{self, Places};
use kite_e2e::testing::{PLUGINS, SYSTEM, Scope, eventually, scope};
use kube::{Api, ResourceExt, api::ListParams};

/// Hundreds of expressions are checked, some of them for twenty kinds.
const LIMIT: Duration = Duration::from_mins(2);
/// A field that no kind has.
const TYPO: &str = "imagee";
/// Policies about several kinds name fields that some of them lack: policy, field, kinds, and why no request for these comes so far.
const LACKING: [(&str, &str, &[&str], &str); 4] = [
    (
        "kite-fence",
        "type",
        &[
            "APIService",
            "ControllerRevision",
            "CronJob",
            "CustomResourceDefinition",
            "DaemonSet",
            "Deployment",
            "Endpoints",
            "Job",
            "Pod",
            "PodTemplate",
            "ReplicaSet",
            "ReplicationController",
            "Service",
            "ServiceAccount",
            "StatefulSet",
        ],
        "asked where request.resource.resource is secrets",
    ),
    (
        "kite-fence-roles",
        "roleRef",
        &["ClusterRole", "Role"],
        "asked where variables.binds",
    ),
    (
        "kite-fence-roles",
        "subjects",
        &["ClusterRole", "Role"],
        "asked where variables.binds",
    ),
    (
        "kite-fence-roles",
        "aggregationRule",
        &["ClusterRoleBinding", "Role", "RoleBinding"],
        "asked where has() says that it is there",
    ),
];

/// The policies of the chart, as the cluster has them.
async fn installed(scope: &Scope) -> Vec<ValidatingAdmissionPolicy> {
    let policies: Api<ValidatingAdmissionPolicy> = Api::all(scope.client.clone());
    let ours = ListParams::default().labels("app.kubernetes.io/part-of=kite-plugins");
    let installed = policies.list(&ours).await.unwrap().items;
    let places = Places {
        plugins: PLUGINS,
        system: SYSTEM,
    };
    assert_eq!(installed.len(), boundary::policies(places).len());
    installed
}

/// The policy with versions instead of `*`, without which its types are not checked; with its conditions among the validations, as
/// types are checked there only; and with a validation that is wrong for every kind. And how many kinds it is about.
fn checkable(policy: &ValidatingAdmissionPolicy) -> (ValidatingAdmissionPolicySpec, usize) {
    let mut spec = policy.spec.clone().unwrap();
    let mut resources = BTreeSet::new();
    for rule in spec
        .match_constraints
        .iter_mut()
        .flat_map(|it| it.resource_rules.iter_mut().flatten())
    {
        let groups = rule.api_groups.clone().unwrap();
        let version = if groups == ["kite.dev"] { "v1alpha1" } else { "v1" };
        rule.api_versions = Some(vec![version.to_owned()]);
        for resource in rule.resources.iter_mut().flatten() {
            // Types of subresources are not checked, but this one's is that of the object.
            if let Some(object) = resource.strip_suffix("/status") {
                *resource = object.to_owned();
            }
            if !resource.contains(['/', '*']) {
                resources.insert((groups.clone(), resource.clone()));
            }
        }
    }
    let conditions = spec.match_conditions.take().unwrap_or_default();
    let typo = format!("object.{TYPO} == ''");
    let more = conditions
        .into_iter()
        .map(|condition| condition.expression)
        .chain([typo]);
    spec.validations
        .get_or_insert_default()
        .extend(more.map(|expression| Validation {
            expression,
            ..Validation::default()
        }));
    (spec, resources.len())
}

/// The status of a policy, once its types were checked.
async fn checked(scope: &Scope, name: &str) -> ValidatingAdmissionPolicyStatus {
    let policies: Api<ValidatingAdmissionPolicy> = Api::all(scope.client.clone());
    eventually(&format!("the types of {name} are checked"), LIMIT, async || {
        let policy = policies.get_status(name).await.map_err(|error| error.to_string())?;
        let status = policy.status.unwrap_or_default();
        let is_checked = status.observed_generation == policy.metadata.generation && status.type_checking.is_some();
        if is_checked {
            Ok(status)
        } else {
            Err(format!("{status:?}"))
        }
    })
    .await
}

/// Each thing that is wrong, as `kind: field`, or whole where it is something else than a field that the kind lacks.
fn mistakes(warning: &str) -> Vec<String> {
    let mut mistakes = Vec::new();
    let mut kind = "";
    for line in warning.lines() {
        if let Some((_, rest)) = line.split_once(", Kind=") {
            kind = rest.split(':').next().unwrap_or_default();
        }
        // The other lines show the place.
        if let Some((_, error)) = line.split_once("ERROR: ") {
            let field = error
                .split_once("undefined field '")
                .and_then(|(_, rest)| rest.split('\'').next());
            mistakes.push(format!("{kind}: {}", field.unwrap_or(error)));
        } else if line.contains("type checking error") {
            mistakes.push(line.to_owned());
        }
    }
    mistakes
}

/// What is known to be lacking.
fn lacking(policy: &str) -> BTreeSet<String> {
    let of_policy = LACKING.iter().filter(|(of, ..)| *of == policy);
    let each = of_policy.flat_map(|(_, field, kinds, _)| kinds.iter().map(move |kind| format!("{kind}: {field}")));
    each.collect()
}

#[tokio::test]
async fn the_policies_name_only_fields_that_there_are() {
    scope("types", async |scope| {
        let mut copies = Vec::new();
        for policy in installed(&scope).await {
            let (spec, kinds) = checkable(&policy);
            let copy = scope.policy(&format!("-{}", policy.name_any()), spec).await;
            copies.push((policy.name_any(), copy, kinds));
        }
        for (policy, copy, kinds) in copies {
            let warnings = checked(&scope, &copy).await.type_checking.unwrap();
            let warnings = warnings.expression_warnings.unwrap_or_default();
            let mut found: BTreeSet<String> = warnings.iter().flat_map(|it| mistakes(&it.warning)).collect();
            let typos = found.extract_if(.., |mistake| mistake.ends_with(TYPO)).count();
            assert_eq!(
                typos, kinds,
                "{policy}: it was not checked for every kind: {warnings:#?}"
            );
            assert_eq!(found, lacking(&policy), "{policy}: {warnings:#?}");
        }
    })
    .await;
}
