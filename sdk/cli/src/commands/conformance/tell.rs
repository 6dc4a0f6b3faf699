//! The report, for people and for programs.

use std::path::Path;

use kite_conformance::{Counts, Finding, Report, Rule, Verdict};
use serde::Serialize;
use strum::IntoEnumIterator as _;

use crate::printer::Printer;

/// Before each thing that is told of a rule beyond its line.
const INDENT: &str = "                ";

pub(super) fn prepared(folder: &Path, name: &str, printer: &mut Printer<'_>) {
    let folder = folder.display();
    printer.talk(&format!("Made certificates for {name} in {folder}\n"));
    printer.hint(&format!(
        "start the plugin with KITE_PLUGIN_NAME={name} and these as its /run/kite, or with KITE_PLUGIN_FOLDER={folder}, and ask it: \
         `kite-plugin conformance --name {name} --certificates {folder} 127.0.0.1`"
    ));
}

pub(super) fn begin(name: &str, printer: &mut Printer<'_>) {
    printer.talk(&format!("Asking {name} about {} rules\n", Rule::iter().count()));
}

fn key(rule: Rule) -> &'static str {
    rule.into()
}

pub(super) fn finding(finding: &Finding, printer: &mut Printer<'_>) {
    let rule = finding.rule;
    let line = |verdict: &str| format!("{verdict:<16}{}\n", key(rule));
    let more = |what: &str, text: &str| format!("{INDENT}{what}: {text}\n");
    printer.data(&match &finding.verdict {
        Verdict::Kept => line("kept"),
        Verdict::NotApplicable { why } => line("not applicable") + &more("because", why),
        Verdict::Broken { seen, expected } => [
            line("broken"),
            more("rule", rule.sentence()),
            more("seen", seen),
            more("expected", expected),
            more("plugin.proto", rule.quote()),
        ]
        .concat(),
    });
}

/// The report for programs.
#[derive(Serialize)]
struct Json<'a> {
    plugin: &'a str,
    counts: Counts,
    rules: Vec<JsonRule<'a>>,
}

#[derive(Serialize)]
struct JsonRule<'a> {
    rule: &'static str,
    sentence: &'static str,
    quote: &'static str,
    #[serde(flatten)]
    verdict: &'a Verdict,
}

pub(super) fn json(name: &str, report: &Report, printer: &mut Printer<'_>) {
    let rules = report.0.iter().map(|finding| JsonRule {
        rule: key(finding.rule),
        sentence: finding.rule.sentence(),
        quote: finding.rule.quote(),
        verdict: &finding.verdict,
    });
    let json = Json {
        plugin: name,
        counts: report.counts(),
        rules: rules.collect(),
    };
    // Texts and numbers: nothing that JSON could not hold.
    printer.data(&(serde_json::to_string_pretty(&json).unwrap_or_default() + "\n"));
}

pub(super) fn counts(report: &Report, printer: &mut Printer<'_>) {
    let Counts {
        kept,
        broken,
        not_applicable,
    } = report.counts();
    printer.talk(&format!(
        "{kept} kept, {broken} broken, {not_applicable} not applicable\n"
    ));
}
