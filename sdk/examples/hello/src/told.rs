//! What the operator tells the plugin: its settings, what happens to clusters, and that it is about to be stopped.

use kite_plugin_sdk::{ApplySettings, ClusterEvent, ClusterEvents, Kite, Refused, Settings, Shutdown, tracing::info};
use serde::Deserialize;

/// The settings, as `spec.settingsSchema` in plugin.yaml has them.
#[derive(Deserialize)]
pub(crate) struct Greeting {
    /// What stands before the name.
    greeting: Option<String>,
    /// Who greets.
    from: Option<String>,
}

pub(crate) fn settings() -> ApplySettings {
    ApplySettings::with(accept)
}

async fn accept(_: Kite, settings: Settings<Greeting>) -> Result<(), Refused> {
    if let Some(greeting) = &settings.greeting
        && greeting.ends_with(',')
    {
        return Err(Refused::new("greeting ends with a comma, which stands there anyway"));
    }
    info!(
        greeting = settings.greeting,
        from = settings.from,
        "greets as it is told"
    );
    Ok(())
}

pub(crate) fn clusters() -> ClusterEvents {
    ClusterEvents::new(async |_: Kite, event: ClusterEvent| {
        let ClusterEvent { change, cluster } = event;
        info!(?change, cluster, "a cluster has changed");
        Ok(())
    })
}

pub(crate) fn end() -> Shutdown {
    Shutdown::new(async |_: Kite| info!("releases what it holds"))
}

/// Greets as the settings say, and without them as ever.
pub(crate) fn greet(kite: &Kite, name: &str) -> String {
    let settings = kite.settings::<Greeting>().ok();
    let settings = settings.as_deref();
    let greeting = match settings.and_then(|settings| settings.greeting.as_ref()) {
        Some(greeting) => format!("{greeting}, {name}!"),
        None => format!("Hello, {name}!"),
    };
    match settings.and_then(|settings| settings.from.as_ref()) {
        Some(from) => format!("{greeting} From {from}."),
        None => greeting,
    }
}
