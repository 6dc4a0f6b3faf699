//! The command as its users meet it, against a registry that checks what it is sent.

#[cfg(test)]
mod output;
#[cfg(test)]
mod push;
#[cfg(test)]
mod registry;
