//! The conditions that speak of a plugin beside its pods.

use kite_api::{
    DependencyStatus,
    conditions::{DEPENDENCIES_SATISFIED, IN_EFFECT, PERMISSIONS_GRANTED, SETTINGS_ACCEPTED, reasons},
    dependencies::{NeededBy, Problem, Standing},
    settings::SettingsError,
};

use super::condition::{Fact, Truth};
use crate::{controller::findings::Findings, first_of};

/// Whether all is there that the plugin needs: other plugins, and the versions that it runs with.
pub(super) fn dependencies(findings: &Findings) -> Fact {
    let Findings { standing, unmet, .. } = findings;
    let fact = |truth, reason, message: &str| Fact::new(DEPENDENCIES_SATISFIED, truth, reason, message);
    let mut told: Vec<String> = unmet.iter().map(ToString::to_string).collect();
    if let Some(version) = &findings.kept {
        told.push(format!("until then version {version} goes on"));
    }
    match (standing.is_satisfied(), unmet.is_empty()) {
        (true, true) => fact(Truth::True, reasons::SATISFIED, &standing.message()),
        (true, false) => fact(Truth::False, reasons::HOST_VERSION, &told.join("; ")),
        (false, _) => {
            told.insert(0, standing.message());
            fact(Truth::False, standing.reason(), &told.join("; "))
        }
    }
}

/// Whether the plugin has what its grant gives it.
pub(super) fn permissions(findings: &Findings) -> Fact {
    let places = &findings.places;
    let fact = |truth, reason, message: &str| Fact::new(PERMISSIONS_GRANTED, truth, reason, message);
    if let Some(refused) = &findings.rights_refused {
        return fact(Truth::False, reasons::REFUSED, refused);
    }
    if !findings.refused.is_empty() {
        let message = format!(
            "not given, because the API server refuses it in any object that is applied now: {}; correct it, or take it out; \
             what is given: {}",
            first_of::sentences(&findings.refused),
            findings.grant,
        );
        return fact(Truth::False, reasons::REFUSED, &message);
    }
    if !places.replaced.is_empty() {
        let message = format!(
            "deleted and made again since it was granted: {}; the grant was not given for what is there now: take the \
             namespace out of spec.permissions, wait until status.observedGeneration follows, and put it back to give it",
            namespaces(&places.replaced),
        );
        return fact(Truth::False, reasons::NAMESPACE_REPLACED, &message);
    }
    let mut message = findings.grant.clone();
    if !places.missing.is_empty() {
        let missing = namespaces(&places.missing);
        message = format!("{message}; not there yet, and to get its Role when it appears: {missing}");
    }
    fact(Truth::True, reasons::GRANTED, &message)
}

/// Namespaces, as many as a message should name.
fn namespaces(names: &[String]) -> String {
    let kind = if names.len() == 1 { "namespace" } else { "namespaces" };
    format!("{kind} {}", first_of::names(names))
}

/// Whether the settings are what the schema says.
pub(super) fn settings(findings: &Findings) -> Fact {
    let fact = |truth, reason, message: &str| Fact::new(SETTINGS_ACCEPTED, truth, reason, message);
    match &findings.settings {
        Ok(()) => fact(
            Truth::True,
            reasons::ACCEPTED,
            "spec.settings is what spec.settingsSchema says",
        ),
        Err(error @ (SettingsError::Violation(_) | SettingsError::Long(_))) => {
            fact(Truth::False, reasons::SCHEMA_VIOLATION, &error.to_string())
        }
        Err(error @ (SettingsError::Bounds(_) | SettingsError::Schema(_))) => {
            fact(Truth::False, reasons::SCHEMA_INVALID, &error.to_string())
        }
    }
}

/// Whether everything in the object has an effect.
pub(super) fn effect(findings: &Findings) -> Fact {
    let without = &findings.without_effect;
    let mut told = Vec::new();
    if !without.not_yet_built.is_empty() {
        let fields: Vec<String> = without
            .not_yet_built
            .iter()
            .map(|field| format!("spec.{field}"))
            .collect();
        told.push(format!("this version does not act on {} yet", fields.join(", ")));
    }
    if !without.unknown_slots.is_empty() {
        told.push(format!(
            "spec.frontend.injections names slots that the dashboard does not have: {}",
            without.unknown_slots.join(", ")
        ));
    }
    let reason = if without.not_yet_built.is_empty() {
        reasons::UNKNOWN_SLOT
    } else {
        reasons::NOT_YET_BUILT
    };
    match told.as_slice() {
        [] => Fact::new(
            IN_EFFECT,
            Truth::True,
            reasons::IN_EFFECT,
            "everything in the object is in effect",
        ),
        told => Fact::new(IN_EFFECT, Truth::False, reason, &told.join("; ")),
    }
}

/// Who needs the plugin and cannot have it, for the plugin's own Ready condition.
pub fn needed_by(standing: &Standing) -> Option<String> {
    let why = |problem| match problem {
        Problem::Deleting => "it is being deleted",
        Problem::Disabled => "it is disabled",
        _ => "its version is out of that range",
    };
    let tell = |it: &NeededBy| format!("{} (requires {}; {})", it.name, it.requirement, why(it.problem));
    let mut told: Vec<String> = standing.needed_by.iter().take(first_of::MOST).map(tell).collect();
    let more = standing.needed_by.len().saturating_sub(first_of::MOST);
    if more > 0 {
        told.push(format!("and {more} more"));
    }
    (!told.is_empty()).then(|| format!("other plugins need it and cannot have it: {}", told.join(", ")))
}

