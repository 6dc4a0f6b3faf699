//! What the suite cannot find out by asking, as arguments.

use clap::Args;
use kite_conformance::{Known, is_path};
use serde_json::Value;

/// What a plugin is asked for.
#[derive(Args)]
#[command(next_help_heading = "What the plugin is asked for")]
pub(super) struct KnownArgs {
    /// Path that GET answers, best by something about the user who asks
    #[arg(long, value_name = "PATH", value_parser = path)]
    get: Option<String>,

    /// Path where the body of a POST comes back as it comes in
    #[arg(long, value_name = "PATH", value_parser = path)]
    echo: Option<String>,

    /// Path of server-sent events, the first of which comes at once
    #[arg(long, value_name = "PATH", value_parser = path)]
    events: Option<String>,

    /// Path that accepts a WebSocket
    #[arg(long, value_name = "PATH", value_parser = path)]
    socket: Option<String>,

    /// Path that GET answers with 64 KiB or more
    #[arg(long, value_name = "PATH", value_parser = path)]
    large: Option<String>,

    /// Tool, and arguments with which it may be called; may be given several times
    #[arg(long = "tool", value_name = "NAME=JSON", value_parser = pair)]
    tools: Vec<(String, Value)>,

    /// Resource type, and an object that may be created and removed; its metadata is the suite's. May be given several times
    #[arg(long = "object", value_name = "TYPE=JSON", value_parser = pair)]
    objects: Vec<(String, Value)>,

    /// Settings that the plugin accepts
    #[arg(long, value_name = "JSON", value_parser = object)]
    settings: Option<Value>,
}

impl KnownArgs {
    pub(super) fn known(&self) -> Known {
        let text = |(name, arguments): &(String, Value)| (name.clone(), arguments.to_string());
        Known {
            get: self.get.clone(),
            echo: self.echo.clone(),
            events: self.events.clone(),
            socket: self.socket.clone(),
            large: self.large.clone(),
            tools: self.tools.iter().map(text).collect(),
            objects: self.objects.clone(),
            settings: self.settings.as_ref().map(Value::to_string),
        }
    }
}

fn path(text: &str) -> Result<String, String> {
    is_path(text).map(|()| text.to_owned())
}

fn object(text: &str) -> Result<Value, String> {
    match serde_json::from_str(text) {
        Ok(object @ Value::Object(_)) => Ok(object),
        Ok(_) => Err(String::from("it is not a JSON object")),
        Err(error) => Err(format!("it is not JSON: {error}")),
    }
}

fn pair(text: &str) -> Result<(String, Value), String> {
    let (name, json) = text
        .split_once('=')
        .ok_or("it has no = between the name and the JSON")?;
    Ok((name.to_owned(), object(json)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_is_a_name_and_an_object() {
        assert_eq!(
            pair(r#"hello={"name": "a=b"}"#),
            Ok((String::from("hello"), serde_json::json!({"name": "a=b"})))
        );
        for bad in ["hello", "hello=", "hello=[]", "hello={"] {
            assert!(pair(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_path_is_rooted() {
        assert!(path("/a?b=c").is_ok());
        for bad in ["", "a", "/a b"] {
            assert!(path(bad).is_err(), "{bad}");
        }
    }
}
