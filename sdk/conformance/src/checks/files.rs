//! Web files.

use kite_api::file_rules::MAX_FILE;
use kite_proto::{File, GetFileRequest, GetFileResponse, MAX_CHUNK, sha256};
use tonic::Code;

use super::definitions;
use crate::{
    verdict::{Checked, broken, ensure},
    wire::{Answer, Ended},
    world::World,
};

/// Files that are read; a plugin may have thousands.
const MOST: usize = 64;
/// Bytes of a digest.
const DIGEST: usize = 32;

async fn get(world: &World, path: &str) -> Checked<Answer<GetFileResponse>> {
    let request = GetFileRequest {
        context: Some(world.host_context()),
        path: path.to_owned(),
    };
    world.ask("GetFile", &request).await
}

pub(crate) async fn content(world: &World) -> Checked {
    // One that is too large is another rule's matter.
    let files = definitions::files(world)
        .await?
        .iter()
        .filter(|file| file.size <= MAX_FILE);
    for file in files.take(MOST) {
        let answer = get(world, &file.path).await?;
        is_whole(file, &answer)?;
    }
    Ok(())
}

fn is_whole(file: &File, answer: &Answer<GetFileResponse>) -> Checked {
    let ended_well = matches!(&answer.ended, Ended::Status(status) if status.code == Code::Ok);
    ensure(
        ended_well,
        || format!("{:?}: {}", file.path, answer.ended),
        "its end with OK",
    )?;
    let content: Vec<u8> = answer
        .messages
        .iter()
        .flat_map(|(piece, _)| piece.data.iter().copied())
        .collect();
    let size = u64::try_from(content.len()).unwrap_or(u64::MAX);
    ensure(
        size == file.size,
        || format!("{:?} has {size} bytes", file.path),
        format!("{} bytes", file.size),
    )?;
    // A digest that is none is another rule's matter.
    if file.sha256.len() != DIGEST {
        return Ok(());
    }
    let told = file
        .sha256
        .iter()
        .fold(String::from("sha256:"), |text, byte| text + &format!("{byte:02x}"));
    let digest = sha256(&content);
    ensure(digest == told, || format!("{:?} is {digest}", file.path), told.clone())
}

pub(crate) async fn pieces(world: &World) -> Checked {
    for file in definitions::files(world).await?.iter().take(MOST) {
        let answer = get(world, &file.path).await?;
        let wrong = answer
            .messages
            .iter()
            .find(|(piece, _)| !(1..=MAX_CHUNK).contains(&piece.data.len()));
        if let Some((piece, _)) = wrong {
            let seen = format!("{:?}: a piece of {} bytes", file.path, piece.data.len());
            return broken(seen, format!("1 to {MAX_CHUNK}"));
        }
    }
    Ok(())
}

pub(crate) async fn unknown(world: &World) -> Checked {
    definitions::files(world).await?;
    let answer = get(world, "conformance/no-such-file.js").await?;
    answer.refused(Code::NotFound, "a file that is not there")
}
