//! Why an image does not come: from the kubelet's reason and the container runtime's words.

use super::{Cause, Kind};

/// What the kubelet calls the several ways in which an image does not come.
const TROUBLES: [&str; 7] = [
    "ErrImagePull",
    "ImagePullBackOff",
    "ErrImageNeverPull",
    "InvalidImageName",
    "ImageInspectError",
    "RegistryUnavailable",
    "SignatureValidationFailed",
];

/// What runtimes say, in lower case, and what that means. The first that fits counts: of an index without the node's architecture containerd
/// says "not found" too, and Docker Hub says of an image that is not there what it says of one that is not given.
const WORDS: [(Kind, &[&str]); 4] = [
    (
        Kind::ImageArchitecture,
        &["no match for platform", "no matching manifest", "exec format error"],
    ),
    (
        Kind::ImageUnauthorised,
        &[
            "401 unauthorized",
            "403 forbidden",
            "pull access denied",
            "authorization failed",
            "failed to authorize",
            "no basic auth credentials",
            "insufficient_scope",
            "unauthorized:",
            "authentication required",
        ],
    ),
    (
        Kind::RegistryUnreachable,
        &[
            "connection refused",
            "no such host",
            "no route to host",
            "network is unreachable",
            "i/o timeout",
            "connection timed out",
            "context deadline exceeded",
            "tls handshake timeout",
            "connection reset",
            "server misbehaving",
            "http response to https client",
            "certificate signed by unknown authority",
            "failed to verify certificate",
        ],
    ),
    (Kind::ImageNotFound, &["not found", "manifest unknown", "name unknown"]),
];

/// The cause, if a container waits for this reason because its image does not come.
pub(super) fn cause(image: &str, reason: &str, message: Option<&str>) -> Option<Cause> {
    if !TROUBLES.contains(&reason) {
        return None;
    }
    let words = message.map(without_preamble);
    let kind = match reason {
        "InvalidImageName" => Kind::ImageName,
        "RegistryUnavailable" => Kind::RegistryUnreachable,
        _ => words.and_then(meaning).unwrap_or(Kind::ImagePull),
    };
    let image = super::words::bounded(image);
    let sentence = match kind {
        Kind::ImageNotFound => format!("the registry has no image {image}"),
        Kind::ImageUnauthorised => format!("the registry does not give the nodes image {image}"),
        Kind::RegistryUnreachable => format!("the node cannot reach the registry of image {image}"),
        Kind::ImageArchitecture => format!("image {image} is not for the node's architecture"),
        Kind::ImageName => format!("{image:?} is not the name of an image"),
        _ => format!("image {image} cannot be pulled"),
    };
    let cause = Cause::new(kind, sentence).said("the kubelet", words);
    Some(match reason {
        "ErrImageNeverPull" => cause.next_step(String::from(
            "load it onto the node, or set spec.imagePullPolicy to something else than Never",
        )),
        _ => cause,
    })
}

/// What the words mean, if that is known.
pub(super) fn meaning(words: &str) -> Option<Kind> {
    let lower = words.to_lowercase();
    let says = |parts: &[&str]| parts.iter().any(|part| lower.contains(part));
    WORDS.iter().find(|(_, parts)| says(parts)).map(|(kind, _)| *kind)
}

/// The runtime's own words. While the kubelet waits it puts others before them, and the message is to stand still meanwhile.
fn without_preamble(message: &str) -> &str {
    let message = match message.split_once("ErrImagePull: ") {
        Some((before, words)) if before.is_empty() || before.starts_with("Back-off") => words,
        _ => message,
    };
    match message.split_once(" desc = ") {
        Some((before, words)) if before.starts_with("rpc error:") => words,
        _ => message,
    }
}
