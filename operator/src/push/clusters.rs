//! The clusters that there are, and what has happened to them lately.

pub mod kubeconfig;
pub mod watch;

use std::{
    collections::{BTreeMap, VecDeque},
    mem,
};

use kite_api::name::ClusterName;

/// How many events are kept. A plugin that has been told none of so many is told anew what there is.
pub const KEPT: usize = 256;

/// What has happened to a cluster.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Change {
    Added,
    Updated,
    Removed,
}

/// Something that has happened to a cluster.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ClusterEvent {
    pub change: Change,
    pub cluster: ClusterName,
    /// With the last of those that list what there is: all clusters. A plugin may know of others from an operator before this one.
    pub present: Vec<ClusterName>,
}

impl ClusterEvent {
    pub fn new(change: Change, cluster: ClusterName) -> Self {
        Self {
            change,
            cluster,
            present: Vec::new(),
        }
    }
}

/// The clusters that there are, with something of each that changes when it does, and what has happened to them.
#[derive(Clone, Debug, Default)]
pub struct Clusters {
    /// Not all that there are have been found yet.
    is_awaited: bool,
    present: BTreeMap<ClusterName, String>,
    /// The last events, the oldest first.
    log: VecDeque<ClusterEvent>,
    /// How many there were.
    count: u64,
}

impl Clusters {
    /// The home cluster, and others that are still to be found.
    pub fn awaited(home: ClusterName) -> Self {
        let mut clusters = Self {
            is_awaited: true,
            ..Self::default()
        };
        clusters.set(home, "");
        clusters
    }

    /// Whether others are still to be found. Until then nobody is told what there is: they would take the rest for gone.
    pub fn is_awaited(&self) -> bool {
        self.is_awaited
    }

    /// Those that there are.
    pub fn present(&self) -> impl Iterator<Item = &ClusterName> {
        self.present.keys()
    }

    /// How many events there were.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// What has happened since there were `count` events. `None`: not all of that is known any more.
    pub fn since(&self, count: u64) -> Option<impl Iterator<Item = &ClusterEvent>> {
        let missed = usize::try_from(self.count.saturating_sub(count)).ok()?;
        let skipped = self.log.len().checked_sub(missed)?;
        Some(self.log.iter().skip(skipped))
    }

    /// The cluster is there, and is so. Returns whether that is news.
    pub fn set(&mut self, cluster: ClusterName, fingerprint: &str) -> bool {
        let before = self.present.insert(cluster.clone(), fingerprint.to_owned());
        let change = match before {
            None => Change::Added,
            Some(before) if before != fingerprint => Change::Updated,
            Some(_) => return false,
        };
        self.happened(ClusterEvent::new(change, cluster));
        true
    }

    /// The cluster is not there. Returns whether that is news.
    pub fn remove(&mut self, cluster: &ClusterName) -> bool {
        let was_there = self.present.remove(cluster).is_some();
        if was_there {
            self.happened(ClusterEvent::new(Change::Removed, cluster.clone()));
        }
        was_there
    }

    /// These are all that there are. Returns whether that is news.
    pub fn replace(&mut self, all: BTreeMap<ClusterName, String>) -> bool {
        let (before, was_awaited) = (self.count, mem::replace(&mut self.is_awaited, false));
        let gone: Vec<ClusterName> = self.present().filter(|name| !all.contains_key(name)).cloned().collect();
        for cluster in gone {
            self.remove(&cluster);
        }
        for (cluster, fingerprint) in all {
            self.set(cluster, &fingerprint);
        }
        was_awaited || self.count != before
    }

    fn happened(&mut self, event: ClusterEvent) {
        if self.log.len() == KEPT {
            self.log.pop_front();
        }
        self.log.push_back(event);
        self.count += 1;
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn name(text: &str) -> ClusterName {
        ClusterName::parse(text).unwrap()
    }

    fn since(clusters: &Clusters, count: u64) -> Option<Vec<String>> {
        let events = clusters.since(count)?;
        Some(
            events
                .map(|it| format!("{:?} {}", it.change, it.cluster.as_str()))
                .collect(),
        )
    }

    #[test]
    fn what_happens_is_told_in_its_order_and_what_stays_the_same_is_not() {
        let mut clusters = Clusters::default();
        assert!(clusters.set(name("b"), "1"));
        assert!(clusters.set(name("a"), "1"));
        assert!(!clusters.set(name("a"), "1"));
        assert!(clusters.set(name("b"), "2"));
        assert!(clusters.remove(&name("b")) && !clusters.remove(&name("b")));
        let all = ["Added b", "Added a", "Updated b", "Removed b"].map(String::from);
        assert_eq!(since(&clusters, 0).unwrap(), all);
        assert_eq!(since(&clusters, 3).unwrap(), all[3..]);
        assert_eq!(since(&clusters, 4).unwrap(), [] as [&str; 0]);
    }

    #[test]
    fn a_list_is_told_by_what_it_changes() {
        let mut clusters = Clusters::default();
        let list = |entries: &[(&str, &str)]| {
            entries
                .iter()
                .map(|(it, print)| (name(it), (*print).to_owned()))
                .collect()
        };
        assert!(clusters.replace(list(&[("a", "1"), ("b", "1"), ("c", "1")])));
        assert!(!clusters.replace(list(&[("a", "1"), ("b", "1"), ("c", "1")])));
        assert!(clusters.replace(list(&[("a", "1"), ("b", "2"), ("d", "1")])));
        assert_eq!(since(&clusters, 3).unwrap(), ["Removed c", "Updated b", "Added d"]);
        assert_eq!(
            clusters.present().map(ClusterName::as_str).collect::<Vec<_>>(),
            ["a", "b", "d"]
        );
    }

    #[test]
    fn the_first_list_is_news_though_it_changes_nothing() {
        let mut clusters = Clusters::awaited(name("home"));
        let all = || BTreeMap::from([(name("home"), String::new())]);
        assert!(clusters.is_awaited() && clusters.replace(all()));
        assert!(!clusters.is_awaited() && !clusters.replace(all()));
    }

    #[test]
    fn what_was_long_ago_is_not_known() {
        let mut clusters = Clusters::default();
        for n in 0..=KEPT {
            clusters.set(name("a"), &n.to_string());
        }
        assert_eq!(since(&clusters, 0), None);
        assert_eq!(since(&clusters, 1).unwrap().len(), KEPT);
    }
}
