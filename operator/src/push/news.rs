//! What the controller knows, and the plugin is to be told of; and what came of telling it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use kite_api::settings::Effective;
use kite_proto::Supports;

/// The settings of a revision, and something that tells them from others. They may hold secrets, and show nothing of what they are.
#[derive(Clone)]
pub struct Settings {
    digest: String,
    json: Arc<[u8]>,
}

impl Settings {
    pub fn new(settings: Effective) -> Self {
        let json: Arc<[u8]> = settings.into_json().into();
        Self {
            digest: kite_proto::sha256(&json),
            json,
        }
    }

    pub fn digest(&self) -> &str {
        &self.digest
    }

    pub fn json(&self) -> &[u8] {
        &self.json
    }
}

impl PartialEq for Settings {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

impl Eq for Settings {}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "settings of {} bytes", self.json.len())
    }
}

/// One run of a plugin's process: its pod, and how often the container was started again in it. What it answered once it
/// answers for as long as it lives, and what it was told once it knows.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Process {
    /// The uid of its pod.
    pub pod: String,
    pub restarts: i32,
}

/// A process that can be told something.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Listener {
    pub process: Process,
    /// The name of its pod.
    pub name: String,
    /// The address of its pod.
    pub ip: String,
    /// Number of its revision.
    pub revision: i64,
    /// What it can be told.
    pub supports: Supports,
}

/// What is known of a plugin, and it is to be told of.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct News {
    /// That of the object which is looked after, for the log.
    pub generation: i64,
    /// The settings of each revision that is active or to take over. `None`: what the object says cannot be its settings.
    pub settings: BTreeMap<i64, Option<Settings>>,
    /// The processes of these revisions.
    pub listeners: Vec<Listener>,
    /// The uids of all pods that there are, of whatever revision.
    pub pods: BTreeSet<String>,
    /// The revisions whose pods are about to be stopped.
    pub stopping: BTreeSet<i64>,
    /// Counts the changes of all that.
    pub version: u64,
}

impl News {
    /// What is to be said while nobody has been told any of this: those who are to have settings wait. A revision without any such is left out.
    pub fn waiting(&self) -> BTreeMap<i64, Taken> {
        let mut waiting: BTreeMap<i64, Taken> = BTreeMap::new();
        for listener in &self.listeners {
            let revision = listener.revision;
            let is_wanted = self.settings.get(&revision).is_some_and(Option::is_some);
            if is_wanted && listener.supports.settings && !self.stopping.contains(&revision) {
                waiting.entry(revision).or_default().waiting += 1;
            }
        }
        waiting
    }
}

/// What came of telling a plugin.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Told {
    /// Of the settings, by revision.
    pub settings: BTreeMap<i64, Taken>,
    /// How many processes have still to release what they hold before they are stopped.
    pub releasing: usize,
    /// Of which version of the news that is.
    pub version: u64,
}

impl Told {
    /// Whether every process has answered, or did not though it was asked.
    pub fn is_settled(&self) -> bool {
        self.settings.values().all(|taken| taken.waiting == 0)
    }

    /// What is to be said of this `version` of the news, by which these are `waiting`, if this is the last that came. If it is of an older one,
    /// revisions that are not in it have been told nothing yet, and where the task has died, none has been told what is new.
    #[must_use]
    pub fn as_of(mut self, version: u64, waiting: BTreeMap<i64, Taken>, is_dead: bool) -> Self {
        if self.version >= version {
            return self;
        }
        if is_dead {
            self.settings.clear();
        }
        for (revision, taken) in waiting {
            self.settings.entry(revision).or_insert(taken);
        }
        self
    }
}

/// What the processes of a revision say to its settings. Where nobody is to be told, nobody says anything.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Taken {
    /// How many have accepted them.
    pub accepted: usize,
    /// Why others have not, by the names of their pods.
    pub refused: BTreeMap<String, String>,
    /// Why others could not be asked.
    pub failed: BTreeMap<String, String>,
    /// How many are to be asked, or are being asked, for the first time.
    pub waiting: usize,
}

impl Taken {
    /// Whether all that are to have them have accepted them.
    pub fn is_whole(&self) -> bool {
        self.refused.is_empty() && self.failed.is_empty() && self.waiting == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::push::ledger::tests::{listener, news};

    fn waiting(count: usize) -> Taken {
        Taken {
            waiting: count,
            ..Taken::default()
        }
    }

    #[test]
    fn who_is_to_have_settings_waits_for_them() {
        let mut other = listener("c", 0, 1);
        other.supports.settings = false;
        let mut without = listener("d", 0, 2);
        without.supports.settings = false;
        let listeners = vec![
            listener("a", 0, 1),
            listener("b", 0, 1),
            other,
            without,
            listener("e", 0, 3),
            listener("f", 0, 4),
            listener("g", 0, 5),
        ];
        let mut news = news(&[(1, Some(1)), (2, Some(1)), (3, None), (4, Some(1))], listeners);
        news.stopping.insert(4);
        assert_eq!(news.waiting(), BTreeMap::from([(1, waiting(2))]));
    }

    #[test]
    fn what_is_of_older_news_does_not_speak_for_what_came_since() {
        let accepted = || Taken {
            accepted: 1,
            ..Taken::default()
        };
        let told = || Told {
            settings: BTreeMap::from([(1, accepted())]),
            version: 3,
            ..Told::default()
        };
        let both = || BTreeMap::from([(1, waiting(1)), (2, waiting(1))]);
        let late = BTreeMap::from([(1, accepted()), (2, waiting(1))]);
        assert_eq!(told().as_of(3, both(), false), told());
        assert_eq!(told().as_of(3, both(), true), told(), "it has told all that there was");
        assert_eq!(told().as_of(4, both(), false).settings, late);
        assert_eq!(told().as_of(4, both(), true).settings, both());
        assert_eq!(told().as_of(4, BTreeMap::new(), true).settings, BTreeMap::new());
    }
}
