//! `kite-plugin`: the command of plugin authors.

use std::{env, io, process::ExitCode};

use kite_plugin::{cli, printer::Printer};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    // Fails only if there is a provider already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (mut data, mut talk) = (io::stdout(), io::stderr());
    cli::run(env::args_os(), &mut Printer::new(&mut data, &mut talk))
        .await
        .into()
}
