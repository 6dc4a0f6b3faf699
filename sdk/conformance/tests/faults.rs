//! Each rule is tried on a plugin that breaks it: exactly that rule is red, and no other.
#![cfg(test)]

use futures::{StreamExt as _, stream};
use kite_conformance::{
    Rule, Verdict,
    faults::{Fault, Reference},
};
use strum::IntoEnumIterator as _;

/// Plugins that are tried at once: what they do is mostly to wait.
const AT_ONCE: usize = 24;

/// What is found of the plugin with this fault.
async fn tried(fault: Option<Fault>) -> Vec<(Rule, Verdict)> {
    let reference = Reference::start(fault).await.unwrap();
    let suite = reference.suite(Reference::limits()).unwrap();
    let report = suite.run(|_| {}).await.unwrap();
    report
        .0
        .into_iter()
        .map(|finding| (finding.rule, finding.verdict))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_without_fault_keeps_every_rule() {
    for (rule, verdict) in tried(None).await {
        // It lets requests go on, and does not answer them too.
        if rule != Rule::InterceptAnswer {
            assert_eq!(verdict, Verdict::Kept, "{rule:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_fault_breaks_its_rule_and_no_other() {
    let tried = stream::iter(Rule::iter()).map(|rule| {
        tokio::spawn(async move {
            let found = tried(Some(Fault::against(rule))).await;
            let broken = found
                .into_iter()
                .filter(|(_, verdict)| matches!(verdict, Verdict::Broken { .. }));
            (rule, broken.collect::<Vec<_>>())
        })
    });
    let tried: Vec<_> = tried.buffer_unordered(AT_ONCE).collect().await;
    let mut wrong = Vec::new();
    for one in tried {
        let (rule, broken) = one.unwrap();
        let rules: Vec<_> = broken.iter().map(|(rule, _)| *rule).collect();
        if rules != [rule] {
            wrong.push(format!("{:?} against {rule:?}: {broken:#?}", Fault::against(rule)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
