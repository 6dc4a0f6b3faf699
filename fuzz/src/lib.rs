//! What every decoder must hold, whatever comes: one function for each, which panics if it does not.
//!
//! libFuzzer calls them with what it makes up (`make fuzz`), and the tests with all that is in `corpus/`.
#![expect(
    clippy::expect_used,
    reason = "what cannot be made ready is as much a failure as a decoder that breaks its rules"
)]

mod gateway;
mod headers;
mod manifest;
mod messages;
mod operator;
mod package;
mod sdk;
mod web_socket;

/// A decoder's function, by the name of its target and of its folder in `corpus/`.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: [Target; 17] = [
    ("cli_manifest", manifest::parse),
    ("cli_package", package::read),
    ("gateway_arguments", gateway::arguments),
    ("gateway_describe", gateway::describe),
    ("gateway_exchange", gateway::exchange::listen),
    ("gateway_http", gateway::http),
    ("gateway_paths", gateway::paths::reach),
    ("gateway_socket", gateway::socket::bridge),
    ("gateway_tool", gateway::tool),
    ("headers", headers::both_ways),
    ("operator_describe", operator::describe),
    ("sdk_exchange", sdk::exchange::serve),
    ("sdk_host", sdk::unary::host),
    ("sdk_http", sdk::http),
    ("sdk_resource", sdk::unary::resource),
    ("sdk_tool", sdk::unary::tool),
    ("web_socket_frames", web_socket::frames),
];

/// Tries the target called `name`.
///
/// # Panics
///
/// If there is no such target, or what it tries does not hold what it must.
pub fn try_target(name: &str, data: &[u8]) {
    let (_, run) = TARGETS.iter().find(|(target, _)| *target == name).expect("the target");
    run(data);
}
