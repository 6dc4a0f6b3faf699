//! Whether what the pods answered is what the object says.

use std::sync::Arc;

use kite_api::{PluginName, ToolStatus, conditions::reasons};
use semver::Version;

use super::{
    ask::Answer,
    difference::{Difference, differs},
};
use crate::first_of;

/// What one pod said, or why it said nothing.
pub struct PodAnswer {
    pub pod: String,
    /// Digest of its image, as far as the kubelet tells one.
    pub digest: Option<String>,
    pub result: Result<Arc<Answer>, Silence>,
}

/// Why a pod said nothing.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Silence {
    /// It is being asked for the first time.
    NotYet,
    /// It was asked, and that failed.
    Failed(String),
}

impl Silence {
    fn told_of(&self, pod: &str) -> String {
        match self {
            Self::NotYet => format!("pod {pod} has not answered yet"),
            Self::Failed(error) => format!("pod {pod} could not be asked: {error}"),
        }
    }
}

/// What is recorded of a revision that takes traffic, or that only something beside it or in its pods keeps from it.
#[derive(Clone, Copy, Debug)]
pub struct OnRecord<'a> {
    /// Hash of its definitions.
    pub hash: &'a str,
    /// Digest of its image.
    pub digest: Option<&'a str>,
}

/// What came of asking.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// No pod was ready to be asked.
    NotAsked,
    /// Every pod that answered is what the object says, and all offer the same. `unanswered` tells of the others, and
    /// `other_image` of one that runs another image than is recorded.
    Described {
        hash: String,
        tools: Vec<ToolStatus>,
        unanswered: Option<String>,
        other_image: Option<String>,
    },
    /// No pod has answered yet, and none has failed to.
    Awaited { message: String },
    /// No pod answered.
    Unreachable { message: String },
    /// A pod is not what the object says, or offers something else than the others or than is recorded. It takes a change to
    /// end that. `hashes` are what the pods offer that are what the object says.
    Mismatch {
        reason: &'static str,
        message: String,
        version: Option<String>,
        hashes: Vec<String>,
    },
}

/// Judges the answers of the pods of a revision of `plugin`, which should be of this version and offer what is on record.
pub fn judge(
    plugin: &PluginName,
    version: &Version,
    on_record: Option<OnRecord<'_>>,
    answers: &[PodAnswer],
) -> Verdict {
    let mut good: Vec<Good<'_>> = Vec::new();
    let mut wrong = None;
    let mut silent = Vec::new();
    for PodAnswer { pod, result, .. } in answers {
        match result {
            Ok(answer) => match differs(plugin, version, pod, answer) {
                Ok(tools) => good.push((pod, answer, tools)),
                Err(difference) => _ = wrong.get_or_insert(difference),
            },
            Err(silence) => silent.push(silence.told_of(pod)),
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
    let unanswered = (!silent.is_empty()).then(|| first_of::sentences(&silent));
    let Some((_, first, tools)) = good.first() else {
        return unanswered.map_or(Verdict::NotAsked, |message| none_answered(answers, message));
    };
    if let Some((odd, usual)) = odd_one(&good, on_record) {
        let (reason, message) = odd_words(odd, usual, on_record);
        return Verdict::Mismatch {
            reason,
            message,
            version: Some(first.version.clone()),
            hashes: hashes(),
        };
    }
    Verdict::Described {
        hash: first.hash.clone(),
        tools: (*tools).clone(),
        unanswered,
        other_image: on_record.and_then(|on_record| other_image(on_record, answers)),
    }
}

/// The verdict on pods of which none has answered.
fn none_answered(answers: &[PodAnswer], message: String) -> Verdict {
    let is_awaited = |answer: &PodAnswer| matches!(answer.result, Err(Silence::NotYet));
    if answers.iter().all(is_awaited) {
        return Verdict::Awaited { message };
    }
    Verdict::Unreachable { message }
}

/// A pod that runs another image than is recorded, though it offers the same: a tag that names another image since, or nodes that name
/// one image in two ways. No traffic is taken for it, and no pod.
fn other_image(on_record: OnRecord<'_>, answers: &[PodAnswer]) -> Option<String> {
    let recorded = on_record.digest?;
    let is_other = |digest: &&str| *digest != recorded;
    let (pod, digest) = answers.iter().find_map(|answer| {
        let digest = answer.digest.as_deref().filter(is_other)?;
        Some((&answer.pod, digest))
    })?;
    Some(format!(
        "pod {pod} runs image {digest}, recorded is {recorded}: name spec.image by digest",
    ))
}

/// A pod that is what the object says, and what it said.
type Good<'a> = (&'a str, &'a Arc<Answer>, &'a Vec<ToolStatus>);

/// A pod that does not offer what is on record, or else what most others offer; and one that does, if there is one. `None`: all do.
fn odd_one<'a, 'b>(
    good: &'b [Good<'a>],
    on_record: Option<OnRecord<'_>>,
) -> Option<(&'b Good<'a>, Option<&'b Good<'a>>)> {
    let like = |hash: &str| good.iter().filter(|(_, answer, _)| answer.hash == hash).count();
    // Of as many, the first are taken for what is right.
    let usual = good.iter().rev().max_by_key(|it| like(&it.1.hash))?;
    let right = on_record.map_or(usual.1.hash.as_str(), |on_record| on_record.hash);
    let odd = good.iter().find(|(_, answer, _)| answer.hash != right)?;
    Some((odd, good.iter().find(|(_, answer, _)| answer.hash == right)))
}

