//! Tells what was decided: in the status, and as events what has come of it.

use super::{
    Context, ReconcileError, events,
    object::{self, Object},
    status::{self, Recorded, Situation},
};

/// Writes the status that tells `situation`, and tells as events what has come of it. It is decided by what was `recorded` before; where nobody
/// has read that, or somebody has written the object since, by what is.
pub(super) async fn tell(
    object: &Object,
    context: &Context,
    recorded: Option<Recorded>,
    situation: &Situation,
) -> Result<(), ReconcileError> {
    if let Some(recorded) = recorded
        && tell_after(&recorded, object, context, situation).await?
    {
        return Ok(());
    }
    let recorded = status::recorded(object, &context.client).await;
    if let Some(recorded) = recorded.map_err(ReconcileError::Status)? {
        // Whoever has written it once more has woken it.
        tell_after(&recorded, object, context, situation).await?;
    }
    Ok(())
}

/// Tells `situation` after what was `recorded`. Returns whether that still stood.
async fn tell_after(
    recorded: &Recorded,
    object: &Object,
    context: &Context,
    situation: &Situation,
) -> Result<bool, ReconcileError> {
    let before = &recorded.status;
    let wanted = status::decide(before, object::generation(object), situation, status::now());
    let stands = status::tell(&context.client, object, recorded, &wanted)
        .await
        .map_err(ReconcileError::Status)?;
    if !stands {
        return Ok(false);
    }
    let places = context.options.namespaces.places();
    let applied = object.0.as_ref().ok().filter(|_| situation.is_applied());
    let grant = applied.and_then(|plugin| context.told.grant(plugin, before, places));
    let refused = events::refused(before, &wanted);
    let relations = situation
        .standing()
        .map(|standing| events::relations(before, &wanted, standing));
    let took_over = events::took_over(before, &wanted);
    let notices = grant
        .into_iter()
        .chain(refused)
        .chain(took_over)
        .chain(relations.into_iter().flatten());
    events::publish(&context.client, object, notices).await;
    Ok(true)
}