/// The dependencies, for the status' own list.
pub(super) fn dependency_list(standing: &Standing) -> Vec<DependencyStatus> {
    let list = standing.needs.iter().map(|need| DependencyStatus {
        name: need.name.to_string(),
        required: need.requirement.to_string(),
        found: need.found.as_ref().map(ToString::to_string),
        ready: need.ready,
    });
    list.collect()
}

#[cfg(test)]
mod tests {
    use kite_api::{
        PluginName, Requirement,
        dependencies::Need,
        effect::WithoutEffect,
        host::{HostPart, Unmet},
    };
    use semver::Version;

    use super::*;
    use crate::controller::namespaces::Places;

    fn told(fact: &Fact) -> (Truth, &str, &str) {
        (fact.truth, fact.reason.as_str(), fact.message.as_str())
    }

    fn missing() -> Standing {
        Standing {
            needs: vec![Need {
                name: PluginName::parse("lib").unwrap(),
                requirement: Requirement::parse("^1.0").unwrap(),
                optional: false,
                found: None,
                ready: false,
                problem: Some(Problem::Missing),
            }],
            ..Standing::default()
        }
    }

    #[test]
    fn dependencies_and_host_are_told_together() {
        let fact = dependencies(&Findings::default());
        assert_eq!(told(&fact), (Truth::True, "Satisfied", "it depends on no other plugin"));
        let unmet = Unmet {
            part: HostPart::Kubernetes,
            required: Requirement::parse(">=1.40").unwrap(),
            found: Version::new(1, 34, 4),
        };
        let host = Findings {
            unmet: vec![unmet.clone()],
            ..Findings::default()
        };
        assert_eq!(dependencies(&host).reason, "HostVersion");
        let both = Findings {
            standing: missing(),
            unmet: vec![unmet],
            ..Findings::default()
        };
        let fact = dependencies(&both);
        assert_eq!(fact.reason, "Missing");
        assert!(
            fact.message.contains("lib ^1.0") && fact.message.contains(">=1.40"),
            "{fact:?}"
        );
        assert!(!both.may_start() && !host.may_start());
    }

    #[test]
    fn a_replaced_namespace_is_told_with_what_to_do_and_a_missing_one_beside_the_grant() {
        let places = |missing: &[&str], replaced: &[&str]| Findings {
            places: Places {
                missing: missing.iter().map(|name| (*name).to_owned()).collect(),
                replaced: replaced.iter().map(|name| (*name).to_owned()).collect(),
                ..Places::default()
            },
            ..Findings::default()
        };
        assert_eq!(
            told(&permissions(&places(&["pay"], &[]))),
            (
                Truth::True,
                "Granted",
                "it may do nothing; not there yet, and to get its Role when it appears: namespace pay"
            )
        );
        let replaced = permissions(&places(&[], &["pay", "shop"]));
        assert_eq!(replaced.reason, "NamespaceReplaced");
        assert!(replaced.message.contains("namespaces pay, shop"), "{replaced:?}");
    }

    #[test]
    fn what_the_rules_refuse_is_told_with_what_is_given_all_the_same() {
        let findings = |count: usize| Findings {
            refused: (0..count).map(|n| format!("spec.permissions[{n}]: no")).collect(),
            ..Findings::default()
        };
        assert_eq!(
            told(&permissions(&findings(1))),
            (
                Truth::False,
                "Refused",
                "not given, because the API server refuses it in any object that is applied now: spec.permissions[0]: no; correct \
                 it, or take it out; what is given: it may do nothing"
            )
        );
        assert!(
            permissions(&findings(10))
                .message
                .contains("spec.permissions[7]: no; and 2 more;")
        );
    }

    #[test]
    fn settings_are_told_by_what_is_wrong() {
        let with = |error| Findings {
            settings: Err(error),
            ..Findings::default()
        };
        let violation = SettingsError::Violation(vec![String::from("/a: no")]);
        assert_eq!(settings(&with(violation)).reason, "SchemaViolation");
        assert_eq!(
            settings(&with(SettingsError::Schema(String::from("no")))).reason,
            "SchemaInvalid"
        );
        assert_eq!(settings(&Findings::default()).truth, Truth::True);
    }

    #[test]
    fn what_has_no_effect_is_named() {
        let with = |not_yet_built: Vec<&'static str>, slots: &[&str]| {
            effect(&Findings {
                without_effect: WithoutEffect {
                    not_yet_built,
                    unknown_slots: slots.iter().map(|slot| (*slot).to_owned()).collect(),
                },
                ..Findings::default()
            })
        };
        assert_eq!(with(vec![], &[]).truth, Truth::True);
        assert_eq!(with(vec![], &["moon"]).reason, "UnknownSlot");
        assert_eq!(
            told(&with(vec!["routes", "env"], &["moon"])),
            (
                Truth::False,
                "NotYetBuilt",
                "this version does not act on spec.routes, spec.env yet; spec.frontend.injections names slots that the \
                 dashboard does not have: moon"
            )
        );
    }

    #[test]
    fn who_needs_it_is_named_and_bounded() {
        assert_eq!(needed_by(&Standing::default()), None);
        let by = |number: usize| NeededBy {
            name: PluginName::parse(&format!("user-{number}")).unwrap(),
            requirement: Requirement::parse("^1.0").unwrap(),
            problem: Problem::Disabled,
        };
        let standing = Standing {
            needed_by: (0..10).map(by).collect(),
            ..Standing::default()
        };
        let text = needed_by(&standing).unwrap();
        assert!(text.contains("user-0 (requires ^1.0; it is disabled)"), "{text}");
        assert!(text.ends_with("and 2 more") && !text.contains("user-8"), "{text}");
    }
}
