//! The command of plugin authors, and the writer of their images.

pub mod cli;
mod commands;
pub mod image;
pub mod manifest;
pub mod printer;
pub mod scaffold;
