//! Requests that two readers could read as different ones, on raw sockets: each is refused or read in one way, and what is hidden
//! in one never reaches the plugin.

use std::time::Duration;

use futures::future::join_all;
use http::Version;
use kite_gateway::{pipeline::forward, serve::Limits};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};

use super::{LIMIT, Scene, frames, served::Served};

/// How long a connection is waited on that says no more, and a body that does not come.
const SILENCE: Duration = Duration::from_millis(500);

/// A request to the plugin with these fields, and what comes after.
fn post(fields: &str, rest: &str) -> String {
    format!(
        "POST /api/v1/plugins/rogue/upload?N HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer jane\r\n{fields}\r\n{rest}"
    )
}

/// Stands for the answer that the plugin gives to a request that has no end.
const NO_END: u16 = 0;

/// What is hidden in others.
const HIDDEN: &str =
    "GET /api/v1/plugins/rogue/hidden?N HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer jane\r\n\r\n";

/// Lines that say of a request that it comes in chunks, to some of those who read them.
const CODINGS: [(&str, &str); 14] = [
    (
        "TE.TE, unknown first",
        "Transfer-Encoding: x\r\nTransfer-Encoding: chunked",
    ),
    (
        "TE.TE, unknown last",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: x",
    ),
    (
        "TE.TE, twice",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    ),
    ("TE of another name", "Transfer-Encoding: xchunked"),
    ("TE quoted", "Transfer-Encoding: \"chunked\""),
    ("TE identity", "Transfer-Encoding: identity"),
    ("TE list", "Transfer-Encoding: chunked, identity"),
    ("TE gzip", "Transfer-Encoding: gzip, chunked"),
    ("TE with a space before the colon", "Transfer-Encoding : chunked"),
    ("TE with a vertical tab", "Transfer-Encoding: \u{b}chunked"),
    ("TE behind a space", " Transfer-Encoding: chunked"),
    ("TE folded", "Transfer-Encoding:\r\n chunked"),
    // Lines that others could take for parts of one.
    ("a bare LF before TE", "X: x\nTransfer-Encoding: chunked"),
    ("TE broken by a bare LF", "Transfer-Encoding\n: chunked"),
];

