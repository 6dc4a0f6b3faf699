//! The answer for people and for programs.

use std::path::Path;

use kite_api::{
    boundary::Places,
    rights::{self, Summary},
};
use serde::Serialize;

use super::Output;
use crate::{
    manifest::{Checked, Complaint, Manifest, Severity},
    printer::Printer,
};

pub(super) fn tell(checked: &Checked, file: &Path, places: Places<'_>, output: Output, printer: &mut Printer<'_>) {
    match output {
        Output::Text => {
            printer.talk(&checked.complaints.report());
            match &checked.manifest {
                Some(manifest) => printer.data(&words(manifest, places)),
                None => printer.talk(&format!("\n{}\n", verdict(checked, file))),
            }
        }
        Output::Json => printer.data(&json(checked, file, places)),
    }
    if checked.manifest.is_some() {
        printer.hint(&format!(
            "see whether you may apply it: `kite-plugin can-i-apply {}`",
            file.display()
        ));
    }
}

fn verdict(checked: &Checked, file: &Path) -> String {
    let warnings = checked
        .complaints
        .told()
        .iter()
        .filter(|it| it.severity == Severity::Warning);
    let counted = |count: usize, noun: &str| format!("{count} {noun}{}", if count == 1 { "" } else { "s" });
    let errors = counted(checked.complaints.errors(), "error");
    let warnings = match warnings.count() {
        0 => String::new(),
        count => format!(", {}", counted(count, "warning")),
    };
    format!("{} is not valid: {errors}{warnings}", file.display())
}

/// What the plugin is, and its rights.
fn words(manifest: &Manifest, places: Places<'_>) -> String {
    let spec = &manifest.plugin().spec;
    let summary = rights::summary(spec, places.plugins);
    let mut lines = vec![format!("{} {} is valid", manifest.name, manifest.version)];
    lines.extend(spec.description.iter().cloned());
    lines.push(format!("image {}", spec.image));
    if !summary.enabled {
        lines.push(String::from("disabled, and until it is enabled nothing of this holds:"));
    }
    let rights = summary.rights.iter().map(|right| match &right.dangerous {
        Some(opens) => format!("may {} (dangerous: opens {opens})", right.text),
        None => format!("may {}", right.text),
    });
    if summary.rights.is_empty() {
        lines.push(String::from("may do nothing in the cluster"));
    }
    lines.extend(rights);
    lines.extend(summary.trust.iter().cloned());
    lines.extend(summary.open.iter().cloned());
    lines.join("\n") + "\n"
}

/// The answer for programs.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Json<'a> {
    file: String,
    valid: bool,
    /// Absent where the document is not valid.
    #[serde(skip_serializing_if = "Option::is_none")]
    plugin: Option<JsonPlugin<'a>>,
    complaints: &'a [Complaint],
    /// How many complaints are not among them.
    left_out: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct JsonPlugin<'a> {
    name: &'a str,
    version: String,
    image: &'a str,
    #[serde(flatten)]
    summary: Summary,
}

fn json(checked: &Checked, file: &Path, places: Places<'_>) -> String {
    let plugin = checked.manifest.as_ref().map(|manifest| JsonPlugin {
        name: manifest.name.as_str(),
        version: manifest.version.to_string(),
        image: &manifest.plugin().spec.image,
        summary: rights::summary(&manifest.plugin().spec, places.plugins),
    });
    let json = Json {
        file: file.display().to_string(),
        valid: plugin.is_some(),
        plugin,
        complaints: checked.complaints.told(),
        left_out: checked.complaints.left_out(),
    };
    // Texts, numbers and lists of them: nothing that JSON could not hold.
    serde_json::to_string_pretty(&json).unwrap_or_default() + "\n"
}
