//! The conformance suite of the plugin protocol; and plugins in any language as the operator runs them: a process with a folder of
//! certificates, to be asked over the wire.

mod checks;
pub mod faults;
pub mod folder;
mod identity;
pub mod python;
mod rule;
mod subject;
mod suite;
mod verdict;
mod wire;
mod world;

pub use checks::is_path;
pub use identity::{Authorities, Authority, Certified, IdentityError};
pub use rule::Rule;
pub use subject::{Subject, SubjectError};
pub use suite::{Counts, Finding, Report, Suite, SuiteError};
pub use verdict::Verdict;
pub use wire::WireError;
pub use world::{Host, Known, Limits, Process, Target};