/// Requests with what is answered, and whether the plugin sees the first.
#[rustfmt::skip]
fn framed() -> Vec<(&'static str, String, Vec<u16>, bool)> {
    let length = HIDDEN.len();
    let within = format!("{length:x}\r\n{HIDDEN}\r\n0\r\n\r\n");
    let after_none = format!("0\r\n\r\n{HIDDEN}");
    let lengths = |lines: &str| post(lines, &format!("hello{HIDDEN}"));
    let chunks = |body: &str| post("Transfer-Encoding: chunked\r\n", &format!("{body}{HIDDEN}"));
    let both = "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n";
    let mut framed = vec![
        ("CL.TE", post(both, &after_none), vec![400], false),
        ("TE.CL", post("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", &within), vec![400], false),
        ("TE.CL, no number", post("Transfer-Encoding: chunked\r\nContent-Length: x\r\n", &after_none), vec![400], false),
        ("CL.TE, of other letters", post("content-length:6\r\nX: x\r\nTRANSFER-encoding:chunked\r\n", &after_none), vec![400], false),
        ("TE with a tab", post("Transfer-Encoding:\tchunked\r\n", "0\r\n\r\n"), vec![200], true),
        ("two bare LFs in a value", post("X: x\n\n", HIDDEN).replacen("\n\n\r\n", "\n\n", 1), vec![400], false),
        ("an LF behind the request line", post("", HIDDEN).replacen("HTTP/1.1\r\n", "HTTP/1.1\n", 1), vec![400], false),
        ("TE broken by a bare CR", post("X: x\rTransfer-Encoding: chunked\r\n", &after_none), vec![400], false),
        ("TE and HTTP/1.0", post("Transfer-Encoding: chunked\r\n", &after_none).replacen("HTTP/1.1", "HTTP/1.0", 1), vec![400], false),
        // Lengths.
        ("CL twice", lengths("Content-Length: 5\r\nContent-Length: 6\r\n"), vec![400], false),
        ("CL with a sign", lengths("Content-Length: +5\r\n"), vec![400], false),
        ("CL negative", lengths("Content-Length: -5\r\n"), vec![400], false),
        ("CL with a space within", lengths("Content-Length: 5 5\r\n"), vec![400], false),
        ("CL list", lengths("Content-Length: 5, 5\r\n"), vec![400], false),
        ("CL hexadecimal", lengths("Content-Length: 0x5\r\n"), vec![400], false),
        ("CL empty", lengths("Content-Length:\r\n"), vec![400], false),
        ("CL beyond all numbers", lengths("Content-Length: 18446744073709551621\r\n"), vec![400], false),
        ("CL with a space before the colon", lengths("Content-Length : 5\r\n"), vec![400], false),
        // Chunks. The plugin sees nothing, or a request that never ends.
        ("a chunk without size", chunks("\r\n"), vec![400], false),
        ("a chunk of a negative size", chunks("-1\r\n"), vec![400], false),
        ("a chunk of 0x5", chunks("0x5\r\nhello\r\n0\r\n\r\n"), vec![400], false),
        ("a chunk beyond all numbers", chunks("10000000000000005\r\nhello\r\n0\r\n\r\n"), vec![400], false),
        ("a chunk's size ended by LF", chunks("5\nhello\r\n0\r\n\r\n"), vec![400], false),
        ("a chunk's size ended by CR", chunks("5\rhello\r\n0\r\n\r\n"), vec![400], false),
        ("a chunk's extension with LF", chunks("5;a\nhello\r\n0\r\n\r\n"), vec![400], false),
        ("a chunk that is longer", chunks("5\r\nhello!\r\n0\r\n\r\n"), vec![NO_END], true),
        ("a chunk ended by LF", chunks("5\r\nhello\n0\r\n\r\n"), vec![NO_END], true),
        ("a chunk's extension without end", chunks(&format!("5;{}\r\nhello\r\n0\r\n\r\n", "a".repeat(20_000))), vec![400], false),
    ];
    // Codings that others could overlook, or see where there is none, beside a length and without.
    for (name, line) in CODINGS {
        framed.push((name, post(&format!("{line}\r\n"), &after_none), vec![400], false));
        let length = format!("{line}\r\nContent-Length: {}\r\n", after_none.len());
        framed.push((name, post(&length, &after_none), vec![400], false));
    }
    framed
}

/// The same of heads.
#[rustfmt::skip]
fn headed() -> Vec<(&'static str, String, Vec<u16>, bool)> {
    vec![
        ("a folded field", post("X: a\r\n b\r\n", HIDDEN), vec![400], false),
        ("a field without name", post(": a\r\n", HIDDEN), vec![400], false),
        ("a field without colon", post("X\r\n", HIDDEN), vec![400], false),
        ("a name with a blank", post("X y: a\r\n", HIDDEN), vec![400], false),
        ("a value with NUL", post("X: a\0b\r\n", HIDDEN), vec![400], false),
        ("a value with a bare CR", post("X: a\rb\r\n", HIDDEN), vec![400], false),
        ("two hosts", post("Host: evil\r\n", HIDDEN), vec![400], false),
        ("no host", post("", HIDDEN).replacen("Host: localhost\r\n", "", 1), vec![400], false),
        ("a host with a path", post("", HIDDEN).replacen("Host: localhost", "Host: localhost/a", 1), vec![400], false),
        ("a whole address of another host", post("", HIDDEN).replacen(" /api", " https://evil/api", 1), vec![400], false),
        ("HTTP/0.9", format!("GET /api/v1/plugins/rogue/upload?N\r\n{HIDDEN}"), vec![400], false),
        ("HTTP/1.2", post("", HIDDEN).replacen("HTTP/1.1", "HTTP/1.2", 1), vec![400], false),
        ("HTTP/2.0 in text", post("", HIDDEN).replacen("HTTP/1.1", "HTTP/2.0", 1), vec![400], false),
        ("two spaces", post("", HIDDEN).replacen("POST ", "POST  ", 1), vec![400], false),
        ("a space behind the version", post("", HIDDEN).replacen("HTTP/1.1\r", "HTTP/1.1 \r", 1), vec![400], false),
        ("a control character in the target", post("", HIDDEN).replacen("/upload", "/up\u{1}load", 1), vec![400], false),
        ("a method with a bracket", post("", HIDDEN).replacen("POST", "PO{ST", 1), vec![400], false),
        ("too large a head", post(&format!("X: {}\r\n", "a".repeat(70_000)), HIDDEN), vec![431], false),
        ("too many fields", post(&"X: a\r\n".repeat(200), HIDDEN), vec![431], false),
    ]
}

