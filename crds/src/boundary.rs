//! The boundary: policies in the API server by which nobody gains rights through a plugin.
//!
//! They are made here, from the lists that the other rules use too, so that chart, operator and documentation cannot drift.
//! `design.md` §4 and the prototype on a real API server say why they have this shape: one access check costs 350,000 of the
//! 1,000,000 that an expression may cost and of the 10,000,000 that a policy may, so that each validation makes one check and a
//! policy has [`CHECKS`] of them; rights beyond that are checked by copies of it, [`POLICIES`] in all.

mod cel;
mod depth;
mod fence;
mod grants;
mod kinds;
pub mod preview;
mod references;
mod refusal;
mod reservation;
mod rights;

use k8s_openapi::{
    api::admissionregistration::v1::{
        MatchCondition, MatchResources, NamedRuleWithOperations, ValidatingAdmissionPolicy,
        ValidatingAdmissionPolicyBinding, ValidatingAdmissionPolicyBindingSpec, ValidatingAdmissionPolicySpec,
        Validation, Variable,
    },
    apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta},
};
use kube::Resource as _;

pub use self::refusal::{Refusal, Refused, accepted, refusal};
use crate::KitePlugin;

/// Access checks of one policy. After its validations the API server evaluates the text of each, also of those that passed, from
/// the same budget: with 26 the worst update had 1 % of it left, with 24 it has 5 %.
pub const CHECKS: usize = 24;
/// Copies of the policy that checks rights.
pub const POLICIES: usize = 11;
/// Most rights that one change may add, for whoever may not `escalate`.
pub const MOST_ADDED: usize = CHECKS * POLICIES;
/// Most rights that an object may grant in all, for whoever may not `escalate`.
pub const MOST_RIGHTS: usize = 512;
/// Most characters of all rights of an object spelled out, for whoever may not `escalate`.
pub const MOST_CHARACTERS: usize = 40_000;
/// Most references to Secrets in an object, for whoever may not `escalate`.
pub const MOST_SECRETS: usize = CHECKS;

/// Fields that decide which code runs, where, or what it is given: whoever changes one takes all rights of the object.
pub const CODE: [&str; 13] = [
    "image",
    "imagePullPolicy",
    "imagePullSecrets",
    "env",
    "settingsSecretRef",
    "volumes",
    "nodeSelector",
    "tolerations",
    "frontend",
    "middleware",
    "routes",
    "tools",
    "resourceTypes",
];

/// The verb on kiteplugins by whose holders the rights policies are not asked.
pub const ESCALATE: &str = "escalate";
/// The verb on kiteplugins for who may bring pages and middleware.
pub const TRUST: &str = "trust";

/// A policy and its binding.
pub type Bound = (ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding);

/// The names that a boundary is drawn around.
#[derive(Clone, Copy, Debug)]
pub struct Places<'a> {
    /// The plugins' namespace.
    pub plugins: &'a str,
    /// The namespace of operator, gateway and their keys.
    pub system: &'a str,
}

impl Places<'_> {
    /// The operator's user name.
    fn operator(&self) -> String {
        format!("system:serviceaccount:{}:{}", self.system, crate::labels::OPERATOR)
    }
}

/// All policies.
pub fn policies(places: Places<'_>) -> Vec<Bound> {
    let Places { plugins, system } = places;
    let rights = (0..POLICIES).map(|copy| rights::policy(copy, plugins));
    let rest = [
        references::policy(plugins),
        grants::policy(plugins, system),
        depth::policy(),
    ];
    let others = fence::policies(places).into_iter().chain(reservation::policies(places));
    rights.chain(rest).chain(others).map(Parts::bound).collect()
}

/// What a policy is made of. It fails closed.
struct Parts {
    name: String,
    /// The only namespace in which it is asked.
    namespace: Option<String>,
    rules: Vec<NamedRuleWithOperations>,
    conditions: Vec<MatchCondition>,
    variables: Vec<Variable>,
    validations: Vec<Validation>,
}

/// Writes of KitePlugins.
fn plugin_writes() -> Vec<NamedRuleWithOperations> {
    let plural = KitePlugin::plural(&());
    vec![rule(&["CREATE", "UPDATE"], &KitePlugin::group(&()), &[plural.as_ref()])]
}

/// Operations on resources of a group, in any version: one that is served later must not be a way around.
fn rule(operations: &[&str], group: &str, resources: &[&str]) -> NamedRuleWithOperations {
    let texts = |texts: &[&str]| Some(texts.iter().map(|text| (*text).to_owned()).collect());
    NamedRuleWithOperations {
        api_groups: texts(&[group]),
        api_versions: texts(&["*"]),
        operations: texts(operations),
        resources: texts(resources),
        scope: Some(String::from("*")),
        ..NamedRuleWithOperations::default()
    }
}

impl Parts {
    fn bound(self) -> Bound {
        let metadata = ObjectMeta {
            name: Some(self.name.clone()),
            ..ObjectMeta::default()
        };
        // The API server itself labels every namespace with its name.
        let in_namespace = |name: String| LabelSelector {
            match_labels: Some([(String::from("kubernetes.io/metadata.name"), name)].into()),
            ..LabelSelector::default()
        };
        let policy = ValidatingAdmissionPolicy {
            metadata: metadata.clone(),
            spec: Some(ValidatingAdmissionPolicySpec {
                failure_policy: Some(String::from("Fail")),
                match_constraints: Some(MatchResources {
                    match_policy: Some(String::from("Equivalent")),
                    namespace_selector: self.namespace.map(in_namespace),
                    resource_rules: Some(self.rules),
                    ..MatchResources::default()
                }),
                match_conditions: Some(self.conditions),
                variables: (!self.variables.is_empty()).then_some(self.variables),
                validations: Some(self.validations),
                ..ValidatingAdmissionPolicySpec::default()
            }),
            status: None,
        };
        let binding = ValidatingAdmissionPolicyBinding {
            metadata,
            spec: Some(ValidatingAdmissionPolicyBindingSpec {
                policy_name: Some(self.name),
                validation_actions: Some(vec![String::from("Deny")]),
                ..ValidatingAdmissionPolicyBindingSpec::default()
            }),
        };
        (policy, binding)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACES: Places<'_> = Places {
        plugins: "kite-plugins",
        system: "kite-system",
    };

    #[test]
    fn the_documentation_names_every_field_that_bears_code() {
        let page = include_str!("../../docs/security.md");
        for field in CODE {
            assert!(page.contains(&format!("`{field}`")), "{field}");
        }
        for (policy, _) in policies(PLACES) {
            let name = policy.metadata.name.unwrap();
            let is_named = page.contains(&format!("`{name}`"));
            assert!(is_named || name.starts_with("kite-rights-"), "{name}");
        }
        assert!(page.contains(&format!("At most {MOST_ADDED} rights")) && page.contains(&MOST_RIGHTS.to_string()));
    }

    #[test]
    fn every_field_that_bears_code_is_one_of_the_schema() {
        let crd = serde_json::to_value(crate::crd()).unwrap();
        let spec = crd.pointer("/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties");
        for field in CODE {
            assert!(spec.unwrap().get(field).is_some(), "{field}");
        }
    }
}
