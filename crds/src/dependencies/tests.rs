//! One test per problem, the words for it, and whom a change concerns.

use std::collections::BTreeSet;

use super::{
    NodeState::{Deleting, Disabled, NotReady},
    fixtures::{name, names, plugin},
    *,
};
use crate::conditions::reasons;

fn standing(nodes: &[Node], of: &str) -> Standing {
    Graph::of(nodes.to_vec()).standing(&name(of)).unwrap()
}

fn set(texts: &[&str]) -> BTreeSet<PluginName> {
    names(texts.iter().copied()).into_iter().collect()
}

fn version(text: &str) -> Version {
    Version::parse(text).unwrap()
}

/// `app`, which needs `lib ^1`, beside a `lib` that was spoiled in one way, and what comes of it.
fn app_beside(lib: Option<Node>) -> (Need, Standing) {
    let nodes: Vec<Node> = [plugin("app").needs("lib", "^1")].into_iter().chain(lib).collect();
    let standing = standing(&nodes, "app");
    (standing.needs[0].clone(), standing)
}

fn need(found: Option<&str>, problem: Option<Problem>) -> Need {
    Need {
        name: name("lib"),
        requirement: Requirement::parse("^1").unwrap(),
        optional: false,
        found: found.map(version),
        ready: problem.is_none(),
        problem,
    }
}

/// What the questions to a standing are answered with.
#[derive(Debug, Eq, PartialEq)]
struct Answers {
    satisfied: bool,
    fatal: bool,
    waits: bool,
    reason: &'static str,
    message: String,
}

fn answers(standing: &Standing) -> Answers {
    Answers {
        satisfied: standing.is_satisfied(),
        fatal: standing.is_fatal(),
        waits: standing.waits(),
        reason: standing.reason(),
        message: standing.message(),
    }
}

#[test]
fn what_is_there_in_range_and_ready_satisfies() {
    let (found, standing) = app_beside(Some(plugin("lib").has("1.4.2")));
    assert_eq!(found, need(Some("1.4.2"), None));
    assert_eq!(
        answers(&standing),
        Answers {
            satisfied: true,
            fatal: false,
            waits: false,
            reason: reasons::SATISFIED,
            message: "all that it depends on is there, in range and ready".to_owned(),
        }
    );
}

#[test]
fn who_depends_on_nothing_is_satisfied() {
    let standing = standing(&[plugin("app")], "app");
    assert_eq!(standing, Standing::default());
    assert!(standing.is_satisfied());
    assert_eq!(standing.message(), "it depends on no other plugin");
}

#[test]
fn one_that_is_missing_is_a_problem() {
    let (found, standing) = app_beside(None);
    assert_eq!(found, need(None, Some(Problem::Missing)));
    assert_eq!(
        answers(&standing),
        Answers {
            satisfied: false,
            fatal: true,
            waits: false,
            reason: reasons::MISSING,
            message: "needs lib ^1, which does not exist: apply it, or take it out of spec.dependencies".to_owned(),
        }
    );
}

#[test]
fn one_that_is_being_deleted_is_a_problem_whatever_its_version() {
    for lib in ["1.0.0", "2.0.0"] {
        let (found, standing) = app_beside(Some(plugin("lib").has(lib).is(Deleting)));
        assert_eq!(found, need(Some(lib), Some(Problem::Deleting)));
        assert_eq!(
            answers(&standing),
            Answers {
                satisfied: false,
                fatal: true,
                waits: false,
                reason: reasons::MISSING,
                message: format!(
                    "needs lib ^1, found {lib}, which is being deleted: apply it again, or take it out of \
                     spec.dependencies"
                ),
            }
        );
    }
}