/// Statuses of the answers to `bytes`, after which the connection is closed.
async fn answered(served: &Served, bytes: &[u8]) -> Vec<u16> {
    let mut tls = served.connection(Version::HTTP_11).await;
    // What is refused may be closed before it is read to its end.
    let _ = tls.write_all(bytes).await;
    let _ = tls.flush().await;
    let mut answers = Vec::new();
    let read = timeout(LIMIT, tls.read_to_end(&mut answers)).await;
    // A connection that is reset has no end in good order, and what it said counts all the same.
    let _ = read.expect("the connection is closed");
    let answers = String::from_utf8_lossy(&answers).into_owned();
    let statuses = answers.split("HTTP/1.1 ").skip(1);
    let status = |answer: &str| {
        let status = answer[..3].parse().ok()?;
        Some(if answer.contains("\"end\":false") {
            NO_END
        } else {
            status
        })
    };
    statuses.filter_map(status).collect()
}

async fn served() -> Served {
    let limits = forward::Limits {
        caller: SILENCE,
        ..super::PATIENT
    };
    let idle = Limits {
        idle: SILENCE,
        ..Limits::default()
    };
    Served::of(Scene::limited(limits).await, idle).await
}

impl Served {
    /// What the plugin was asked, with the query `number`.
    fn asked(&self, number: usize) -> Vec<String> {
        let asked = self.scene.rogue.asked.lock().unwrap();
        let of_it = asked.iter().filter(|target| target.ends_with(&format!("?{number}")));
        of_it.cloned().collect()
    }
}

