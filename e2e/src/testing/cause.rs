//! Why a plugin has no pod that can be used, as its object tells.

use kite_api::conditions::WORKLOAD_AVAILABLE;

use super::{START, Scope, eventually};

/// Waits until the object tells this reason, with all these words.
///
/// # Panics
/// If it does not.
pub async fn unavailable(scope: &Scope, plugin: &str, reason: &str, words: &[&str]) {
    eventually(&format!("{plugin} tells {words:?}"), START, async || {
        let status = scope
            .plugins()
            .get(plugin)
            .await
            .map_err(|error| error.to_string())?
            .status;
        let conditions = status.unwrap_or_default().conditions;
        let available = conditions.iter().find(|it| it.type_ == WORKLOAD_AVAILABLE);
        let is_told =
            available.is_some_and(|it| it.reason == reason && words.iter().all(|word| it.message.contains(word)));
        if is_told { Ok(()) } else { Err(format!("{available:?}")) }
    })
    .await;
}