#[test]
fn one_that_is_out_of_range_is_a_problem_whatever_its_state() {
    for state in [NodeState::Ready, NotReady, Disabled] {
        let (found, standing) = app_beside(Some(plugin("lib").has("2.1.0").is(state)));
        assert_eq!(found, need(Some("2.1.0"), Some(Problem::VersionMismatch)));
        assert_eq!(
            answers(&standing),
            Answers {
                satisfied: false,
                fatal: true,
                waits: false,
                reason: reasons::VERSION_MISMATCH,
                message: "needs lib ^1, found 2.1.0, which is out of range: apply a version of lib that is in it, or \
                          change the requirement"
                    .to_owned(),
            }
        );
    }
}

#[test]
fn one_that_cannot_be_read_is_a_problem_that_waiting_does_not_end() {
    let (found, standing) = app_beside(Some(plugin("lib").cannot_be_read()));
    assert_eq!(found, need(None, Some(Problem::Unreadable)));
    assert_eq!(
        answers(&standing),
        Answers {
            satisfied: false,
            fatal: false,
            waits: false,
            reason: reasons::NOT_READY,
            message: "needs lib ^1, whose object cannot be understood: lib's own conditions say why".to_owned(),
        }
    );
}

#[test]
fn one_that_is_disabled_is_a_problem_that_waiting_does_not_end() {
    let (found, standing) = app_beside(Some(plugin("lib").is(Disabled)));
    assert_eq!(found, need(Some("1.0.0"), Some(Problem::Disabled)));
    assert_eq!(
        answers(&standing),
        Answers {
            satisfied: false,
            fatal: false,
            waits: false,
            reason: reasons::NOT_READY,
            message: "needs lib ^1, found 1.0.0, which is disabled: set spec.enabled of lib to true".to_owned(),
        }
    );
}

#[test]
fn one_that_is_not_ready_is_waited_for() {
    let (found, standing) = app_beside(Some(plugin("lib").is(NotReady)));
    assert_eq!(found, need(Some("1.0.0"), Some(Problem::NotReady)));
    assert_eq!(
        answers(&standing),
        Answers {
            satisfied: false,
            fatal: false,
            waits: true,
            reason: reasons::NOT_READY,
            message: "needs lib ^1, found 1.0.0, which is not ready: lib's own conditions say why".to_owned(),
        }
    );
}

#[test]
fn a_cycle_is_a_problem_of_its_members_only() {
    let nodes = [
        plugin("a").needs("b", "*"),
        plugin("b").needs("c", ">=2").needs("lib", "*"),
        plugin("c").needs("a", "*"),
        plugin("app").needs("b", "*"),
        plugin("lib"),
    ];
    let b = standing(&nodes, "b");
    assert_eq!(b.cycle, Some(names(["b", "c", "a"])));
    assert_eq!(
        b.needs.iter().map(|need| need.problem).collect::<Vec<_>>(),
        [Some(Problem::Cycle), None]
    );
    assert_eq!(
        answers(&b),
        Answers {
            satisfied: false,
            fatal: true,
            waits: false,
            reason: reasons::CYCLE,
            message: "depends on itself by b → c → a → b: take one of these dependencies out, or make it optional"
                .to_owned(),
        }
    );
    assert_eq!(standing(&nodes, "a").cycle, Some(names(["a", "b", "c"])));
    assert!(standing(&nodes, "app").is_satisfied());
}

#[test]
fn who_needs_itself_is_a_cycle_of_one() {
    let app = standing(&[plugin("app").needs("app", "*")], "app");
    assert_eq!(app.cycle, Some(names(["app"])));
    assert_eq!(app.needs[0].problem, Some(Problem::Cycle));
    assert!(app.message().starts_with("depends on itself by app → app: "));
}

