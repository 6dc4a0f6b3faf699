//! One file per command: typed arguments and a printer in, an exit status out.

pub(crate) mod build;
pub(crate) mod can_i_apply;
pub(crate) mod conformance;
pub(crate) mod init;
pub(crate) mod package;
mod places;
pub(crate) mod validate;
