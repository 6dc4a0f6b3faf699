//! All of `forward` again, with a plugin that is asked by `Exchange`; and what is of that alone.

#[path = "support/exchange.rs"]
mod exchange;
mod forward;
