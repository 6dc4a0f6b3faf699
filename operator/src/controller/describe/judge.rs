//! Whether what the pods answered is what the object says.

use std::sync::Arc;

use kite_api::{PluginName, ToolStatus, conditions::reasons, error_chain};
use semver::Version;

use super::{ask::Answer, shown};

/// What one pod said, or why it said nothing.
pub struct PodAnswer {
    pub pod: String,
    pub result: Result<Arc<Answer>, String>,
}

/// What came of asking.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// No pod was ready to be asked.
    NotAsked,
    /// Every pod that answered is what the object says, and all offer the same. `unanswered` tells of the others.
    Described {
        hash: String,
        tools: Vec<ToolStatus>,
        unanswered: Option<String>,
    },
    /// No pod answered.
    Unreachable { message: String },
    /// A pod is not what the object says, or they are not the same. It takes a change to end that. `hashes` are what the
    /// pods offer that are what the object says.
    Mismatch {
        reason: &'static str,
        message: String,
        version: Option<String>,
        hashes: Vec<String>,
    },
}

/// Judges the answers of the pods of a revision of `plugin`, which should be of this version.
pub fn judge(plugin: &PluginName, version: &Version, answers: &[PodAnswer]) -> Verdict {
    let mut good: Vec<Good<'_>> = Vec::new();
    let mut wrong = None;
    let mut silent = Vec::new();
    for PodAnswer { pod, result } in answers {
        match result {
            Ok(answer) => match differs(plugin, version, pod, answer) {
                Ok(tools) => good.push((pod, answer, tools)),
                Err(difference) => _ = wrong.get_or_insert(difference),
            },
            Err(error) => silent.push(format!("pod {pod} could not be asked: {error}")),
        }
    }
    let hashes = || good.iter().map(|(_, answer, _)| answer.hash.clone()).collect();
    if let Some(Difference {
        reason,
        message,
        version,
    }) = wrong
    {
        return Verdict::Mismatch {
            reason,
            message,
            version,
            hashes: hashes(),
        };
    }
    let unanswered = (!silent.is_empty()).then(|| silent.join("; "));
    let Some((_, first, tools)) = good.first() else {
        return unanswered.map_or(Verdict::NotAsked, |message| Verdict::Unreachable { message });
    };
    if let Some((odd, other)) = odd_one(&good) {
        let (odd_pod, odd, _) = odd;
        let (other_pod, other, _) = other;
        let message = format!(
            "pod {odd_pod} ({}) offers something else than pod {other_pod} ({}), though they run the same image: name spec.image by digest; \
             what a plugin offers may not depend on where or when it starts",
            odd.hash, other.hash,
        );
        return Verdict::Mismatch {
            reason: reasons::REPLICA_MISMATCH,
            message,
            version: Some(first.version.clone()),
            hashes: hashes(),
        };
    }
    Verdict::Described {
        hash: first.hash.clone(),
        tools: (*tools).clone(),
        unanswered,
    }
}

/// A pod that is what the object says, and what it said.
type Good<'a> = (&'a str, &'a Arc<Answer>, &'a Vec<ToolStatus>);

/// A pod that offers what fewer others offer, and one that offers what most do. `None`: all offer the same.
fn odd_one<'a, 'b>(good: &'b [Good<'a>]) -> Option<(&'b Good<'a>, &'b Good<'a>)> {
    let like = |it: &Good<'_>| good.iter().filter(|(_, answer, _)| answer.hash == it.1.hash).count();
    // Of as many, the first are taken for what is right.
    let usual = good.iter().rev().max_by_key(|it| like(it))?;
    let odd = good.iter().find(|(_, answer, _)| answer.hash != usual.1.hash)?;
    Some((odd, usual))
}

/// Whether a pod that gave this answer is what the object says.
pub fn is_as_said(plugin: &PluginName, version: &Version, answer: &Answer) -> bool {
    differs(plugin, version, "", answer).is_ok()
}

/// In what a pod is not what the object says.
struct Difference {
    reason: &'static str,
    message: String,
    /// The version that the pod says it is, where that means something.
    version: Option<String>,
}

/// The tools of a pod that is what the object says.
fn differs<'a>(
    plugin: &PluginName,
    version: &Version,
    pod: &str,
    answer: &'a Answer,
) -> Result<&'a Vec<ToolStatus>, Difference> {
    let mismatch = |reason, message| Difference {
        reason,
        message,
        // Of another plugin, or in another protocol, the version says nothing.
        version: (reason == reasons::VERSION_MISMATCH || reason == reasons::TOOL_INVALID)
            .then(|| shown(&answer.version)),
    };
    if answer.protocol != kite_proto::PROTOCOL {
        let message = format!(
            "pod {pod} speaks version {} of the plugin protocol, this operator version {}: use an image that was built \
             with a matching SDK",
            answer.protocol,
            kite_proto::PROTOCOL,
        );
        return Err(mismatch(reasons::PROTOCOL_MISMATCH, message));
    }
    if answer.name != plugin.as_str() {
        let message = format!(
            "pod {pod} says that it is {:?}: correct spec.image, or let the plugin answer the name that {} tells it",
            shown(&answer.name),
            kite_proto::NAME_VARIABLE,
        );
        return Err(mismatch(reasons::NAME_MISMATCH, message));
    }
    let wanted = version.to_string();
    if answer.version != wanted {
        let message = format!(
            "pod {pod} says that its version is {:?}, spec.version says {wanted:?}: correct spec.version or spec.image",
            shown(&answer.version),
        );
        return Err(mismatch(reasons::VERSION_MISMATCH, message));
    }
    answer
        .tools
        .as_ref()
        .map_err(|error| mismatch(reasons::TOOL_INVALID, format!("pod {pod}: {}", error_chain(error))))
}

