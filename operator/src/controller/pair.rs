//! What there is of a revision that leads, and of one that is to take over from it.

/// Something of the revision that leads, and of the one that is to take over, if there is one.
#[derive(Clone, Debug, PartialEq)]
pub struct Pair<T> {
    pub lead: T,
    pub next: Option<T>,
}

impl<T> Pair<T> {
    pub fn as_ref(&self) -> Pair<&T> {
        Pair {
            lead: &self.lead,
            next: self.next.as_ref(),
        }
    }

    pub fn map<U>(self, mut change: impl FnMut(T) -> U) -> Pair<U> {
        Pair {
            lead: change(self.lead),
            next: self.next.map(change),
        }
    }

    /// Both sides of each; a second one that one side lacks is left out.
    pub fn zip<U>(self, other: Pair<U>) -> Pair<(T, U)> {
        Pair {
            lead: (self.lead, other.lead),
            next: self.next.zip(other.next),
        }
    }
}