/// Why an odd pod is none of the revision, beside a usual one or where there is none.
fn odd_words(
    (pod, odd, _): &Good<'_>,
    usual: Option<&Good<'_>>,
    on_record: Option<OnRecord<'_>>,
) -> (&'static str, String) {
    if let Some((other_pod, other, _)) = usual {
        let message = format!(
            "pod {pod} ({}) offers something else than pod {other_pod} ({}), though they run the same image: name spec.image by digest; \
             what a plugin offers may not depend on where or when it starts",
            odd.hash, other.hash,
        );
        return (reasons::REPLICA_MISMATCH, message);
    }
    let message = format!(
        "pod {pod} offers something else ({}) than is recorded of its revision ({}): name spec.image by digest, and change it or \
         spec.version for a new revision; or set spec.enabled to false and to true again to record what it offers now",
        odd.hash,
        on_record.map_or("nothing", |on_record| on_record.hash),
    );
    (reasons::DEFINITIONS_CHANGED, message)
}

#[cfg(test)]
mod tests {
    use kite_proto::{Definitions, DescribeResponse, Tool};
    use prost::Message;

    use super::{
        super::difference::{is_as_said, is_recorded},
        *,
    };
    use crate::controller::{describe::tools::tests::tool, validate::tests::plugin};

    fn judged(answers: &[PodAnswer]) -> Verdict {
        let plugin = plugin(|_| {});
        judge(&plugin.name, &plugin.version, None, answers)
    }

