//! Whether a plugin can have begun with a request that has no answer, by how it ended.

use std::{error::Error, iter};

use h2::Reason;
use tonic::Status;

use super::SendError;

/// Whether the plugin provably never began: the request did not leave, the stream was refused, or its id is above the last one of a
/// GOAWAY (RFC 9113, sections 8.7 and 6.8).
pub fn never_began(status: &Status) -> bool {
    causes(status).any(|error| {
        error.downcast_ref::<SendError>().is_some_and(SendError::is_unsent)
            || error.downcast_ref::<h2::Error>().is_some_and(was_refused)
    })
}

/// Whether it was the connection or the stream that broke. What a plugin answers itself has no other cause.
pub fn broke(status: &Status) -> bool {
    causes(status).next().is_some()
}

fn causes(status: &Status) -> impl Iterator<Item = &(dyn Error + 'static)> {
    iter::successors(status.source(), |error| (*error).source())
}

/// h2 ends by a GOAWAY of the other side only the streams above the last one that it names; those below go on, and break with the
/// connection if they do.
fn was_refused(error: &h2::Error) -> bool {
    let is_refusal = error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM);
    error.is_remote() && (error.is_go_away() || is_refusal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_plugin_answers_itself_is_no_break() {
        let status = Status::unavailable("not now");
        assert!(!broke(&status) && !never_began(&status));
    }

    #[test]
    fn a_reset_of_our_own_is_no_refusal() {
        let ours = h2::Error::from(Reason::REFUSED_STREAM);
        let status = Status::from_error(Box::new(ours));
        assert!(broke(&status) && !never_began(&status));
    }
}
