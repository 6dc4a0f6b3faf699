//! Those who judge a plugin's object from outside: kstatus, as Flux asks it, and the health check for Argo CD that the documentation gives.

use std::{
    io::{BufRead, BufReader, Lines, Write},
    path::PathBuf,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use serde::{Deserialize, Serialize};

use crate::cluster::{Layout, judge};

/// What one of them says.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
pub struct Verdict {
    pub status: String,
    pub message: String,
}

/// What they say of one object.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Verdicts {
    pub kstatus: Verdict,
    pub argo_cd: Verdict,
}

/// The program that asks them. It ends when this is dropped.
#[derive(Debug)]
pub struct Judge {
    child: Child,
    objects: ChildStdin,
    verdicts: Lines<BufReader<ChildStdout>>,
}

#[expect(
    clippy::expect_used,
    clippy::missing_panics_doc,
    clippy::new_without_default,
    reason = "a test without its judge can only fail"
)]
impl Judge {
    /// Starts it, with the health check as it stands in the documentation.
    pub fn new() -> Self {
        let layout = Layout::from_env().expect("the layout");
        let script: PathBuf = [env!("CARGO_MANIFEST_DIR"), "../docs/argo-cd/health.lua"]
            .iter()
            .collect();
        let mut child = Command::new(judge(&layout).expect("the program"))
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program runs");
        let objects = child.stdin.take().expect("its input");
        let verdicts = BufReader::new(child.stdout.take().expect("its output")).lines();
        Self {
            child,
            objects,
            verdicts,
        }
    }

    /// What they say of this object.
    pub fn verdicts(&mut self, object: &impl Serialize) -> Verdicts {
        serde_json::to_writer(&self.objects, object).expect("the object is read");
        self.objects.flush().expect("the object is read");
        let line = self.verdicts.next().expect("a verdict, and no end").expect("a line");
        serde_json::from_str(&line).expect("a verdict")
    }
}

impl Drop for Judge {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