#[cfg(test)]
mod tests {
    use kite_proto::{Definitions, DescribeResponse, Tool};
    use prost::Message;

    use super::*;
    use crate::controller::{describe::tools::tests::tool, validate::tests::plugin};

    fn judged(answers: &[PodAnswer]) -> Verdict {
        let plugin = plugin(|_| {});
        judge(&plugin.name, &plugin.version, answers)
    }

    fn answer(pod: &str, change: impl FnOnce(&mut DescribeResponse)) -> PodAnswer {
        let mut response = DescribeResponse {
            name: String::from("hello"),
            version: String::from("0.1.0"),
            protocol: 1,
            definitions: Definitions {
                tools: vec![tool()],
                ..Definitions::default()
            }
            .encode_to_vec()
            .into(),
        };
        change(&mut response);
        PodAnswer {
            pod: pod.to_owned(),
            result: Ok(Arc::new(Answer::of(&plugin(|_| {}).name, response))),
        }
    }

    fn silent() -> PodAnswer {
        PodAnswer {
            pod: String::from("silent"),
            result: Err(String::from("no answer")),
        }
    }

    fn other_tools(response: &mut DescribeResponse) {
        let tool = Tool {
            name: String::from("other"),
            ..tool()
        };
        response.definitions = Definitions {
            tools: vec![tool],
            ..Definitions::default()
        }
        .encode_to_vec()
        .into();
    }

    fn reason(change: impl FnOnce(&mut DescribeResponse)) -> &'static str {
        match judged(&[answer("a", change)]) {
            Verdict::Mismatch { reason, .. } => reason,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn pods_that_agree_describe_the_plugin() {
        let verdict = judged(&[answer("a", |_| {}), answer("b", |_| {})]);
        assert!(
            matches!(&verdict, Verdict::Described { tools, unanswered: None, .. } if tools.len() == 1),
            "{verdict:?}"
        );
    }

    #[test]
    fn a_plugin_is_not_described_for_each_of_its_reasons() {
        assert_eq!(reason(|response| response.name = String::from("other")), "NameMismatch");
        assert_eq!(
            reason(|response| response.version = String::from("0.1.1")),
            "VersionMismatch"
        );
        assert_eq!(reason(|response| response.protocol = 2), "ProtocolMismatch");
        assert_eq!(
            reason(|response| response.definitions = b"garbage".as_slice().into()),
            "ToolInvalid"
        );
    }

    #[test]
    fn pods_that_differ_are_a_mismatch() {
        let verdict = judged(&[answer("a", |_| {}), answer("b", other_tools)]);
        let Verdict::Mismatch { reason, hashes, .. } = verdict else {
            panic!("{verdict:?}")
        };
        assert_eq!((reason, hashes.len()), ("ReplicaMismatch", 2));
    }

    #[test]
    fn the_one_pod_that_differs_is_named_first_whatever_their_order() {
        for answers in [
            [answer("odd", other_tools), answer("b", |_| {}), answer("c", |_| {})],
            [answer("b", |_| {}), answer("c", |_| {}), answer("odd", other_tools)],
        ] {
            let Verdict::Mismatch { message, .. } = judged(&answers) else {
                panic!("no mismatch")
            };
            assert!(message.starts_with("pod odd ("), "{message}");
            assert!(message.contains("than pod"), "{message}");
        }
    }

    #[test]
    fn one_wrong_pod_hides_no_good_one() {
        let old = |response: &mut DescribeResponse| response.version = String::from("0.0.9");
        let good = answer("b", |_| {});
        let hash = good.result.as_ref().unwrap().hash.clone();
        for answers in [
            [answer("a", old), answer("b", |_| {}), silent()],
            [answer("b", |_| {}), silent(), answer("a", old)],
        ] {
            let Verdict::Mismatch {
                reason,
                message,
                version,
                hashes,
            } = judged(&answers)
            else {
                panic!("no mismatch")
            };
            assert_eq!((reason, version.as_deref()), ("VersionMismatch", Some("0.0.9")));
            assert!(message.starts_with("pod a says"), "{message}");
            assert_eq!(hashes, std::slice::from_ref(&hash));
        }
    }

    #[test]
    fn silence_is_told() {
        assert_eq!(judged(&[]), Verdict::NotAsked);
        let none = judged(&[silent()]);
        assert!(matches!(none, Verdict::Unreachable { .. }), "{none:?}");
        let some = judged(&[silent(), answer("a", |_| {})]);
        assert!(
            matches!(
                some,
                Verdict::Described {
                    unanswered: Some(_),
                    ..
                }
            ),
            "{some:?}"
        );
    }
}
