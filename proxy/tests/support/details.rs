//! What a plugin sends as the details of a status is no business of the gateway's: that of which tonic would panic is a failure of the plugin as
//! any other.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use http::StatusCode;
use kite_proto::DescribeResponse;
use prost::Message as _;

use super::{
    Scene,
    floods::hostile,
    frames::{DATA, END_HEADERS, END_STREAM, Frame, HEADERS, block, frame},
    gateway::table,
    rogue::{DEFINITIONS, Rogue},
    slug,
};

/// Stream of the first question, which is what the plugin is.
const DESCRIBE: u32 = 1;
/// How each answer begins.
const HEAD: [(&str, &str); 2] = [(":status", "200"), ("content-type", "application/grpc")];
/// How one ends badly, with details that are no base64.
const FAILURE: [(&str, &str); 3] = [
    ("grpc-status", "2"),
    ("grpc-message", "broken"),
    ("grpc-status-details-bin", "!"),
];

/// What the plugin says that it is.
fn description() -> Vec<u8> {
    let description = DescribeResponse {
        protocol: kite_proto::PROTOCOL,
        definitions: Bytes::copy_from_slice(&DEFINITIONS),
        ..DescribeResponse::default()
    };
    let description = description.encode_to_vec();
    // As gRPC has it: not compressed, and so long.
    let length = u32::try_from(description.len()).unwrap().to_be_bytes();
    let message = [&[0_u8][..], &length[..], &description[..]].concat();
    let well = block(&[("grpc-status", "0")]);
    [
        frame(HEADERS, END_HEADERS, DESCRIBE, &block(&HEAD)),
        frame(DATA, 0, DESCRIBE, &message),
        frame(HEADERS, END_HEADERS | END_STREAM, DESCRIBE, &well),
    ]
    .concat()
}

/// The bad end of an answer that has nothing else, in its head or in its trailers.
fn failure(stream: u32, in_head: bool) -> Vec<u8> {
    let end = END_HEADERS | END_STREAM;
    if in_head {
        let both: Vec<_> = HEAD.into_iter().chain(FAILURE).collect();
        return frame(HEADERS, end, stream, &block(&both));
    }
    let head = frame(HEADERS, END_HEADERS, stream, &block(&HEAD));
    [head, frame(HEADERS, end, stream, &block(&FAILURE))].concat()
}

#[tokio::test]
async fn details_that_are_no_base64_are_a_failure_of_the_plugin_and_of_nobody_else() {
    for in_head in [true, false] {
        let scene = Scene::new().await;
        let described = Arc::new(AtomicUsize::new(0));
        let asked = Arc::clone(&described);
        let says = move |next: &Frame| match (next.kind, next.stream) {
            (HEADERS, DESCRIBE) => {
                asked.fetch_add(1, Ordering::SeqCst);
                description()
            }
            (HEADERS, stream) => failure(stream, in_head),
            _ => Vec::new(),
        };
        let address = hostile(&scene, says).await;
        let (_other, there) = Rogue::start_as(&scene.certificates, "other").await;
        let mut both = table("rogue", &[address], &DEFINITIONS);
        both.extend(table("other", &[there], &DEFINITIONS));
        scene.directory.0.store(both.into());
        for _ in 0..2 {
            for answer in [scene.get("rogue/seen").await, scene.tool("greet", "{}").await] {
                assert_eq!(
                    (answer.status, slug(&answer).as_str()),
                    (StatusCode::BAD_GATEWAY, "plugin-failed"),
                    "in the head: {in_head}"
                );
            }
            assert_eq!(scene.get("other/seen").await.status, StatusCode::OK);
        }
        assert_eq!(
            described.load(Ordering::SeqCst),
            1,
            "all on one connection, which survived"
        );
    }
}
