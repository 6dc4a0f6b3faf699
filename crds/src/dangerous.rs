//! Rights by which one gets at other rights: the one list, and the rules of the CRD that are made from it.

use serde_json::Value;

use crate::plugin::{Verb, shapes::rule};

/// Every right on one of `resources` in `group`, or of them those that write.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Dangerous {
    pub group: &'static str,
    /// Empty: every resource of the group.
    pub resources: &'static [&'static str],
    pub writes_only: bool,
    /// What such a right opens.
    pub opens: &'static str,
}

const ACCOUNTS: &str = "the rights of every ServiceAccount that a pod there can have";

/// Rights that are dangerous. Beside them is every right with a `*` for its group, resource or verb, and every one with a verb
/// of impersonate, bind and escalate.
pub const DANGEROUS: [Dangerous; 13] = [
    entry("", &["secrets"], false, "credentials"),
    entry(
        "",
        &[
            "pods/exec",
            "pods/attach",
            "pods/portforward",
            "pods/ephemeralcontainers",
        ],
        false,
        "what runs in the pods, with their rights",
    ),
    entry(
        "",
        &["serviceaccounts/token"],
        false,
        "the rights of those ServiceAccounts",
    ),
    entry("", &["nodes/proxy"], false, "the kubelets, and through them every pod"),
    entry("", &["pods", "replicationcontrollers"], true, ACCOUNTS),
    entry(
        "apps",
        &["deployments", "replicasets", "statefulsets", "daemonsets"],
        true,
        ACCOUNTS,
    ),
    entry("batch", &["jobs", "cronjobs"], true, ACCOUNTS),
    entry("rbac.authorization.k8s.io", &[], true, "who may do what"),
    entry("certificates.k8s.io", &[], true, "certificates in the names of others"),
    entry(
        "admissionregistration.k8s.io",
        &[],
        true,
        "what the API server admits, and who sees it",
    ),
    entry(
        "apiregistration.k8s.io",
        &[],
        true,
        "whole groups of the API, and who answers for them",
    ),
    entry(
        "apiextensions.k8s.io",
        &[],
        true,
        "kinds of the API server with all their objects",
    ),
    entry(
        "kite.dev",
        &["kiteplugins", "kiteplugins/status", "kiteplugins/finalizers"],
        true,
        "what plugins run, and with which rights",
    ),
];

/// The verbs of [`Verb::is_write`], but `*`, which is dangerous anyway.
const WRITES: &str = "['create', 'update', 'patch', 'delete', 'deletecollection']";

const fn entry(
    group: &'static str,
    resources: &'static [&'static str],
    writes_only: bool,
    opens: &'static str,
) -> Dangerous {
    Dangerous {
        group,
        resources,
        writes_only,
        opens,
    }
}

impl Dangerous {
    fn covers(&self, group: &str, resource: &str, verb: Verb) -> bool {
        self.group == group
            && (self.resources.is_empty() || self.resources.contains(&resource))
            && (!self.writes_only || verb.is_write())
    }

    /// The expression that a permission gives such a right.
    fn expression(&self) -> String {
        let mut all = vec![format!("'{}' in self.apiGroups", self.group)];
        if !self.resources.is_empty() {
            let resources: Vec<String> = self.resources.iter().map(|resource| format!("'{resource}'")).collect();
            all.push(format!("self.resources.exists(r, r in [{}])", resources.join(", ")));
        }
        if self.writes_only {
            all.push(format!("self.verbs.exists(v, v in {WRITES})"));
        }
        all.join(" && ")
    }

    /// What it is, for a message.
    fn words(&self) -> String {
        let what = if self.resources.is_empty() {
            self.group.to_owned()
        } else {
            self.resources.join(" or ")
        };
        let verbs = if self.writes_only { "writing" } else { "a right on" };
        format!("{verbs} {what} opens {}", self.opens)
    }
}

