//! Each type of problem has a test in which a request ends by it: one that is added without a test fails here.

use super::{
    ends::{ENDS, PINNED},
    *,
};
use crate::problem::Kind;

/// The tests of what ends no request of the tables: where they stand, their names, and the problems that they expect.
#[rustfmt::skip]
const ELSEWHERE: &[(&str, &str, &[Kind])] = &[
    (include_str!("../tests.rs"), "an_upgrade_needs_get_and_create_and_is_a_web_socket_or_nothing", &[Kind::InvalidHandshake, Kind::UpgradeUnsupported]),
    (include_str!("ends.rs"), "a_body_that_breaks_off_ends_its_request", &[Kind::BrokenBody]),
    (include_str!("records.rs"), "a_gateway_is_ready_between_its_first_list_and_its_end", &[Kind::NotReady]),
    (include_str!("session.rs"), "a_login_ends_at_the_first_check_that_it_fails", &[Kind::CrossSite, Kind::TokenTooLarge]),
    (include_str!("session.rs"), "a_logout_that_is_not_recorded_is_not_answered_as_one", &[Kind::SessionsUnavailable]),
    (include_str!("session.rs"), "whoever_has_no_session_ends_none", &[Kind::NoSession]),
    (include_str!("session.rs"), "whoever_fails_too_often_is_slowed_down_and_whoever_is_known_is_not", &[Kind::TooManyAttempts]),
    (include_str!("../../../tests/forward.rs"), "a_tool_that_fails_says_how", &[
        Kind::ArgumentsRefused, Kind::PluginAnswerInvalid, Kind::PluginFailed, Kind::PluginTimeout, Kind::ToolFailed, Kind::ToolForbidden,
    ]),
    (include_str!("../../../tests/support/faults.rs"), "a_caller_who_keeps_the_plugin_waiting_is_told", &[Kind::BodyTimeout]),
    (include_str!("../../../tests/support/records.rs"), "a_change_whose_record_was_lost_says_so", &[Kind::AuditFailed, Kind::AuditUnavailable]),
    (include_str!("../../../tests/support/served.rs"), "a_request_that_is_not_looked_at_is_told_why", &[Kind::InvalidRequest, Kind::TooManyFields]),
    (include_str!("../../../tests/support/socket.rs"), "a_handshake_that_is_none_is_refused_and_the_connection_stays_http", &[Kind::WebsocketVersion]),
    (include_str!("../../../tests/support/tools.rs"), "a_list_of_tools_that_is_too_large_is_refused", &[Kind::ListTooLarge]),
];

/// What the test `name` does, if it stands in `source`.
fn steps<'a>(source: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = source.split_once(&format!("#[tokio::test]\nasync fn {name}() {{\n"))?;
    rest.split_once("\n}\n").map(|(steps, _)| steps)
}

#[test]
fn each_type_of_problem_ends_a_request_in_a_test() {
    let slugs = ENDS.iter().map(|row| row.5).chain(PINNED.iter().map(|row| row.4));
    let in_tables: BTreeSet<&str> = slugs.collect();
    for kind in Kind::ALL {
        let slug = kind.slug();
        let named = ELSEWHERE.iter().filter(|(_, _, kinds)| kinds.contains(kind)).count();
        let expected = usize::from(!in_tables.contains(slug));
        assert_eq!(named, expected, "{slug} has a row in a table, or one test elsewhere");
    }
    for (source, name, kinds) in ELSEWHERE {
        let Some(steps) = steps(source, name) else {
            panic!("there is no test {name}");
        };
        for kind in *kinds {
            let slug = kind.slug();
            assert!(steps.contains(&format!("\"{slug}\"")), "{name} does not expect {slug}");
        }
    }
}
