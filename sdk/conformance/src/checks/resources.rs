//! Objects of the plugin's types. Some are created, read, changed and removed once, and each rule has its part of what came.

mod walk;

use kite_proto::{ResourceRequest, ResourceResponse, ResourceVerb};
use tonic::Code;

pub(crate) use self::walk::Walk;
use super::definitions;
use crate::{
    verdict::{Checked, Failed, not_applicable},
    wire::Answer,
    world::World,
};

/// Asks for something of a type.
pub(super) async fn ask(world: &World, request: ResourceRequest) -> Checked<Answer<ResourceResponse>> {
    let request = ResourceRequest {
        context: Some(world.context()),
        ..request
    };
    world.ask("Resource", &request).await
}

pub(crate) async fn unknown_type(world: &World) -> Checked {
    definitions::types(world).await?;
    let request = ResourceRequest {
        r#type: String::from("conformance-no-such-types"),
        verb: ResourceVerb::List.into(),
        ..ResourceRequest::default()
    };
    ask(world, request)
        .await?
        .refused(Code::NotFound, "a type that is not there")
}

/// The rule's part of what was seen of each type whose objects are known.
async fn seen(world: &World, part: impl Fn(&Walk) -> &Checked) -> Checked {
    let walks = world.walks.get_or_try_init(|| walk::all(world)).await?;
    let mut result = not_applicable("the suite knows no object of the plugin's types");
    for walk in walks {
        match part(walk) {
            Ok(()) => result = Ok(()),
            Err(failed @ Failed::Broken { .. }) => return Err(failed.clone()),
            Err(failed @ Failed::NotApplicable(_)) => result = result.map_err(|_| failed.clone()),
        }
    }
    result
}

pub(crate) async fn metadata(world: &World) -> Checked {
    seen(world, |walk| &walk.metadata).await
}

pub(crate) async fn exists(world: &World) -> Checked {
    seen(world, |walk| &walk.exists).await
}

pub(crate) async fn unknown(world: &World) -> Checked {
    seen(world, |walk| &walk.unknown).await
}

pub(crate) async fn removed(world: &World) -> Checked {
    seen(world, |walk| &walk.removed).await
}

pub(crate) async fn stale(world: &World) -> Checked {
    seen(world, |walk| &walk.stale).await
}

pub(crate) async fn patch(world: &World) -> Checked {
    seen(world, |walk| &walk.patch).await
}

pub(crate) async fn limit(world: &World) -> Checked {
    seen(world, |walk| &walk.limit).await
}

pub(crate) async fn pages(world: &World) -> Checked {
    seen(world, |walk| &walk.pages).await
}

pub(crate) async fn next_page(world: &World) -> Checked {
    seen(world, |walk| &walk.next_page).await
}

pub(crate) async fn bad_selector(world: &World) -> Checked {
    seen(world, |walk| &walk.bad_selector).await
}

pub(crate) async fn selector(world: &World) -> Checked {
    seen(world, |walk| &walk.selector).await
}