#[test]
fn of_several_cycles_the_shortest_is_told_and_of_those_the_first_by_name() {
    let nodes = [
        plugin("a").needs("e", "*").needs("d", "*").needs("b", "*"),
        plugin("b").needs("c", "*"),
        plugin("c").needs("a", "*"),
        plugin("d").needs("a", "*"),
        plugin("e").needs("a", "*"),
    ];
    let a = standing(&nodes, "a");
    assert_eq!(a.cycle, Some(names(["a", "d"])));
    assert_eq!(
        a.needs.iter().map(|need| need.problem).collect::<Vec<_>>(),
        [None, Some(Problem::Cycle), None]
    );
    assert_eq!(standing(&nodes, "c").cycle, Some(names(["c", "a", "b"])));
}

#[test]
fn no_cycle_leads_through_what_is_optional_or_being_deleted() {
    let optional = [plugin("a").needs("b", "*"), plugin("b").may_use("a", "*")];
    let deleted = [plugin("a").needs("b", "*"), plugin("b").needs("a", "*").is(Deleting)];
    let disabled = [plugin("a").needs("b", "*"), plugin("b").needs("a", "*").is(Disabled)];
    assert_eq!(standing(&optional, "a").cycle, None);
    assert_eq!(standing(&optional, "b").cycle, None);
    assert_eq!(standing(&deleted, "a").cycle, None);
    assert_eq!(standing(&deleted, "b").cycle, None);
    assert_eq!(standing(&disabled, "a").cycle, Some(names(["a", "b"])));
}

#[test]
fn what_is_optional_is_told_as_it_is_and_is_no_problem() {
    for (lib, found, ready) in [
        (None, None, false),
        (Some(plugin("lib")), Some("1.0.0"), true),
        (Some(plugin("lib").has("2.0.0")), Some("2.0.0"), false),
        (Some(plugin("lib").is(NotReady)), Some("1.0.0"), false),
        (Some(plugin("lib").is(Disabled)), Some("1.0.0"), false),
        (Some(plugin("lib").is(Deleting)), Some("1.0.0"), false),
        (Some(plugin("lib").cannot_be_read()), None, false),
    ] {
        let nodes: Vec<Node> = [plugin("app").may_use("lib", "^1")].into_iter().chain(lib).collect();
        let app = standing(&nodes, "app");
        assert_eq!(
            (app.needs[0].found.clone(), app.needs[0].ready),
            (found.map(version), ready)
        );
        assert!(app.is_satisfied());
        if let Some(lib) = nodes.get(1) {
            assert_eq!(standing(&nodes, lib.name.as_str()).needed_by, []);
        }
    }
}

#[test]
fn a_plugin_knows_who_needs_it_and_cannot_have_it() {
    let dependents = |lib: Node| -> Vec<(String, String, Problem)> {
        let nodes = [
            lib,
            plugin("z").needs("lib", "^1"),
            plugin("b").needs("lib", ">=2"),
            plugin("c").may_use("lib", ">=3"),
            plugin("d").needs("lib", ">=4").is(Deleting),
        ];
        let needed_by = standing(&nodes, "lib").needed_by.into_iter();
        needed_by
            .map(|by| (by.name.to_string(), by.requirement.to_string(), by.problem))
            .collect()
    };
    let row = |name: &str, requirement: &str, problem| (name.to_owned(), requirement.to_owned(), problem);
    let mismatch = || row("b", ">=2", Problem::VersionMismatch);
    assert_eq!(dependents(plugin("lib")), [mismatch()]);
    assert_eq!(dependents(plugin("lib").is(NotReady)), [mismatch()]);
    assert_eq!(
        dependents(plugin("lib").is(Disabled)),
        [mismatch(), row("z", "^1", Problem::Disabled)]
    );
    assert_eq!(
        dependents(plugin("lib").is(Deleting)),
        [row("b", ">=2", Problem::Deleting), row("z", "^1", Problem::Deleting)]
    );
    assert_eq!(dependents(plugin("lib").cannot_be_read()), []);
}