#[tokio::test]
async fn smuggling_over_http_1_is_refused_or_read_in_one_way() {
    let served = served().await;
    let vectors = [framed(), headed()].concat();
    let outcomes = vectors.iter().enumerate().map(async |(number, (.., bytes, _, _))| {
        let bytes = bytes.replace("?N", &format!("?{number}"));
        let answered = answered(&served, bytes.as_bytes()).await;
        (answered, served.asked(number))
    });
    let mut wrong = Vec::new();
    for (number, (answers, asked)) in join_all(outcomes).await.into_iter().enumerate() {
        let (name, _, expected, seen) = &vectors[number];
        let upload = seen.then(|| format!("POST /upload?{number}"));
        if answers != *expected || asked != Vec::from_iter(upload) {
            wrong.push(format!("{name}: answered {answers:?}, and the plugin saw {asked:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test]
async fn smuggling_is_told_apart_from_requests_in_a_row() {
    let served = served().await;
    for (number, body) in [
        (1, "Content-Length: 5\r\n\r\nhello"),
        (2, "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello"),
        (
            3,
            "Transfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\n",
        ),
    ] {
        let row = post(body, HIDDEN)
            .replacen("\r\nGET", "GET", 1)
            .replace("?N", &format!("?{number}"));
        assert_eq!(answered(&served, row.as_bytes()).await, [200, 404], "{body}");
        let both = [format!("POST /upload?{number}"), format!("GET /hidden?{number}")];
        assert_eq!(served.asked(number), both, "{body}");
    }
    // Heads in a row are not looked at: where there is a length too, the chunks count, and nothing comes after them.
    let second = post(
        "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n",
        &format!("0\r\n\r\n{HIDDEN}"),
    );
    let row = post("", &second).replace("?N", "?4");
    assert_eq!(answered(&served, row.as_bytes()).await, [200, 200]);
    assert_eq!(served.asked(4), ["POST /upload?4", "POST /upload?4"]);
}

#[tokio::test]
async fn smuggling_by_methods_and_upgrades_ends_with_an_answer() {
    let served = served().await;
    for (number, (first, fields, status)) in [
        ("TRACE /api/v1/plugins/rogue/seen", "", 405),
        ("CONNECT localhost:443", "", 400),
        ("CONNECT /api/v1/plugins/rogue/seen", "", 405),
        ("OPTIONS *", "", 400),
        ("post /api/v1/plugins/rogue/seen", "", 405),
        ("PRI *", "", 400),
        (
            "GET /api/v1/plugins/rogue/seen",
            "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
            501,
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let bytes = format!("{first} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer jane\r\n{fields}\r\n");
        let bytes = bytes.replace(
            "localhost:443 HTTP/1.1\r\nHost: localhost",
            "localhost:443 HTTP/1.1\r\nHost: localhost:443",
        );
        let seen = served.scene.rogue.asked.lock().unwrap().len();
        assert_eq!(answered(&served, bytes.as_bytes()).await, [status], "{number}: {first}");
        assert_eq!(served.scene.rogue.asked.lock().unwrap().len(), seen, "{first}");
    }
}

/// Fields of a good request over HTTP/2.
fn fields(path: &str) -> Vec<(String, String)> {
    [
        (":method", "POST"),
        (":scheme", "https"),
        (":authority", "localhost"),
        (":path", path),
        ("authorization", "Bearer jane"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

/// The fields of requests that HTTP/2 has no place for.
#[rustfmt::skip]
fn misplaced() -> Vec<(&'static str, Vec<(String, String)>)> {
    let upload = "/api/v1/plugins/rogue/upload";
    let with = |name: &str, value: &str| [fields(upload), vec![(name.to_owned(), value.to_owned())]].concat();
    let put = |name: &str, value: &str| {
        let mut fields = fields(upload);
        fields
            .iter_mut()
            .filter(|field| field.0 == name)
            .for_each(|field| value.clone_into(&mut field.1));
        fields
    };
    let without = |name: &str| {
        let kept = fields(upload).into_iter().filter(|field| field.0 != name);
        kept.collect::<Vec<_>>()
    };
    let mut late = fields(upload);
    late.rotate_left(1);
    vec![
        ("a transfer coding", with("transfer-encoding", "chunked")),
        ("a connection", with("connection", "close")),
        ("an upgrade", with("upgrade", "h2c")),
        ("a keep-alive", with("keep-alive", "1")),
        ("a proxy's connection", with("proxy-connection", "close")),
        ("TE that is not trailers", with("te", "gzip")),
        ("a name in upper case", with("X-Upper", "a")),
        ("a name with a space", with("x y", "a")),
        ("a name with a colon", with("x:y", "a")),
        ("a name with a line end", with("x\r\ny", "a")),
        ("a value with a line end", with("x", "a\r\nhost: evil")),
        ("a value with LF", with("x", "a\nb")),
        ("a value with NUL", with("x", "a\0b")),
        ("a second path", with(":path", "/other")),
        ("a second method", with(":method", "GET")),
        ("an unknown pseudo-field", with(":other", "a")),
        ("a pseudo-field of answers", with(":status", "200")),
        ("pseudo-fields behind others", late),
        ("no path", without(":path")),
        ("no method", without(":method")),
        ("no scheme", without(":scheme")),
        ("an empty path", put(":path", "")),
        ("a path with a space", put(":path", "/api/v1/plugins/rogue/upload HTTP/1.1")),
        ("a path with a line end", put(":path", "/api/v1/plugins/rogue/upload\r\nx: y")),
        ("a path that is no path", put(":path", "api/v1/plugins/rogue/upload")),
        ("a method with a space", put(":method", "POST /")),
        ("another host", with("host", "evil")),
        ("two hosts", [ with("host", "localhost"), vec![("host".to_owned(), "localhost".to_owned())], ] .concat()),
        ("two lengths", [ with("content-length", "0"), vec![("content-length".to_owned(), "1".to_owned())], ] .concat()),
        ("a length that is no number", with("content-length", "+0")),
        ("a shorter body than its length", with("content-length", "5")),
    ]
}

#[tokio::test]
async fn smuggling_over_http_2_is_refused() {
    let served = served().await;
    let upload = "/api/v1/plugins/rogue/upload";
    let mut wrong = Vec::new();
    for (what, fields) in misplaced() {
        let outcome = frames::ask(&served, &fields).await;
        let seen = std::mem::take(&mut *served.scene.rogue.asked.lock().unwrap());
        if !matches!(
            outcome,
            frames::Outcome::Reset | frames::Outcome::Closed | frames::Outcome::Status(400)
        ) || !seen.is_empty()
        {
            wrong.push(format!("{what}: {outcome:?}, and the plugin saw {seen:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(
        frames::ask(&served, &fields(upload)).await,
        frames::Outcome::Status(200)
    );
}
