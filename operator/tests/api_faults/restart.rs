//! An operator that starts where all is as it should be: it reads, and asks for no change.

use futures::future::join_all;

use super::{
    case::Scene,
    cell::{Cell, connect},
    change::Change,
};

/// What one has written that was started when the plugin had come to rest after this change.
async fn written_after(cell: &Cell, change: Change) -> Result<Vec<String>, String> {
    let mut scene = Scene::set(cell).await;
    let written = written(&mut scene, change).await;
    scene.end().await.and(written)
}

async fn written(scene: &mut Scene<'_>, change: Change) -> Result<Vec<String>, String> {
    change.prepare(scene.cell, &scene.subject).await?;
    scene.operator.line.quiet().await;
    let before = scene.look().await?;
    change.carry_out(scene.cell, &scene.subject).await;
    scene.settles(change, &before).await?;
    let watched = scene.operator.line.watched();
    scene.ledger.begin();
    scene.restart(None).await;
    let line = &scene.operator.line;
    line.watches(&watched).await?;
    line.has_looked(0).await?;
    line.quiet().await;
    let acts = scene.ledger.acts().into_iter().map(|act| act.to_string());
    Ok(acts.chain(scene.ledger.in_vain()).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_that_starts_where_all_is_well_writes_nothing() {
    let client = connect().await;
    let changes = [
        Change::Create,
        Change::Update,
        Change::Settle,
        Change::Scale,
        Change::Disable,
        Change::Meddle,
    ];
    let written = changes.map(async |change| {
        let cell = Cell::make(&client).await;
        (change, written_after(&cell, change).await)
    });
    for (change, written) in join_all(written).await {
        assert_eq!(written, Ok(Vec::new()), "after {change}");
    }
}