    /// On record is what the first offers, with the digest that ends in 1.
    fn judged_by(first: &PodAnswer, answers: &[PodAnswer]) -> Verdict {
        let plugin = plugin(|_| {});
        let on_record = OnRecord {
            hash: &first.result.as_ref().unwrap().hash,
            digest: Some("sha256:1"),
        };
        judge(&plugin.name, &plugin.version, Some(on_record), answers)
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
            digest: None,
            result: Ok(Arc::new(Answer::of(&plugin(|_| {}).name, &response))),
        }
    }

    fn silent() -> PodAnswer {
        silent_as(Silence::Failed(String::from("no answer")))
    }

    fn silent_as(silence: Silence) -> PodAnswer {
        PodAnswer {
            pod: String::from("silent"),
            digest: None,
            result: Err(silence),
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
    fn pods_that_all_offer_something_else_than_is_recorded_are_a_mismatch() {
        let good = answer("a", |_| {});
        for answers in [
            vec![answer("b", other_tools)],
            vec![answer("b", other_tools), answer("c", other_tools), silent()],
        ] {
            let Verdict::Mismatch {
                reason,
                message,
                version,
                ..
            } = judged_by(&good, &answers)
            else {
                panic!("no mismatch")
            };
            assert_eq!((reason, version.as_deref()), ("DefinitionsChanged", Some("0.1.0")));
            assert!(message.starts_with("pod b offers something else (sha256:"), "{message}");
        }
        let same = judged_by(&good, &[answer("b", |_| {}), answer("c", |_| {})]);
        assert!(matches!(same, Verdict::Described { other_image: None, .. }), "{same:?}");
    }

    #[test]
    fn a_pod_is_as_recorded_whatever_this_operator_wants_of_it() {
        let plugin = plugin(|_| {});
        let recorded = |change: fn(&mut DescribeResponse)| {
            let (first, other) = (answer("a", |_| {}), answer("b", change));
            let (first, other) = (first.result.unwrap(), other.result.unwrap());
            let on_record = OnRecord {
                hash: &first.hash,
                digest: None,
            };
            [
                is_recorded(&plugin.name, &plugin.version, on_record, &other),
                is_as_said(&plugin.name, &plugin.version, Some(on_record), &other),
            ]
        };
        assert_eq!(recorded(|_| {}), [true; 2]);
        assert_eq!(recorded(|response| response.protocol = 2), [true, false]);
        assert_eq!(recorded(other_tools), [false; 2]);
        assert_eq!(
            recorded(|response| response.version = String::from("0.1.1")),
            [false; 2]
        );
        assert_eq!(recorded(|response| response.name = String::from("other")), [false; 2]);
    }

    #[test]
    fn what_is_recorded_is_right_however_many_differ_from_it() {
        let answers = [answer("b", other_tools), answer("c", other_tools), answer("d", |_| {})];
        let Verdict::Mismatch { reason, message, .. } = judged_by(&answer("a", |_| {}), &answers) else {
            panic!("no mismatch")
        };
        assert_eq!(reason, "ReplicaMismatch");
        assert!(message.starts_with("pod b ("), "{message}");
        assert!(message.contains("than pod d ("), "{message}");
    }

    #[test]
    fn another_image_that_offers_the_same_is_told_and_is_no_mismatch() {
        let good = answer("a", |_| {});
        let told = |digest: &str| {
            let pod = PodAnswer {
                digest: Some(digest.to_owned()),
                ..answer("b", |_| {})
            };
            match judged_by(&good, &[answer("a", |_| {}), pod]) {
                Verdict::Described { other_image, .. } => other_image,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(told("sha256:1"), None);
        let message = told("sha256:2").unwrap();
        assert!(
            message.starts_with("pod b runs image sha256:2, recorded is sha256:1"),
            "{message}"
        );
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

    #[test]
    fn of_many_that_are_silent_the_first_are_told() {
        let pods: Vec<PodAnswer> = (0..100).map(|_| silent()).collect();
        let Verdict::Unreachable { message } = judged(&pods) else {
            panic!("somebody answered")
        };
        assert_eq!(message.matches("could not be asked").count(), first_of::MOST);
        assert!(message.ends_with("; and 92 more"), "{message}");
    }

    #[test]
    fn a_pod_that_has_not_answered_yet_is_told_of_and_is_no_failure() {
        let awaited = || silent_as(Silence::NotYet);
        let message = String::from("pod silent has not answered yet");
        let none = judged(&[awaited()]);
        assert_eq!(
            none,
            Verdict::Awaited {
                message: message.clone()
            }
        );
        let failed = judged(&[awaited(), silent()]);
        assert_eq!(
            failed,
            Verdict::Unreachable {
                message: format!("{message}; pod silent could not be asked: no answer")
            }
        );
        let Verdict::Described { unanswered, .. } = judged(&[awaited(), answer("a", |_| {})]) else {
            panic!("it is described")
        };
        assert_eq!(unanswered, Some(message));
    }
}
