use kite_plugin_sdk::{ResourceVerb, Resources};
use serde::{Deserialize, Serialize};

#[derive(Deserialize, Serialize)]
struct Report {
    euros: u32,
}

struct Reports;

impl Resources for Reports {
    type Fields = Report;
    const NAME: &'static str = "reports";
    const DESCRIPTION: &'static str = "What each namespace costs.";
    const VERBS: &'static [ResourceVerb] = &[];
}

fn main() {}
