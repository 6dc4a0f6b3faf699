//! What breaks operators, at every write: it ends between two of them, it is told of an earlier state, it is not told something. And a walk
//! through specs. Whatever happened, what is in the cluster follows from the last spec alone.

#[cfg(test)]
mod case;
#[cfg(test)]
mod cell;
#[cfg(test)]
mod change;
#[cfg(test)]
mod fault;
#[cfg(test)]
mod ledger;
#[cfg(test)]
mod line;
#[cfg(test)]
mod node;
#[cfg(test)]
mod operator;
#[cfg(test)]
mod plugin;
#[cfg(test)]
mod record;
#[cfg(test)]
mod restart;
#[cfg(test)]
mod run;
#[cfg(test)]
#[path = "../support/server.rs"]
mod server;
#[cfg(test)]
mod snapshot;
#[cfg(test)]
mod specs;
#[cfg(test)]
mod target;
#[cfg(test)]
mod walk;
#[cfg(test)]
mod woken;
