//! The rules of RFC 6455, sections 5 to 7, for what a caller sends, byte by byte.

use kite_proto::{web_socket::MAX_WEB_SOCKET_MESSAGE, web_socket_frame::Kind};
use tokio::time::timeout;

use super::{LIMIT, served::Served, socket::Peer};

const FIN: u8 = 0x80;
const MASK: u8 = 0x80;
const LENGTH_16: u8 = 0x7e;
const LENGTH_64: u8 = 0x7f;
const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// A frame as a caller sends it, with its length in the fewest bytes.
pub(crate) fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        length @ ..126 => bytes.push(MASK | u8::try_from(length).unwrap()),
        length @ 126..0x1_0000 => {
            bytes.push(MASK | LENGTH_16);
            bytes.extend(u16::try_from(length).unwrap().to_be_bytes());
        }
        length => {
            bytes.push(MASK | LENGTH_64);
            bytes.extend((length as u64).to_be_bytes());
        }
    }
    with_payload(bytes, payload)
}

fn with_payload(mut bytes: Vec<u8>, payload: &[u8]) -> Vec<u8> {
    let mask = [0x12, 0xab, 0x00, 0xff];
    bytes.extend(mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

fn text(payload: &[u8]) -> Vec<u8> {
    masked(FIN | TEXT, payload)
}

fn binary(payload: &[u8]) -> Vec<u8> {
    masked(FIN | BINARY, payload)
}

fn coded(code: u16, reason: &[u8]) -> Vec<u8> {
    [code.to_be_bytes().as_slice(), reason].concat()
}

pub(crate) fn close(code: u16, reason: &[u8]) -> Vec<u8> {
    masked(FIN | CLOSE, &coded(code, reason))
}

/// What a caller sends, and what it gets for it, to the CLOSE with which the connection ends: first bytes and payloads of frames.
struct Rule {
    name: String,
    sent: Vec<Vec<u8>>,
    got: Vec<(u8, Vec<u8>)>,
    /// What it sends when it has got all but the last.
    last: Vec<u8>,
}

/// What is sent is good, and so is the CLOSE after it.
fn good(name: &str, sent: &[Vec<u8>], got: &[(u8, &[u8])]) -> Rule {
    let mut rule = Rule {
        name: name.to_owned(),
        sent: sent.to_vec(),
        got: got
            .iter()
            .map(|(first, payload)| (FIN | first, payload.to_vec()))
            .collect(),
        last: close(1000, b""),
    };
    rule.got.push((FIN | CLOSE, coded(1000, b"")));
    rule
}

/// What is sent is no good, for which the code is.
fn bad(name: impl Into<String>, sent: &[Vec<u8>], code: u16) -> Rule {
    Rule {
        name: name.into(),
        sent: sent.to_vec(),
        got: vec![(FIN | CLOSE, coded(code, b""))],
        last: vec![],
    }
}

fn framing() -> Vec<Rule> {
    let large = vec![7; MAX_WEB_SOCKET_MESSAGE];
    let (small, medium, wide) = (vec![1; 125], vec![2; 0xffff], vec![3; 0x1_0000]);
    // A length in more bytes than it needs, which section 5.2 forbids, is not refused by tungstenite. It means one thing only.
    let longer = with_payload(vec![FIN | BINARY, MASK | LENGTH_16, 0, 1], b"a");
    let endless = [vec![FIN | BINARY, MASK | LENGTH_64], vec![0xff; 8], vec![0; 4]].concat();
    let mut rules = vec![
        bad("5.1 a frame has a mask", &[vec![FIN | TEXT, 1, b'a']], 1002),
        good("5.2 a length of 7 bits", &[binary(&small)], &[(BINARY, &small)]),
        good(
            "5.2 the shortest length of 16 bits",
            &[binary(&[4; 126])],
            &[(BINARY, &[4; 126])],
        ),
        good(
            "5.2 the longest length of 16 bits",
            &[binary(&medium)],
            &[(BINARY, &medium)],
        ),
        good("5.2 a length of 64 bits", &[binary(&wide)], &[(BINARY, &wide)]),
        good("5.2 a length in more bytes than it needs", &[longer], &[(BINARY, b"a")]),
        bad("5.2 a length has 63 bits at most", &[endless], 1009),
        good("7.4.1 the largest message", &[binary(&large)], &[(BINARY, &large)]),
        bad(
            "7.4.1 a larger message",
            &[binary(&[large.clone(), vec![0]].concat())],
            1009,
        ),
        bad(
            "7.4.1 a larger message in fragments",
            &[masked(BINARY, &large), masked(FIN | CONTINUATION, b"a")],
            1009,
        ),
    ];
    for bit in [0x40, 0x20, 0x10] {
        rules.push(bad(
            format!("5.2 the reserved bit {bit:#x}"),
            &[masked(FIN | bit | TEXT, b"a")],
            1002,
        ));
    }
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        rules.push(bad(
            format!("5.2 the reserved opcode {opcode}"),
            &[masked(FIN | opcode, b"")],
            1002,
        ));
    }
    rules
}

fn fragments() -> Vec<Rule> {
    let (first, middle, last) = (
        masked(TEXT, b"a"),
        masked(CONTINUATION, b"b"),
        masked(FIN | CONTINUATION, b"c"),
    );
    let ping = masked(FIN | PING, b"p");
    vec![
        good(
            "5.4 fragments are one message",
            &[first.clone(), middle, last.clone()],
            &[(TEXT, b"abc")],
        ),
        good(
            "5.4 a control frame may stand between fragments",
            &[first.clone(), ping.clone(), last.clone()],
            &[(PONG, b"p"), (TEXT, b"ac")],
        ),
        good(
            "5.4 fragments may be empty",
            &[
                masked(BINARY, b""),
                masked(CONTINUATION, b""),
                masked(FIN | CONTINUATION, b""),
            ],
            &[(BINARY, b"")],
        ),
        bad(
            "5.4 a continuation continues something",
            std::slice::from_ref(&last),
            1002,
        ),
        bad(
            "5.4 a message ends before the next begins",
            &[first.clone(), text(b"x")],
            1002,
        ),
        bad(
            "5.4 nothing continues a whole message",
            &[masked(FIN | CONTINUATION, b"x")],
            1002,
        ),
    ]
}

fn control() -> Vec<Rule> {
    let ping = masked(FIN | PING, b"p");
    vec![
        bad("5.5 a ping is not fragmented", &[masked(PING, b"a")], 1002),
        bad("5.5 a CLOSE is not fragmented", &[masked(CLOSE, b"")], 1002),
        bad(
            "5.5 a ping has at most 125 bytes",
            &[masked(FIN | PING, &[0; 126])],
            1002,
        ),
        bad("5.5 a CLOSE has at most 125 bytes", &[close(1000, &[b'a'; 124])], 1002),
        good("5.5.2 a ping is answered with its data", &[ping], &[(PONG, b"p")]),
        good("5.5.2 a ping may be empty", &[masked(FIN | PING, b"")], &[(PONG, b"")]),
        good(
            "5.5.2 a ping of 125 bytes",
            &[masked(FIN | PING, &[5; 125])],
            &[(PONG, &[5; 125])],
        ),
        good(
            "5.5.3 a pong needs no ping",
            &[masked(FIN | PONG, b"x")],
            &[(PONG, b"x")],
        ),
    ]
}

fn texts() -> Vec<Rule> {
    vec![
        good("5.6 text", &[text("ä€".as_bytes())], &[(TEXT, "ä€".as_bytes())]),
        good("5.6 bytes are any", &[binary(&[0xff, 0])], &[(BINARY, &[0xff, 0])]),
        good("5.6 text may be empty", &[text(b"")], &[(TEXT, b"")]),
        good("5.6 bytes may be none", &[binary(b"")], &[(BINARY, b"")]),
        good(
            "5.6 a fragment may end within a character",
            &[masked(TEXT, &[0xe2, 0x82]), masked(FIN | CONTINUATION, &[0xac])],
            &[(TEXT, "€".as_bytes())],
        ),
        bad("8.1 text is UTF-8", &[text(b"a\xff")], 1007),
        bad("8.1 text ends with a whole character", &[text(&[0xe2, 0x82])], 1007),
        bad("8.1 a surrogate is no character", &[text(&[0xed, 0xa0, 0x80])], 1007),
        bad(
            "8.1 text in fragments is UTF-8",
            &[masked(TEXT, &[0xe2]), masked(FIN | CONTINUATION, b"a")],
            1007,
        ),
    ]
}

fn closing() -> Vec<Rule> {
    let answered = |name: &str, payload: Vec<u8>| Rule {
        name: name.to_owned(),
        sent: vec![masked(FIN | CLOSE, &payload)],
        got: vec![(FIN | CLOSE, payload)],
        last: vec![],
    };
    let mut after = answered("5.5.1 nothing counts after a CLOSE", coded(1000, b""));
    after.sent.push(text(b"late"));
    let mut twice = answered("5.5.1 a second CLOSE is not answered", coded(1000, b""));
    twice.sent.push(close(1001, b""));
    let mut rules = vec![
        answered("5.5.1 a CLOSE without a code is answered without", vec![]),
        answered("5.5.1 a CLOSE is answered with its reason", coded(1001, b"bye")),
        answered("5.5.1 a reason of 123 bytes", coded(1001, &[b'a'; 123])),
        bad("5.5.1 a code has two bytes", &[masked(FIN | CLOSE, &[3])], 1002),
        bad("5.5.1 a reason is UTF-8", &[close(1000, b"\xff")], 1007),
        after,
        twice,
    ];
    for code in [
        1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 3000, 3999, 4000, 4999,
    ] {
        rules.push(answered(&format!("7.4 the code {code}"), coded(code, b"")));
    }
    // 1014 was registered after RFC 6455, and tungstenite does not take it from a caller; a plugin may send it.
    for code in [
        0, 999, 1004, 1005, 1006, 1014, 1015, 1016, 1100, 2000, 2999, 5000, 65535,
    ] {
        let mut rule = bad(format!("7.4 the code {code} is never sent"), &[close(code, b"")], 1002);
        // It says why, unlike the others.
        rule.got = vec![(FIN | CLOSE, coded(1002, b"Protocol violation"))];
        rules.push(rule);
    }
    rules
}

#[tokio::test]
async fn what_a_caller_sends_is_held_to_each_rule() {
    let served = Served::new().await;
    let mut heard = served.scene.rogue.heard.subscribe();
    for rule in [framing(), fragments(), control(), texts(), closing()]
        .into_iter()
        .flatten()
    {
        let name = rule.name;
        served.scene.rogue.heard.send_replace(vec![]);
        let mut peer = Peer::open(&served, "/api/v1/plugins/rogue/socket", &[]).await;
        peer.send(&rule.sent.concat()).await;
        let ((first, closed), before) = rule.got.split_last().unwrap();
        for expected in before {
            let frame = peer.frame().await;
            assert!(frame.as_ref() == Some(expected), "{name}: {frame:.100?}");
        }
        peer.send(&rule.last).await;
        assert_eq!(peer.frame().await, Some((*first, closed.clone())), "{name}");
        assert_eq!(peer.frame().await, None, "{name}");
        // Whoever closed it, the plugin hears why, and nothing of what broke a rule.
        let code = closed
            .first_chunk()
            .map_or(0, |code| u32::from(u16::from_be_bytes(*code)));
        let last = heard.wait_for(|heard| heard.last().is_some_and(|last| last.end));
        let all = timeout(LIMIT, last).await.expect(&name).unwrap().clone();
        let frames: Vec<_> = all.into_iter().filter_map(|request| request.frame).collect();
        let goodbyes: Vec<_> = frames.iter().filter(|frame| frame.kind() == Kind::Close).collect();
        assert_eq!(goodbyes.len(), 1, "{name}");
        assert_eq!(
            (goodbyes[0].code, frames.last().unwrap().kind()),
            (code, Kind::Close),
            "{name}"
        );
        assert!(frames.iter().all(|frame| frame.kind() != Kind::Ping), "{name}");
    }
}
