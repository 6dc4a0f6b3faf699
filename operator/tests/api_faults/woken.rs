//! An operator that is woken where all is as it should be: it looks, asks for no change, and is at rest again.

use kube::{
    ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::json;

use super::{
    case::Scene,
    cell::{Cell, connect},
    change::Change,
    snapshot::{Found, api},
};

/// A label that is none of the operator's, as a tool for backups or costs may put on everything.
const FOREIGN: &str = "example.com/team";

/// What came of it that the operator was woken for nothing.
#[derive(Debug)]
struct Woken {
    /// How many objects were labelled, each of which wakes it.
    labelled: u64,
    /// How often it looked for that.
    looks: u64,
    /// How often it looked when it had come to rest.
    looks_at_rest: u64,
    written: Vec<String>,
}

/// Labels all that the plugin is made of, and gives how many objects that are.
async fn label(cell: &Cell, subject: &str) -> Result<u64, kube::Error> {
    let patch = Patch::Merge(json!({"metadata": {"labels": {FOREIGN: "shop"}}}));
    let found = Found::of(cell, subject).await?;
    let mut labelled = 0;
    for (kind, object) in &found.objects {
        api(&cell.client, kind, object)
            .patch(&object.name_any(), &PatchParams::default(), &patch)
            .await?;
        labelled += 1;
    }
    Ok(labelled)
}

async fn woken(scene: &Scene<'_>) -> Result<Woken, String> {
    let line = &scene.operator.line;
    line.quiet().await;
    let nothing = scene.look().await?;
    Change::Create.carry_out(scene.cell, &scene.subject).await;
    scene.settles(Change::Create, &nothing).await?;
    let before = line.looks();
    scene.ledger.begin();
    let labelled = label(scene.cell, &scene.subject).await;
    let labelled = labelled.map_err(|error| error.to_string())?;
    let all = scene.look().await?;
    line.has_looked(before).await?;
    // What somebody meddles with has come to its end when all is as it was.
    scene.settles(Change::Meddle, &all).await?;
    let after = line.looks();
    scene.settles(Change::Meddle, &all).await?;
    let acts = scene.ledger.acts().into_iter().map(|act| act.to_string());
    Ok(Woken {
        labelled,
        looks: after - before,
        looks_at_rest: line.looks() - after,
        written: acts.chain(scene.ledger.in_vain()).collect(),
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_that_is_woken_where_all_is_well_looks_and_writes_nothing() {
    let cell = Cell::make(&connect().await).await;
    let scene = Scene::set(&cell).await;
    let woken = woken(&scene).await;
    let ended = scene.end().await;
    let woken = ended.and(woken).unwrap();
    assert!(woken.labelled > 0 && woken.written.is_empty(), "{woken:#?}");
    // What has woken it before a look began is seen by that one.
    assert!(woken.looks <= woken.labelled, "{woken:#?}");
    assert_eq!(woken.looks_at_rest, 0, "{woken:#?}");
}
