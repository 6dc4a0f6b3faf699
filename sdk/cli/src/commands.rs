//! One file per command: typed arguments and a printer in, an exit status out.

pub(crate) mod can_i_apply;
pub(crate) mod conformance;
pub(crate) mod package;
