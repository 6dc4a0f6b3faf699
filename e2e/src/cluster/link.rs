//! The link between the host and a node: one pair of interfaces, and the host's routes through it.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use super::address::Slot;
use super::command::{CommandError, run, wait_until};
use super::debian::Debian;
use super::layout::Layout;

/// The node's end; its namespace is its own, so the name is the same in all.
pub(super) const NODE_END: &str = "link0";

/// How long the kernel may take to remove the interface of a namespace whose last process ended.
const VANISH: Duration = Duration::from_secs(5);

#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    #[error("failed to find a free slot: {} clusters are up on this host", Slot::COUNT)]
    Full,
    #[error("failed to set up the link to the node")]
    Configure(#[source] CommandError),
    #[error("failed to remove the interface {interface}")]
    Remove { interface: String, source: CommandError },
}

/// Takes a slot by making its interface, which the kernel does for one caller only. The other end lies in the
/// namespace of process `pid`, so that the claim is given back when that process ends, however it ends.
pub(super) fn claim(layout: &Layout, debian: &Debian, pid: i32) -> Result<Slot, LinkError> {
    for slot in Slot::candidates(layout.spread()) {
        let interface = slot.interface();
        let pid = pid.to_string();
        let made = run(debian
            .command("ip")
            .args(["link", "add", &interface, "type", "veth", "peer", "name", NODE_END])
            .args(["netns", &pid]));
        match made {
            Ok(_) => {
                configure(layout, debian, slot)?;
                return Ok(slot);
            }
            // Whatever went wrong, only a name that is taken is helped by another name. That the name was taken may be
            // seen only in the text, as the kernel may have removed the interface since.
            Err(error) if interface_dir(slot).exists() || error.to_string().contains("File exists") => {}
            Err(error) => return Err(LinkError::Configure(error)),
        }
    }
    Err(LinkError::Full)
}

fn configure(layout: &Layout, debian: &Debian, slot: Slot) -> Result<(), LinkError> {
    let interface = slot.interface();
    let alias = alias(layout);
    let address = format!("{}/30", slot.host());
    let ip = |args: &[&str]| run(debian.command("ip").args(args)).map_err(LinkError::Configure);
    ip(&["link", "set", &interface, "alias", &alias])?;
    ip(&["addr", "add", &address, "dev", &interface])?;
    ip(&["link", "set", &interface, "up"])?;
    for network in [slot.pods(), slot.services()] {
        ip(&[
            "route",
            "add",
            &network.to_string(),
            "via",
            &slot.node().to_string(),
            "dev",
            &interface,
        ])?;
    }
    Ok(())
}

/// Waits until the kernel has removed the interface of a node that ended, and removes it if it does not.
pub(super) fn release(layout: &Layout, debian: &Debian, slot: Slot) -> Result<(), LinkError> {
    let interface = slot.interface();
    // The alias tells whose it is: meanwhile another cluster may have taken the slot.
    let ours = || {
        let found = fs::read_to_string(interface_dir(slot).join("ifalias")).unwrap_or_default();
        found.trim() == alias(layout)
    };
    if wait_until(VANISH, || (!ours()).then_some(())).is_some() {
        return Ok(());
    }
    let removed = run(debian.command("ip").args(["link", "del", &interface]));
    match removed {
        // The kernel may have been quicker after all.
        Err(source) if ours() => Err(LinkError::Remove { interface, source }),
        _ => Ok(()),
    }
}

fn alias(layout: &Layout) -> String {
    layout.cgroup()
}

fn interface_dir(slot: Slot) -> PathBuf {
    PathBuf::from("/sys/class/net").join(slot.interface())
}
