//! Who has written what, and when, by the API server's own log.

use std::fs;

use k8s_openapi::jiff::Timestamp;
use kite_e2e::testing::world::World;
use serde::Deserialize;

/// A write that the API server was asked for.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Write {
    #[serde(default)]
    impersonated_user: User,
    #[serde(default)]
    object_ref: Object,
    request_received_timestamp: Timestamp,
    #[serde(default)]
    response_status: Status,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct User {
    username: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Object {
    resource: String,
    name: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Status {
    code: u16,
}

/// All writes of the replica so far.
pub(crate) fn of(world: &World, replica: &str) -> Vec<Write> {
    let log = fs::read_to_string(world.audit_log()).unwrap();
    // The last line may be one that is just being written.
    let writes = log.lines().filter_map(|line| serde_json::from_str::<Write>(line).ok());
    let user = format!("operator-{replica}");
    writes
        .filter(|write| write.impersonated_user.username == user)
        .collect()
}

impl Write {
    fn is_of_the_lease(&self) -> bool {
        self.object_ref.resource == "leases"
    }
}

/// When the replica took the Lease over: its first write of it after `since` that was accepted.
pub(crate) fn took_over(writes: &[Write], since: Timestamp) -> Timestamp {
    let mut of_lease = writes.iter().filter(|write| {
        write.is_of_the_lease() && write.response_status.code < 300 && write.request_received_timestamp > since
    });
    of_lease.next().expect("it took the Lease").request_received_timestamp
}

/// Those of the writes, the Lease's aside, that came after `moment`.
pub(crate) fn after(writes: &[Write], moment: Timestamp) -> Vec<&Write> {
    let late = |write: &&Write| !write.is_of_the_lease() && write.request_received_timestamp > moment;
    writes.iter().filter(late).collect()
}
