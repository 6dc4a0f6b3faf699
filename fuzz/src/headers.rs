//! Header fields, both ways through the gateway.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use kite_api::PluginName;
use kite_gateway::pipeline::{
    headers::{confine, to_caller, to_plugin},
    location::{Base, rewrite},
    path::NormalPath,
};
use kite_proto::Header;

use crate::messages;

/// Of a caller's, what a plugin never sees, and of a plugin's, what a caller never does.
const NEVER_TO_PLUGIN: [&str; 4] = ["authorization", "connection", "cookie", "transfer-encoding"];
const NEVER_TO_CALLER: [&str; 5] = [
    "clear-site-data",
    "connection",
    "service-worker-allowed",
    "set-cookie",
    "transfer-encoding",
];

/// The fields are names and values in turn.
pub(crate) fn both_ways(data: &[u8]) {
    let parts = messages::split(data);
    let fields = parts.iter().zip(parts.iter().skip(1)).step_by(2);
    let given: Vec<(&Bytes, &Bytes)> = fields.collect();
    let sent = given.iter().filter_map(|(name, value)| {
        let name = HeaderName::from_bytes(name).ok()?;
        Some((name, HeaderValue::from_bytes(value).ok()?))
    });
    for field in to_plugin(&sent.collect::<HeaderMap>()) {
        let plain = field.name.replace('_', "-");
        assert!(
            !NEVER_TO_PLUGIN.contains(&plain.as_str()) && !plain.starts_with("x-kite-"),
            "{plain}"
        );
    }
    let answered = given.iter().map(|(name, value)| Header {
        name: String::from_utf8_lossy(name).into_owned(),
        value: Bytes::clone(value),
    });
    let Ok(mut headers) = to_caller(answered.collect()) else {
        return;
    };
    confine(&mut headers);
    assert!(
        NEVER_TO_CALLER.iter().all(|name| !headers.contains_key(*name)),
        "{headers:?}"
    );
    assert_eq!(headers.get_all(header::CONTENT_SECURITY_POLICY).iter().count(), 1);
    if let Some(given) = headers.get(header::LOCATION) {
        location(given);
    }
}

/// A place that a plugin names is below the plugin, or refused.
pub(crate) fn location(given: &HeaderValue) {
    let plugin = PluginName::parse("hello").expect("a name");
    let base = Base {
        path: "/a/b",
        query: Some("c=d"),
    };
    let Ok(rewritten) = rewrite(&plugin, base, given) else {
        return;
    };
    let text = rewritten.to_str().expect("text");
    let path = text.split(['?', '#']).next().unwrap_or_default();
    let below = path
        .strip_prefix("/api/v1/plugins/hello")
        .expect("a place below the plugin");
    NormalPath::parse(below).expect("a path that means one thing");
}
