//! The suite: every rule looked at, one after another, each within its time.

use std::time::Duration;

use serde::Serialize;
use strum::IntoEnumIterator as _;
use tokio::time::timeout;

use crate::{
    Rule, Verdict, WireError,
    checks::trust,
    verdict::{Checked, broken},
    world::{Known, Limits, Process, Target, World},
};

/// Nothing that a plugin does makes one check take longer than so many times the limit for an answer.
const MOST_ANSWERS: u32 = 12;

/// Why the plugin could not be asked anything.
#[derive(Debug, thiserror::Error)]
pub enum SuiteError {
    #[error("failed to reach the plugin")]
    Reach(#[from] WireError),
    #[error("failed to call the plugin: it does not take the host's certificate, or answers no call of gRPC")]
    Call,
}

/// What the suite needs.
pub struct Suite {
    pub target: Target,
    pub known: Known,
    pub limits: Limits,
    /// The plugin's process, if the suite may change its certificates and end it. What needs that is looked at last.
    pub process: Option<Box<dyn Process>>,
}

/// A rule and how it ended.
#[derive(Clone, Debug)]
pub struct Finding {
    pub rule: Rule,
    pub verdict: Verdict,
}

/// How all rules ended, in their order.
#[derive(Clone, Debug)]
pub struct Report(pub Vec<Finding>);

/// How many rules ended how.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    pub kept: usize,
    pub broken: usize,
    pub not_applicable: usize,
}

impl Report {
    /// How many rules ended how.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for finding in &self.0 {
            match finding.verdict {
                Verdict::Kept => counts.kept += 1,
                Verdict::Broken { .. } => counts.broken += 1,
                Verdict::NotApplicable { .. } => counts.not_applicable += 1,
            }
        }
        counts
    }

    /// The rules that are broken.
    pub fn broken(&self) -> impl Iterator<Item = Rule> {
        let is_broken = |finding: &&Finding| matches!(finding.verdict, Verdict::Broken { .. });
        self.0.iter().filter(is_broken).map(|finding| finding.rule)
    }
}

impl Suite {
    /// Looks at every rule, and tells each as it is found. Each has its own time limit, and what a plugin answers is kept in bounds.
    pub async fn run(self, mut tell: impl FnMut(&Finding)) -> Result<Report, SuiteError> {
        let limit = self.limits.answer * MOST_ANSWERS + self.limits.renewal + self.limits.end;
        let world = World::new(self.target, self.known, self.limits, self.process);
        if !trust::reachable(&world).await? {
            return Err(SuiteError::Call);
        }
        let mut findings = Vec::new();
        for rule in Rule::iter() {
            let checked = within(limit, rule.check(&world)).await;
            let finding = Finding {
                rule,
                verdict: checked.into(),
            };
            tell(&finding);
            findings.push(finding);
        }
        Ok(Report(findings))
    }
}

async fn within(limit: Duration, check: impl Future<Output = Checked>) -> Checked {
    match timeout(limit, check).await {
        Ok(checked) => checked,
        Err(_) => broken(format!("no end in {} s", limit.as_secs()), "an answer in time"),
    }
}
