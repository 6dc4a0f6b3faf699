//! Web files, in pieces.

use futures::{StreamExt as _, stream, stream::BoxStream};
use kite_proto::{GetFileRequest, GetFileResponse, MAX_CHUNK};
use tonic::Status;

use super::status;
use crate::{caller::Context, definitions::Files};

/// The pieces of a file. The path is a key and nothing else.
pub(super) fn get(
    files: &Files,
    request: GetFileRequest,
) -> Result<BoxStream<'static, Result<GetFileResponse, Status>>, Status> {
    Context::try_from(request.context).map_err(|error| status::invalid(&error))?;
    let file = files
        .get(&request.path)
        .ok_or_else(|| Status::not_found("the plugin has no web file of this path"))?;
    let mut left = file.data.clone();
    let pieces = std::iter::from_fn(move || {
        let piece = left.split_to(left.len().min(MAX_CHUNK));
        (!piece.is_empty()).then(|| Ok(GetFileResponse { data: piece }))
    });
    Ok(stream::iter(pieces).boxed())
}
