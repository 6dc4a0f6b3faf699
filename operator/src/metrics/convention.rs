//! That the page keeps what Prometheus asks of names, and that all of it is documented.

#[path = "../../../proxy/src/metrics/tests/convention/rules.rs"]
mod rules;

use std::{
    collections::BTreeSet,
    time::{Duration, SystemTime},
};

use kube::runtime::reflector;
use rules::{described, odd};

use super::Metrics;
use crate::{controller::object::Object, identity::rotation::Stage};

const PREFIXES: [&str; 1] = ["kite_operator_"];
/// Where each metric stands at the beginning of a row.
const DOCUMENTATION: &str = include_str!("../../../docs/operate.md");

/// The families of the page, as those who ask for them call them.
fn told(page: &str) -> BTreeSet<String> {
    let families = page.lines().filter_map(|line| described(line, "# TYPE "));
    let names = families.map(|(family, kind)| match kind {
        "counter" => format!("{family}_total"),
        "info" => format!("{family}_info"),
        _ => family.to_owned(),
    });
    names.collect()
}

fn documented() -> BTreeSet<String> {
    let rows = DOCUMENTATION
        .lines()
        .filter(|line| line.starts_with("| `kite_operator_"));
    let cells = rows.filter_map(|row| row.split('|').nth(1));
    let names = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    names.map(str::to_owned).collect()
}

/// The page with something in each family.
fn whole() -> String {
    let metrics = Metrics::default();
    let (store, _writer) = reflector::store::<Object>();
    let (took, now) = (Duration::from_millis(20), Some(SystemTime::now()));
    metrics.leads();
    metrics.plugins_are_in(store);
    metrics.reconciled(took, Some("apply"));
    metrics.asked(took, true);
    metrics.told("settings", took, "taken");
    metrics.cluster("far", Some(true));
    metrics.certificate("serving-ca", now);
    metrics.plugin_certificate("hello", now);
    metrics.rotation("serving-ca", Stage::Steady);
    metrics.refused_permissions("hello", 1);
    metrics.boundary(Some(0), 0);
    metrics.text()
}

#[test]
fn the_page_is_as_prometheus_has_it_and_the_documentation_knows_all_of_it() {
    let page = whole();
    assert_eq!(odd(&page, &PREFIXES), [""; 0], "{page}");
    assert_eq!(told(&page), documented());
}
