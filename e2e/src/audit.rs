//! What an API server's log says of the requests that it was sent.

use std::{
    fs::File,
    io::{self, BufRead, BufReader},
    path::PathBuf,
};

use k8s_openapi::jiff::Timestamp;
use serde::Deserialize;

/// A request, as far as it matters who asked for what, and when.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Request {
    pub verb: String,
    #[serde(default)]
    pub object_ref: Object,
    pub request_received_timestamp: Timestamp,
    user: User,
    stage: String,
}

/// What was asked for.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(default)]
pub struct Object {
    pub resource: String,
    pub subresource: String,
    pub namespace: String,
    pub name: String,
}

#[derive(Clone, Debug, Deserialize)]
struct User {
    username: String,
}

impl Request {
    /// Whether it changes nothing.
    pub fn is_read(&self) -> bool {
        ["get", "list", "watch"].contains(&self.verb.as_str())
    }

    /// Whether it would change something that others see. How a replica keeps its Lease is not counted.
    pub fn is_write(&self) -> bool {
        !self.is_read() && self.object_ref.resource != "leases"
    }

    /// Who asked for what, in a few words.
    pub fn in_words(&self) -> String {
        let Object {
            resource,
            subresource,
            namespace,
            name,
        } = &self.object_ref;
        format!(
            "{} {} {resource}/{subresource} {namespace}/{name}",
            self.request_received_timestamp, self.verb
        )
    }

    fn has_ended(&self) -> bool {
        // A watch is told when it is begun, and again when it ends.
        self.stage
            == if self.verb == "watch" {
                "ResponseStarted"
            } else {
                "ResponseComplete"
            }
    }
}

/// What this user has asked for since `begin`, by all files of a log.
pub fn requests(log: &[PathBuf], user: &str, begin: Timestamp) -> io::Result<Vec<Request>> {
    let mut found = Vec::new();
    for path in log {
        for line in BufReader::new(File::open(path)?).lines() {
            // The last line may be one that is just being written.
            let request = serde_json::from_str::<Request>(&line?).ok();
            let is_its =
                |it: &Request| it.user.username == user && it.request_received_timestamp >= begin && it.has_ended();
            found.extend(request.filter(is_its));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn line(user: &str, verb: &str, resource: &str, stage: &str, at: &str) -> String {
        format!(
            r#"{{"stage":"{stage}","verb":"{verb}","user":{{"username":"{user}"}},"objectRef":{{"resource":"{resource}"}},"requestReceivedTimestamp":"{at}"}}"#
        )
    }

    #[test]
    fn a_users_requests_are_counted_once_and_the_lease_is_no_write() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.log");
        let (early, late) = ("2026-01-12T09:31:07.000000Z", "2026-01-12T09:31:09.000000Z");
        let lines = [
            line("a", "patch", "pods", "ResponseComplete", early),
            line("a", "patch", "pods", "ResponseComplete", late),
            line("a", "update", "leases", "ResponseComplete", late),
            line("a", "watch", "pods", "ResponseStarted", late),
            line("a", "watch", "pods", "ResponseComplete", late),
            line("b", "delete", "pods", "ResponseComplete", late),
            line("a", "delete", "pods", "ResponseComplete", late)[..60].to_owned(),
        ];
        fs::write(&path, lines.join("\n")).unwrap();
        let found = requests(&[path], "a", "2026-01-12T09:31:08Z".parse().unwrap()).unwrap();
        let verbs: Vec<&str> = found.iter().map(|request| request.verb.as_str()).collect();
        assert_eq!(verbs, ["patch", "update", "watch"]);
        let writes: Vec<String> = found.iter().filter(|it| it.is_write()).map(Request::in_words).collect();
        assert_eq!(writes, ["2026-01-12T09:31:09Z patch pods/ /"]);
    }
}
