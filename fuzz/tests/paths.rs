//! Routes that lie close to one another, and paths that are nearly theirs, before the whole gateway: `PROPTEST_CASES` says how many.

use proptest::{collection::vec, prelude::*};

/// A message behind its length.
fn behind_length(message: &[u8]) -> Vec<u8> {
    // None is longer than its two bytes say.
    let length = u16::try_from(message.len()).unwrap_or_default();
    [&length.to_be_bytes()[..], message].concat()
}

/// A segment, spelled in one of many ways.
const SEGMENT: &str = "(a|b|c\\.d|~e|shop|nope|%61|%7[eE]|c%2[eE]d|\\*|\\{x\\}|%7Bx%7D|;|a;b|a%3bb|b;v=1|%2f|%2e%2e|%252f|\\.\\.|%00|%ff|A|%e4|)";
const QUERY: &str = "(\\?(ns=(shop|nope|)|n%73=nope|NS=nope|ns\\[\\]=nope|;|&|a=%2e%2e|%00|%ff){0,5})?";

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn path_confusion_gateway_authorizer_and_plugin_mean_the_same(
        segments in vec(SEGMENT, 0..5), ends in "(/|//|)", query in QUERY,
        how in any::<[u8; 2]>(), routes in vec(vec(0_u8..16, 1..5), 0..6),
    ) {
        let target = format!("/api/v1/plugins/hello/{}{ends}{query}", segments.join("/"));
        let messages = [target.into_bytes(), how.to_vec()].into_iter().chain(routes);
        let data: Vec<u8> = messages.flat_map(|message| behind_length(&message)).collect();
        kite_fuzz::try_target("gateway_paths", &data);
    }
}