#[test]
fn a_message_tells_the_gravest_first_and_ends() {
    let slow = (0..10).map(|number| plugin(&format!("slow-{number}")).is(NotReady));
    let app = (0..10).fold(plugin("app"), |app, number| app.needs(&format!("slow-{number}"), "*"));
    let app = app
        .needs("metrics-lib", "^1.0")
        .needs("alerts", ">=2")
        .needs("app", "*");
    let nodes: Vec<Node> = slow.chain([plugin("metrics-lib").has("2.1.0"), app]).collect();
    let app = standing(&nodes, "app");
    assert_eq!(app.reason(), reasons::CYCLE);
    let message = app.message();
    let begin = "depends on itself by app → app: take one of these dependencies out, or make it optional; \
                 needs alerts >=2, which does not exist: apply it, or take it out of spec.dependencies; \
                 needs metrics-lib ^1.0, found 2.1.0, which is out of range: apply a version of metrics-lib that is in \
                 it, or change the requirement; \
                 needs slow-0 *, found 1.0.0, which is not ready: slow-0's own conditions say why; ";
    assert!(message.starts_with(begin), "{message}");
    assert!(
        message.ends_with("slow-4's own conditions say why; and 5 more"),
        "{message}"
    );
}

/// Plugins each of which needs the next; the last needs nothing.
fn chain(length: usize) -> Vec<Node> {
    let link = |number| plugin(&format!("p{number}")).needs(&format!("p{}", number + 1), "*");
    (0..length - 1)
        .map(link)
        .chain([plugin(&format!("p{}", length - 1))])
        .collect()
}

#[test]
fn a_long_chain_becomes_a_ring_and_a_chain_again() {
    const LENGTH: usize = 10_000;
    let last = format!("p{}", LENGTH - 1);
    let mut graph = Graph::of(chain(LENGTH));
    assert!(graph.standing(&name("p0")).unwrap().is_satisfied());
    assert_eq!(graph.set(plugin(&last).needs("p0", "*")).len(), LENGTH);
    let cycle = graph.standing(&name("p1")).unwrap().cycle.unwrap();
    assert_eq!(cycle.len(), LENGTH);
    assert_eq!(cycle.last(), Some(&name("p0")));
    let message = graph.standing(&name("p1")).unwrap().message();
    assert!(message.contains("→ p8 → (9992 more) → p1: "), "{message}");
    let whole = Graph::of(
        chain(LENGTH)
            .into_iter()
            .take(LENGTH - 1)
            .chain([plugin(&last).needs("p0", "*")]),
    );
    assert_eq!(whole.standing(&name("p1")), graph.standing(&name("p1")));
    // The one before it misses it now, and all others have no cycle any more.
    assert_eq!(graph.remove(&name(&last)).len(), LENGTH - 1);
    assert_eq!(graph.set(plugin(&last)), set(&[&format!("p{}", LENGTH - 2), &last]));
    assert_eq!(graph.replace(chain(LENGTH)), set(&[]));
}

#[test]
fn a_change_concerns_neighbours_only() {
    let mut graph = Graph::of(chain(6));
    assert_eq!(graph.set(plugin("p3").needs("p4", "*").is(NotReady)), set(&["p2"]));
    assert_eq!(graph.set(plugin("p3").needs("p4", "^2")), set(&["p2", "p3", "p4"]));
    assert_eq!(graph.set(plugin("p3").needs("p4", "^2")), set(&[]));
    assert_eq!(graph.remove(&name("p3")), set(&["p2", "p4"]));
    assert_eq!(graph.remove(&name("p3")), set(&[]));
    assert_eq!(graph.set(plugin("other")), set(&["other"]));
    assert_eq!(graph.standing(&name("p3")), None);
}

#[test]
fn a_replacement_tells_what_it_changed() {
    let mut graph = Graph::of(chain(4));
    let nodes = [
        plugin("p0").needs("p1", "*"),
        plugin("p1").needs("p2", "*"),
        plugin("p2"),
        plugin("new"),
    ];
    assert_eq!(graph.replace(nodes), set(&["new", "p2"]));
}
