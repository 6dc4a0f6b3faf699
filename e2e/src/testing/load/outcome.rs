//! What came of the load, and the judgement of it.

use std::{collections::BTreeMap, net::SocketAddr};

/// Of fewer POSTs than this nothing is concluded.
const FEW: usize = 100;
/// How many of those that something is wrong with are named.
const NAMED: usize = 10;

/// What came of the load.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// How many requests of each revision were answered as they should be.
    pub(super) answered: BTreeMap<i64, u64>,
    /// How many each replica of the gateway has answered so.
    pub(super) replicas: BTreeMap<SocketAddr, u64>,
    /// Ids of the POSTs that were answered.
    pub(super) posts: Vec<String>,
    /// What was wrong with the others.
    pub(super) failed: Vec<String>,
    /// How often each POST was executed, as the plugin's pods say.
    pub(super) executed: BTreeMap<String, usize>,
}

impl Outcome {
    /// Says how much was answered, and holds that nothing has failed, that each POST was executed once, and that several replicas of the
    /// gateway took part.
    ///
    /// # Panics
    /// If it is not so.
    #[expect(clippy::print_stdout, reason = "the harness keeps a test's standard output")]
    pub fn is_whole(&self) {
        let answers: u64 = self.answered.values().sum();
        println!(
            "{answers} answers, by revision {:?}, by replica {:?}; {} POSTs, {} executed; {} failed",
            self.answered,
            self.replicas,
            self.posts.len(),
            self.executed.len(),
            self.failed.len()
        );
        let faults = self.faults();
        assert!(faults.is_empty(), "{}", faults.join("\n"));
    }

    /// What is not as it should be.
    fn faults(&self) -> Vec<String> {
        let never = self.posts.iter().filter(|id| !self.executed.contains_key(*id));
        let often = self.executed.iter().filter(|(_, times)| **times > 1);
        let often = often.map(|(id, times)| format!("{id}, {times} times"));
        let idle = self.replicas.iter().filter(|(_, answers)| **answers == 0);
        let idle = idle.map(|(address, _)| address.to_string());
        let found = [
            fault("requests failed", self.failed.clone()),
            fault("POSTs were answered and never executed", never.cloned().collect()),
            fault("POSTs were executed more than once", often.collect()),
            fault("replicas of the gateway answered nothing", idle.collect()),
            (self.posts.len() < FEW).then(|| format!("no more than {} POSTs were answered", self.posts.len())),
            (self.replicas.len() < 2).then(|| String::from("no two replicas of the gateway were asked")),
        ];
        found.into_iter().flatten().collect()
    }
}

/// That this is so of some, if there are any.
fn fault(what: &str, whose: Vec<String>) -> Option<String> {
    let count = whose.len();
    let named: Vec<String> = whose.into_iter().take(NAMED).collect();
    (count > 0).then(|| format!("{count} {what}, among them {named:#?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    type Spoil = fn(&mut Outcome);

    fn replica(number: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, number], 8443))
    }

    fn whole() -> Outcome {
        let posts: Vec<String> = (0..200).map(|number| format!("a-{number}")).collect();
        Outcome {
            answered: [(1, 150), (2, 250)].into(),
            replicas: [(replica(1), 201), (replica(2), 199)].into(),
            executed: posts.iter().map(|id| (id.clone(), 1)).collect(),
            posts,
            failed: Vec::new(),
        }
    }

    #[test]
    fn of_what_is_whole_there_is_no_fault() {
        assert_eq!(whole().faults(), Vec::<String>::new());
        whole().is_whole();
    }

    #[test]
    fn each_fault_is_seen_and_names_whose_it_is() {
        let spoils: [(Spoil, [&str; 2]); 6] = [
            (
                |it| it.failed.push(String::from("a-9: 502")),
                ["1 requests failed", "a-9: 502"],
            ),
            (
                |it| _ = it.executed.remove("a-7"),
                ["1 POSTs were answered and never", "a-7"],
            ),
            (
                |it| _ = it.executed.insert(String::from("a-7"), 2),
                ["more than once", "a-7, 2 times"],
            ),
            (
                |it| _ = it.replicas.insert(replica(2), 0),
                ["answered nothing", "10.0.0.2:8443"],
            ),
            (|it| it.posts.truncate(5), ["no more than 5 POSTs", "answered"]),
            (|it| _ = it.replicas.pop_first(), ["no two replicas", "asked"]),
        ];
        for (spoil, words) in spoils {
            let mut outcome = whole();
            spoil(&mut outcome);
            let faults = outcome.faults();
            let [fault] = faults.as_slice() else {
                panic!("one fault, with {words:?}: {faults:#?}")
            };
            assert!(words.iter().all(|word| fault.contains(word)), "{words:?}: {fault}");
        }
    }

    #[test]
    fn of_many_some_are_named() {
        let mut outcome = whole();
        outcome.executed.clear();
        let faults = outcome.faults().join("\n");
        assert!(
            faults.contains("200 POSTs were answered and never executed"),
            "{faults}"
        );
        assert_eq!(faults.matches("a-").count(), NAMED);
    }
}
