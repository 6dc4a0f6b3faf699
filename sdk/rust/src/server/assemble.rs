//! A plugin's parts, checked and put together, before anything is served.

use axum::{Extension, middleware::from_fn_with_state};
use kite_api::PluginName;
use tokio::sync::watch;

use super::ServeError;
use crate::{
    Kite, Plugin,
    definitions::{self, Offered},
    manifest, metrics,
    service::{self, Hooks, Service},
};

/// Asks `plugin` once for each of its parts. `serving` is true while it takes requests.
pub(super) fn assemble(
    plugin: &impl Plugin,
    name: PluginName,
    kite: Kite,
    serving: watch::Sender<bool>,
) -> Result<Service, ServeError> {
    let manifest = manifest::read(plugin.manifest())?;
    let hooks = Hooks::of(plugin, kite.clone());
    let offered = Offered {
        tools: plugin.tools(),
        types: plugin.resource_types(),
        files: plugin.web_files(),
        remote_entry: manifest.remote_entry,
        permissions: manifest.permissions,
        supports: hooks.supports(),
    };
    let accepted = definitions::check(&name, offered)?;
    kite.metrics().register(|registry| plugin.metrics(registry));
    let counted = from_fn_with_state(kite.metrics().clone(), metrics::count);
    Ok(Service {
        name,
        version: manifest.version,
        offered: accepted,
        routes: plugin.routes().layer(counted).layer(Extension(kite)),
        exchanges: service::exchanges(),
        hooks,
        serving,
    })
}
