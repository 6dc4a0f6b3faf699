//! What the policies of the boundary cost the API server: creates of a plugin by a user who holds just the rights that it grants.

use criterion::{BenchmarkGroup, Criterion, criterion_group, criterion_main, measurement::WallTime};
use kite_e2e::testing::world::{World, object, plugins_rule, rights, rules};
use kube::{Client, api::Patch};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

/// None, one, those of one policy and some of a second, and nearly all that one change may add.
const RIGHTS: [usize; 4] = [0, 1, 26, 260];
/// How many rights the other figures speak of.
const SOME: usize = 26;

/// A plugin with so many rights.
fn plugin(count: usize) -> Value {
    object(&holder(count), json!({"permissions": rights(count)}))
}

/// Who holds so many rights.
fn holder(count: usize) -> String {
    format!("holder-{count}")
}

/// Gives each number of rights its holder, and one user `escalate`.
async fn make_users(w: &World) {
    for count in RIGHTS {
        w.role(&holder(count), json!([plugins_rule()])).await;
        w.role_in("shop", &holder(count), rules(&rights(count))).await;
    }
    let escalate = json!({"apiGroups": ["kite.dev"], "resources": ["kiteplugins"], "verbs": ["escalate"]});
    w.role("escalates", json!([plugins_rule(), escalate])).await;
}

struct Both {
    runtime: Runtime,
    fenced: World,
    open: World,
}

impl Both {
    #[expect(clippy::expect_used, reason = "without a runtime there is nothing to measure")]
    fn start() -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let (fenced, open) = runtime.block_on(async {
            let (fenced, open) = (World::start().await, World::start().await);
            fenced.install_policies().await;
            for w in [&fenced, &open] {
                make_users(w).await;
            }
            (fenced, open)
        });
        Self { runtime, fenced, open }
    }

    /// The time until the API server has said that it would make the plugin.
    fn create(&self, group: &mut BenchmarkGroup<'_, WallTime>, id: &str, w: &World, user: &str, plugin: &Value) {
        let client = w.user(user);
        self.time(group, id, async || w.create(&client, plugin).await);
    }

    /// The time until the API server has said that it would change the plugin's description.
    fn describe(&self, group: &mut BenchmarkGroup<'_, WallTime>, id: &str, w: &World, user: &str) {
        self.runtime.block_on(w.given(&plugin(SOME)));
        let client: Client = w.user(user);
        let patch = Patch::Merge(json!({"spec": {"description": "better"}}));
        self.time(group, id, async || {
            w.patch(&client, &holder(SOME), "bench", patch.clone()).await
        });
    }

    fn time(&self, group: &mut BenchmarkGroup<'_, WallTime>, id: &str, ask: impl AsyncFn() -> Result<(), String>) {
        group.bench_function(id, |bencher| {
            // A refusal would be another figure.
            bencher.iter(|| assert_eq!(self.runtime.block_on(ask()), Ok(())));
        });
    }
}

fn admission(criterion: &mut Criterion) {
    let both = Both::start();
    // Clients are made in it.
    let _inside = both.runtime.enter();
    let mut group = criterion.benchmark_group("admission");
    let sides = [
        ("with the policies", &both.fenced),
        ("without the policies", &both.open),
    ];
    for count in RIGHTS {
        for (side, w) in sides {
            let noun = if count == 1 { "right" } else { "rights" };
            let id = format!("{count} {noun}, {side}");
            both.create(&mut group, &id, w, &holder(count), &plugin(count));
        }
    }
    for (side, w) in sides {
        let id = format!("{SOME} rights by who may escalate, {side}");
        both.create(&mut group, &id, w, "escalates", &plugin(SOME));
        let id = format!("another description of {SOME} rights, {side}");
        both.describe(&mut group, &id, w, &holder(SOME));
    }
    group.finish();
}

criterion_group!(benches, admission);
criterion_main!(benches);