/// What the right opens beside itself, if it is dangerous.
pub fn opens(group: &str, resource: &str, verb: Verb) -> Option<&'static str> {
    if group == "*" || resource == "*" || verb == Verb::All {
        return Some("whatever there is or will be");
    }
    match verb {
        Verb::Impersonate => return Some("the rights of whoever is impersonated"),
        Verb::Bind | Verb::Escalate => return Some("rights that are not its own"),
        _ => {}
    }
    let covers = |entry: &&Dangerous| entry.covers(group, resource, verb);
    DANGEROUS.iter().find(covers).map(|entry| entry.opens)
}

/// The rules of the CRD about one permission.
pub fn permission_rules() -> Vec<Value> {
    const ACKNOWLEDGED: &str = "has(self.acknowledgeDangerous) && self.acknowledgeDangerous";
    const ADVICE: &str = "if that is meant, say acknowledgeDangerous: true beside it";
    const WILD: &str = "'*' in self.apiGroups || '*' in self.resources || '*' in self.verbs";
    let dangerous = |expression: &str, words: &str| {
        rule(
            &format!("({ACKNOWLEDGED}) || !({expression})"),
            &format!("{words}: {ADVICE}"),
        )
    };
    let mut rules = vec![
        rule(
            "!('*' in self.apiGroups) || self.apiGroups.size() == 1",
            "\"*\" stands alone in apiGroups: it is every group already",
        ),
        rule(
            "!('*' in self.resources) || self.resources.size() == 1",
            "\"*\" stands alone in resources: it is every resource already",
        ),
        rule(
            "!('*' in self.verbs) || self.verbs.size() == 1",
            "\"*\" stands alone in verbs: it is every verb already",
        ),
        rule(
            "!has(self.namespaces) || !('*' in self.namespaces) || self.namespaces.size() == 1",
            "\"*\" stands alone in namespaces: it is the whole cluster already",
        ),
        rule(
            &format!("(has(self.allowWildcards) && self.allowWildcards) || !({WILD})"),
            "\"*\" is granted with allowWildcards: true beside it only; name groups, resources and verbs instead where you can",
        ),
        dangerous(WILD, "\"*\" grants whatever there is or will be"),
        dangerous(
            "self.verbs.exists(v, v in ['impersonate', 'bind', 'escalate'])",
            "impersonate, bind and escalate open rights that are not the plugin's own",
        ),
    ];
    rules.extend(
        DANGEROUS
            .iter()
            .map(|entry| dangerous(&entry.expression(), &entry.words())),
    );
    rules
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_right_is_dangerous_for_each_of_its_reasons() {
        for (group, resource, verb) in [
            ("*", "pods", Verb::Get),
            ("", "*", Verb::Get),
            ("", "pods", Verb::All),
            ("", "users", Verb::Impersonate),
            ("rbac.authorization.k8s.io", "roles", Verb::Bind),
            ("", "secrets", Verb::Get),
            ("", "pods/exec", Verb::Get),
            ("", "pods", Verb::Create),
            ("apps", "deployments", Verb::Patch),
            (
                "certificates.k8s.io",
                "certificatesigningrequests/approval",
                Verb::Update,
            ),
            ("kite.dev", "kiteplugins", Verb::Delete),
        ] {
            assert!(opens(group, resource, verb).is_some(), "{verb:?} {resource}.{group}");
        }
    }

    #[test]
    fn its_honest_neighbours_are_not() {
        for (group, resource, verb) in [
            ("", "pods", Verb::Get),
            ("", "pods/log", Verb::Get),
            ("example.com", "secrets", Verb::Get),
            ("", "configmaps", Verb::Create),
            ("apps", "deployments", Verb::Watch),
            ("apps", "deployments/scale", Verb::Update),
            ("rbac.authorization.k8s.io", "roles", Verb::List),
            ("kite.dev", "kiteplugins/proxy", Verb::Create),
        ] {
            assert_eq!(opens(group, resource, verb), None, "{verb:?} {resource}.{group}");
        }
    }

    #[test]
    fn the_writes_are_those_of_the_verbs() {
        let writes = Verb::REQUESTS.into_iter().filter(|verb| verb.is_write());
        let list: Vec<String> = writes.map(|verb| format!("'{}'", verb.as_str())).collect();
        assert_eq!(WRITES, format!("[{}]", list.join(", ")));
    }
}
