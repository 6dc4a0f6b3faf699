//! What the host tells a plugin, beside requests: settings, events of clusters, and that it is about to stop.

mod cluster_events;
mod settings;
mod shutdown;

pub use cluster_events::{ClusterChange, ClusterEvent, ClusterEvents};
pub use settings::{ApplySettings, SettingsFields};
pub(crate) use shutdown::Once;
pub use shutdown::Shutdown;
