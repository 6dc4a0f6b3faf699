//! Plugins in any language as the operator runs them: a process with a folder of certificates, to be asked over the wire.

mod identity;
pub mod python;
mod subject;

pub use identity::{Authorities, Authority, Certified, IdentityError};
pub use subject::{Subject, SubjectError};
