//! Who is believed, and by which TLS.

use std::time::Duration;

use kite_api::error_chain;
use kite_proto::DescribeRequest;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{Instant, interval, timeout},
};
use tonic::Code;

use crate::{
    Authority,
    verdict::{Checked, broken, ensure, not_applicable},
    wire::{Answer, Ended, Shown, Wire},
    world::World,
};

/// How often it is tried whether renewed certificates are used.
const TURN: Duration = Duration::from_millis(100);
/// What begins a connection of HTTP/2 (RFC 9113, section 3.4), with an empty SETTINGS frame.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// What a record of TLS says of itself that is a handshake, and what a message that is a `ServerHello`.
const HANDSHAKE: u8 = 22;
const SERVER_HELLO: u8 = 2;
/// The header of a record, and the first byte of the message in it.
const RECORD: usize = 6;

pub(crate) async fn no_certificate(world: &World) -> Checked {
    refuses(world, Shown::Nothing, "a client without a certificate").await
}

pub(crate) async fn other_authority(world: &World) -> Checked {
    let stranger = Authority::new().and_then(|authority| authority.client_certified());
    match stranger {
        Ok(stranger) => refuses(world, Shown::Other(&stranger), "a certificate of another CA").await,
        Err(error) => not_applicable(error_chain(&error)),
    }
}

pub(crate) async fn server_certificate(world: &World) -> Checked {
    let Some(clients) = &world.target.host.clients else {
        return not_applicable("the suite has no key of the clients' CA to make such a certificate with");
    };
    match clients.server(world.target.name.as_str()) {
        Ok(server) => {
            refuses(
                world,
                Shown::Other(&server),
                "a certificate of the clients' CA for servers only",
            )
            .await
        }
        Err(error) => not_applicable(error_chain(&error)),
    }
}

async fn refuses(world: &World, shown: Shown<'_>, who: &str) -> Checked {
    // With TLS 1.3 a client learns of the refusal by its first read.
    match world.connect(shown).await {
        Ok(wire) if is_taken(world, &wire).await => broken(format!("{who} is taken"), "a refusal"),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Whether whoever has connected may call: what is asked for does not matter, and is nothing that any plugin has.
pub(crate) async fn is_taken(world: &World, wire: &Wire) -> bool {
    let request = DescribeRequest {
        context: Some(world.host_context()),
    };
    let answer: Checked<Answer<()>> = world.ask_on(wire, "Conformance", &request).await;
    match answer.map(|answer| answer.ended) {
        Ok(Ended::Status(status)) => !matches!(status.code, Code::Unauthenticated | Code::PermissionDenied),
        Ok(Ended::Broken(_) | Ended::Silent) | Err(_) => false,
    }
}

pub(crate) async fn plain_text(world: &World) -> Checked {
    let answer = said_to(world, PREFACE).await?;
    // The answer in HTTP/2 is a SETTINGS frame; TLS may say what it thinks of what it read.
    let is_settings = answer.get(3) == Some(&4) && answer.first() == Some(&0);
    ensure(
        !is_settings,
        || String::from("HTTP/2 in plain text is answered"),
        "a refusal",
    )
}

pub(crate) async fn old_tls(world: &World) -> Checked {
    let answer = said_to(world, &old_hello()).await?;
    let is_hello = answer.first() == Some(&HANDSHAKE) && answer.get(RECORD - 1) == Some(&SERVER_HELLO);
    ensure(
        !is_hello,
        || String::from("TLS 1.1 is answered by a ServerHello"),
        "a refusal",
    )
}

/// The first bytes that come back for these; none if nothing comes.
async fn said_to(world: &World, bytes: &[u8]) -> Checked<Vec<u8>> {
    let mut answer = vec![0; RECORD];
    let talk = async {
        let mut stream = TcpStream::connect(world.target.address).await?;
        stream.write_all(bytes).await?;
        let mut read = 0;
        while let Some(rest) = answer.get_mut(read..).filter(|rest| !rest.is_empty()) {
            match stream.read(rest).await? {
                0 => break,
                more => read += more,
            }
        }
        Ok::<(), std::io::Error>(())
    };
    // A connection that is closed, or says nothing, refuses too.
    let _ = timeout(world.limits.silence, talk).await;
    Ok(answer)
}

/// A `ClientHello` of TLS 1.1 (RFC 4346, section 7.4.1.2) with ciphers of its time.
fn old_hello() -> Vec<u8> {
    const VERSION: [u8; 2] = [3, 2];
    const CIPHERS: [u8; 10] = [0, 8, 0xc0, 0x09, 0xc0, 0x13, 0x00, 0x2f, 0x00, 0x35];
    // The curves and the form of points (RFC 8422, section 5.1): without them there is nothing that both have.
    const EXTENSIONS: [u8; 18] = [0, 16, 0, 10, 0, 6, 0, 4, 0, 23, 0, 24, 0, 11, 0, 2, 1, 0];
    let mut hello = Vec::from(VERSION);
    hello.extend([7; 32]);
    hello.push(0);
    hello.extend(CIPHERS);
    hello.extend([1, 0]);
    hello.extend(EXTENSIONS);
    let length = u8::try_from(hello.len()).unwrap_or(u8::MAX);
    let mut record = vec![HANDSHAKE, 3, 1, 0, length.saturating_add(4), 1, 0, 0, length];
    record.extend(hello);
    record
}

pub(crate) async fn alpn(world: &World) -> Checked {
    let wire = world.wire().await?;
    let agreed = wire.alpn.as_deref().map_or("nothing".into(), String::from_utf8_lossy);
    ensure(agreed == "h2", || format!("ALPN agrees on {agreed}"), "h2")
}

pub(crate) async fn certificate(world: &World) -> Checked {
    let wire = world.wire().await?;
    let expected = format!(
        "a certificate of the servers' CA for {}",
        kite_proto::server_name(world.target.name.as_str())
    );
    match &wire.distrust {
        None => Ok(()),
        Some(reason) => broken(reason, expected),
    }
}

pub(crate) async fn renewed(world: &World) -> Checked {
    let Some(process) = &world.process else {
        return not_applicable("the suite did not start the plugin, and cannot change its certificates");
    };
    let host = match process.lock().await.renew() {
        Ok(host) => host,
        Err(error) => return not_applicable(error_chain(&error)),
    };
    let until = Instant::now() + world.limits.renewal;
    let mut turns = interval(TURN);
    while Instant::now() < until {
        turns.tick().await;
        let name = world.target.name.as_str();
        let connected = Wire::connect(world.target.address, name, &host, Shown::Own, &world.log).await;
        let wire = match connected {
            Ok(wire) if wire.distrust.is_none() => wire,
            Ok(_) | Err(_) => continue,
        };
        if is_taken(world, &wire).await {
            world.renew(host).await;
            return Ok(());
        }
    }
    // The old ones hold for what else is asked.
    world.own().await.map(drop).or_else(|_| no_connection_after_renewal())?;
    broken(
        format!(
            "the old ones are used {} s after new ones were there",
            world.limits.renewal.as_secs()
        ),
        "the new ones",
    )
}

fn no_connection_after_renewal() -> Checked {
    broken("neither the old certificates nor the new ones are used", "the new ones")
}

/// Whether the plugin can be asked at all.
pub(crate) async fn reachable(world: &World) -> Result<bool, crate::WireError> {
    let wire = world.connect(Shown::Own).await?;
    Ok(is_taken(world, &wire).await)
}
