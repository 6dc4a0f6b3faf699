//! That the page keeps what Prometheus asks of names.

mod rules;

use super::*;
use rules::odd;

const PREFIXES: [&str; 2] = ["kite_gateway_", "process_"];

#[test]
fn the_page_is_as_prometheus_has_it() {
    let trail = Trail::start(Lines::to(Vec::new())).unwrap();
    let log = AccessLog::to(std::io::sink()).unwrap();
    let (metrics, _under_way) = counted();
    let page = metrics.text(HashMap::from([(name("hello"), 2)]), &trail, Some(&log));
    assert_eq!(odd(&page, &PREFIXES), [""; 0], "{page}");
}
