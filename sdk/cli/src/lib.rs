//! The command of plugin authors, and the writer of their images and packages.

pub mod archive;
pub mod cli;
mod commands;
pub mod image;
pub mod manifest;
pub mod printer;
mod project;
pub mod scaffold;
