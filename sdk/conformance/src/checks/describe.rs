//! What the plugin says that it is.

use kite_api::error_chain;
use kite_proto::{Definitions, DescribeRequest, DescribeResponse, MAX_DEFINITIONS, PROTOCOL, definitions_hash};
use prost::Message as _;

use crate::{
    verdict::{Checked, broken, ensure},
    world::{World, built_on},
};

/// What was described, read.
#[derive(Clone, Debug)]
pub(crate) struct Described {
    pub(crate) response: DescribeResponse,
    /// `Err`: why they are none.
    pub(crate) definitions: Result<Definitions, String>,
}

async fn ask(world: &World) -> Checked<DescribeResponse> {
    let request = DescribeRequest {
        context: Some(world.host_context()),
    };
    world.ask("Describe", &request).await?.one("Describe")
}

async fn first(world: &World) -> &Checked<Described> {
    let described = async {
        let response = ask(world).await?;
        let length = response.definitions.len();
        let definitions = if length > MAX_DEFINITIONS {
            Err(format!("they have {length} bytes"))
        } else {
            Definitions::decode(response.definitions.clone()).map_err(|error| error_chain(&error))
        };
        Ok(Described { response, definitions })
    };
    world.described.get_or_init(|| described).await
}

async fn response(world: &World) -> Checked<&DescribeResponse> {
    let described = built_on(first(world).await, "Describe was not answered")?;
    Ok(&described.response)
}

/// What the plugin offers, for rules that build on it.
pub(crate) async fn offered(world: &World) -> Checked<&Definitions> {
    let described = built_on(first(world).await, "Describe was not answered")?;
    match &described.definitions {
        Ok(definitions) => Ok(definitions),
        Err(_) => crate::verdict::not_applicable("what the plugin offers cannot be read"),
    }
}

pub(crate) async fn answers(world: &World) -> Checked {
    match first(world).await {
        Ok(_) => Ok(()),
        Err(failed) => Err(failed.clone()),
    }
}

pub(crate) async fn same(world: &World) -> Checked {
    let first = response(world).await?;
    for _ in 0..2 {
        let again = ask(world).await?;
        let seen = || {
            let hash = |of: &DescribeResponse| definitions_hash(&of.definitions);
            let said = |of: &DescribeResponse| format!("{} {}, definitions {}", of.name, of.version, hash(of));
            format!("first {}, then {}", said(first), said(&again))
        };
        ensure(again == *first, seen, "the same answer")?;
    }
    Ok(())
}

pub(crate) async fn name(world: &World) -> Checked {
    let (said, given) = (&response(world).await?.name, world.target.name.as_str());
    ensure(said == given, || format!("the name {said:?}"), format!("{given:?}"))
}

pub(crate) async fn version(world: &World) -> Checked {
    let version = &response(world).await?.version;
    match semver::Version::parse(version) {
        Ok(_) => Ok(()),
        Err(error) => broken(format!("the version {version:?}: {error}"), "a semantic version"),
    }
}

pub(crate) async fn protocol(world: &World) -> Checked {
    let protocol = response(world).await?.protocol;
    ensure(protocol == PROTOCOL, || format!("the protocol {protocol}"), PROTOCOL)
}

pub(crate) async fn definitions(world: &World) -> Checked {
    let described = built_on(first(world).await, "Describe was not answered")?;
    match &described.definitions {
        Ok(_) => Ok(()),
        Err(reason) => broken(reason, format!("a Definitions of at most {MAX_DEFINITIONS} bytes")),
    }
}
