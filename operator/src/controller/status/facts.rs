//! The conditions that speak of a plugin beside its pods.

use std::collections::BTreeMap;

use kite_api::{
    DependencyStatus,
    conditions::{DEPENDENCIES_SATISFIED, IN_EFFECT, PERMISSIONS_GRANTED, SETTINGS_ACCEPTED, reasons},
    dependencies::{NeededBy, Problem, Standing},
    settings::SettingsError,
};

use super::condition::{Fact, Truth};
use crate::{
    controller::{findings::Findings, settings::SettingsFault},
    first_of,
    push::news::Taken,
};

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

/// Whether there are settings for a revision, and its pods have `taken` them.
pub(super) fn settings_of(settings: &Result<(), SettingsFault>, taken: &Taken) -> Fact {
    let fact = |truth, reason, message: &str| Fact::new(SETTINGS_ACCEPTED, truth, reason, message);
    if let Err(fault) = settings {
        let reason = match fault {
            SettingsFault::Missing { .. } | SettingsFault::Unlabelled { .. } => reasons::SECRET_MISSING,
            SettingsFault::Check(SettingsError::Bounds(_) | SettingsError::Schema(_)) => reasons::SCHEMA_INVALID,
            SettingsFault::Check(
                SettingsError::Violation(_)
                | SettingsError::Long(_)
                | SettingsError::Secret(_)
                | SettingsError::Whole
                | SettingsError::Json(_),
            ) => reasons::SCHEMA_VIOLATION,
        };
        return fact(Truth::False, reason, &fault.to_string());
    }
    let told = |reasons: &BTreeMap<String, String>, what: &str| {
        let told = reasons.iter().map(|(pod, reason)| format!("pod {pod}{what}: {reason}"));
        first_of::sentences(&told.collect::<Vec<_>>())
    };
    let failed = told(&taken.failed, " could not be given them");
    let holds = "spec.settings is what spec.settingsSchema says";
    if !taken.refused.is_empty() {
        let refused = told(&taken.refused, "");
        let message =
            format!("the plugin refuses the settings, and goes on with those that it accepted last: {refused}");
        return fact(Truth::False, reasons::REFUSED, &message);
    }
    match (taken.accepted, taken.is_whole()) {
        (0, true) => fact(Truth::True, reasons::ACCEPTED, holds),
        (_, true) => fact(
            Truth::True,
            reasons::ACCEPTED,
            &format!("{holds}, and the plugin has accepted it"),
        ),
        (0, false) if taken.failed.is_empty() => fact(
            Truth::Unknown,
            reasons::PROGRESSING,
            "the plugin has not said yet whether it accepts the settings",
        ),
        (0, false) => fact(Truth::False, reasons::UNREACHABLE, &failed),
        (_, false) if taken.failed.is_empty() => fact(
            Truth::True,
            reasons::ACCEPTED,
            &format!("{holds}, and the plugin has accepted it, but not all of its pods have said so yet"),
        ),
        (_, false) => fact(
            Truth::True,
            reasons::ACCEPTED,
            &format!("{holds}, and the plugin has accepted it, but {failed}"),
        ),
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
    if !findings.lacking.is_empty() {
        told.push(format!(
            "the revision that serves was made with rights that spec.permissions and spec.calls do not give any longer, and goes on without \
             them until the new one takes over: {}",
            first_of::sentences(&findings.lacking),
        ));
    }
    let reason = match (without.not_yet_built.as_slice(), without.unknown_slots.as_slice()) {
        ([], []) => reasons::OLD_REVISION_LACKS_RIGHTS,
        ([], _) => reasons::UNKNOWN_SLOT,
        _ => reasons::NOT_YET_BUILT,
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
        let nobody = Taken::default();
        let reason = |error| settings_of(&Err(SettingsFault::Check(error)), &nobody).reason;
        let violation = SettingsError::Violation(vec![String::from("/a: no")]);
        assert_eq!(reason(violation), "SchemaViolation");
        assert_eq!(reason(SettingsError::Schema(String::from("no"))), "SchemaInvalid");
        assert_eq!(reason(SettingsError::Whole), "SchemaViolation");
        let missing = SettingsFault::Unlabelled {
            name: String::from("keys"),
            plugin: String::from("hello"),
        };
        let missing = settings_of(&Err(missing), &nobody);
        assert_eq!(missing.reason, "SecretMissing");
        assert!(
            missing.message.contains("give it the label kite.dev/plugin: hello"),
            "{missing:?}"
        );
        assert_eq!(settings_of(&Ok(()), &nobody).truth, Truth::True);
    }

    #[test]
    fn settings_are_told_by_what_the_pods_say() {
        let pods = |reasons: &[(&str, &str)]| {
            reasons
                .iter()
                .map(|(pod, it)| ((*pod).to_owned(), (*it).to_owned()))
                .collect()
        };
        let say = |accepted, refused: &[(&str, &str)], failed: &[(&str, &str)], waiting| {
            let taken = Taken {
                accepted,
                refused: pods(refused),
                failed: pods(failed),
                waiting,
            };
            let fact = settings_of(&Ok(()), &taken);
            (fact.truth, fact.reason, fact.message)
        };
        let (truth, reason, message) = say(2, &[], &[], 0);
        assert_eq!((truth, reason.as_str()), (Truth::True, "Accepted"));
        assert!(message.ends_with("and the plugin has accepted it"), "{message}");
        let (truth, reason, message) = say(1, &[("a", "too dear")], &[("b", "no answer")], 0);
        assert_eq!((truth, reason.as_str()), (Truth::False, "Refused"));
        assert!(message.ends_with("accepted last: pod a: too dear"), "{message}");
        let (truth, reason, message) = say(1, &[], &[("b", "no answer")], 1);
        assert_eq!((truth, reason.as_str()), (Truth::True, "Accepted"));
        assert!(
            message.ends_with("but pod b could not be given them: no answer"),
            "{message}"
        );
        let (truth, reason, _) = say(0, &[], &[("b", "no answer")], 0);
        assert_eq!((truth, reason.as_str()), (Truth::False, "Unreachable"));
        let (truth, reason, _) = say(0, &[], &[], 1);
        assert_eq!((truth, reason.as_str()), (Truth::Unknown, "Progressing"));
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
    fn rights_that_the_serving_revision_has_lost_are_told() {
        let lacking = |not_yet_built: Vec<&'static str>| {
            effect(&Findings {
                lacking: vec![String::from("get nodes")],
                without_effect: WithoutEffect {
                    not_yet_built,
                    ..WithoutEffect::default()
                },
                ..Findings::default()
            })
        };
        let fact = lacking(vec![]);
        assert_eq!(
            (fact.truth, fact.reason.as_str()),
            (Truth::False, "OldRevisionLacksRights")
        );
        assert!(fact.message.ends_with("takes over: get nodes"), "{fact:?}");
        assert_eq!(lacking(vec!["env"]).reason, "NotYetBuilt");
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
