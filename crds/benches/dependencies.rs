//! What the graph of dependencies costs: 1,000 plugins with 5,000 dependencies, all anew and after one change.

use std::{collections::BTreeSet, hint::black_box};

use criterion::{BatchSize, BenchmarkGroup, Criterion, criterion_group, criterion_main, measurement::WallTime};
use kite_api::{
    PluginName, Requirement,
    dependencies::{Dependency, Graph, Node, NodeState},
};
use semver::Version;

const PLUGINS: usize = 1_000;
const DEPENDENCIES: usize = 5_000;
/// How many of the dependencies lead back where cycles are wanted: enough to tie hundreds of plugins to one another.
const BACK: usize = 50;

/// A small generator of numbers (`SplitMix64`): the same on every machine, whatever the version of a library.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % bound as u64).unwrap_or_default()
    }
}

#[expect(clippy::unwrap_used, reason = "the texts are this file's own")]
fn plugins(back: usize) -> Vec<Node> {
    let name = |number: usize| PluginName::parse(&format!("plugin-{number:04}")).unwrap();
    let mut numbers = Numbers(1);
    let mut edges = BTreeSet::new();
    while edges.len() < DEPENDENCIES {
        let (one, other) = (numbers.below(PLUGINS), numbers.below(PLUGINS));
        let forward = (one.min(other), one.max(other));
        let backward = (forward.1, forward.0);
        if one != other && !edges.contains(&forward) && !edges.contains(&backward) {
            edges.insert(if edges.len() < back { backward } else { forward });
        }
    }
    let requirement = Requirement::parse(">=1.2.0 <2.0.0").unwrap();
    let plugin = |number: usize| Node {
        name: name(number),
        version: Some(Version::new(1, 2, 3)),
        state: NodeState::Ready,
        dependencies: edges
            .range((number, 0)..(number + 1, 0))
            .map(|(_, needed)| Dependency {
                name: name(*needed),
                requirement: requirement.clone(),
                optional: false,
            })
            .collect(),
    };
    (0..PLUGINS).map(plugin).collect()
}

fn not_ready(node: &Node) -> Node {
    let state = NodeState::NotReady;
    Node { state, ..node.clone() }
}

fn with_one_dependency_less(node: &Node) -> Node {
    let mut node = node.clone();
    node.dependencies.pop();
    node
}

/// Changes one plugin after the other, each there and back.
fn changes(group: &mut BenchmarkGroup<'_, WallTime>, id: &str, nodes: &[Node], change: impl Fn(&Node) -> Node) {
    let mut graph = Graph::of(nodes.to_vec());
    let mut changes = nodes
        .iter()
        .flat_map(|node| [change(node), node.clone()])
        .collect::<Vec<_>>()
        .into_iter()
        .cycle();
    group.bench_function(id, |bencher| {
        bencher.iter_batched(
            || changes.next(),
            |node| node.map(|node| graph.set(node)),
            BatchSize::SmallInput,
        );
    });
}

fn dependencies(criterion: &mut Criterion) {
    for (kind, back) in [("acyclic", 0), ("with cycles", BACK)] {
        let nodes = plugins(back);
        let graph = Graph::of(nodes.clone());
        let mut group = criterion.benchmark_group(format!("5,000 dependencies of 1,000 plugins, {kind}"));
        group.bench_function("whole", |bencher| {
            bencher.iter_batched(|| nodes.clone(), Graph::of, BatchSize::LargeInput);
        });
        group.bench_function("every standing", |bencher| {
            bencher.iter(|| {
                nodes
                    .iter()
                    .filter_map(|node| black_box(graph.standing(&node.name)))
                    .count()
            });
        });
        changes(&mut group, "one change of readiness", &nodes, not_ready);
        changes(
            &mut group,
            "one change of dependencies",
            &nodes,
            with_one_dependency_less,
        );
        group.finish();
    }
}

criterion_group!(benches, dependencies);
criterion_main!(benches);
