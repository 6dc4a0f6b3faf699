//! The command as its users meet it, against a registry and an API server that check what they are sent.

#[cfg(test)]
mod apiserver;
#[cfg(test)]
mod can_i_apply;
#[cfg(test)]
mod conformance;
#[cfg(test)]
mod init;
#[cfg(test)]
mod output;
#[cfg(test)]
mod project;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod push;
#[cfg(test)]
mod registry;
#[cfg(test)]
mod validate;
