//! `kite-plugin can-i-apply`: whether a user may apply a plugin's document, and what they lack if not.

mod ask;
mod merge;
mod tell;

use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};
use kite_api::boundary::preview::{self, Change, Need, Question};

use self::ask::{AskError, Cluster, ConnectError, Connection, Present};
use super::places::PlacesArgs;
use crate::{
    cli::ExitStatus,
    manifest::{self, ManifestError},
    printer::Printer,
};

/// How long all of the conversation may take.
const LIMIT: Duration = Duration::from_mins(1);

/// Say whether you may apply a plugin's document, and which rights you lack if not
///
/// Nobody grants a plugin rights that they do not hold. This asks the API server, without changing anything, for all
/// that its policies will ask about you when you apply the document by server-side apply.
///
/// Exit status: 0 if you may apply it, 1 if you may not, 2 if it could not be found out.
#[derive(Args)]
pub(crate) struct CanIApplyArgs {
    /// The plugin's document, such as plugin.yaml
    #[arg(value_name = "FILE")]
    file: PathBuf,

    #[command(flatten)]
    connection: Connection,

    #[command(flatten)]
    places: PlacesArgs,

    /// Name of the field manager that will apply the document; fields of the spec that others own stay
    #[arg(long, value_name = "NAME", default_value = "kubectl")]
    field_manager: String,

    /// How the answer is written
    #[arg(long, short, value_name = "FORMAT", value_enum, default_value_t = Output::Text)]
    output: Output,
}

#[derive(Clone, Copy, ValueEnum)]
enum Output {
    /// yes or no, then a line for each right that is missing
    Text,
    /// One JSON object
    Json,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
enum CanIApplyError {
    #[error("failed to read the plugin's document")]
    Manifest(#[source] ManifestError),
    #[error("failed to connect to the cluster")]
    Connect(#[source] ConnectError),
    #[error("failed to ask the API server")]
    Ask(#[source] AskError),
    #[error("failed to ask the API server everything within {} s", LIMIT.as_secs())]
    TooSlow,
    #[error("failed to understand what the object would become")]
    Spec(#[source] serde_json::Error),
}

/// The answer, and how it came about.
struct Answer {
    plugin: String,
    object: Object,
    code_is_new: bool,
    may_escalate: bool,
    /// How many questions the API server was asked.
    asked: usize,
    missing: Vec<Missing>,
    /// Why the change is refused whatever the user holds.
    refusals: Vec<String>,
}

/// What is known of the object that is in the cluster.
#[derive(Clone, Copy, serde::Serialize)]
#[serde(rename_all = "camelCase")]
enum Object {
    Absent,
    Present,
    /// The user may not see it.
    Unseen,
}

/// What the user may not do, and would have to.
struct Missing {
    /// For the policies. Absent: to write the object at all.
    need: Option<Need>,
    question: Question,
}

impl Answer {
    fn may_apply(&self) -> bool {
        self.missing.is_empty() && self.refusals.is_empty()
    }
}

pub(crate) async fn run(args: CanIApplyArgs, printer: &mut Printer<'_>) -> ExitStatus {
    let answer = match tokio::time::timeout(LIMIT, answer(&args)).await {
        Ok(answer) => answer,
        Err(_) => Err(CanIApplyError::TooSlow),
    };
    match answer {
        Ok(answer) => {
            tell::tell(&answer, &args.file, args.output, printer);
            if answer.may_apply() {
                ExitStatus::Success
            } else {
                ExitStatus::Failure
            }
        }
        Err(error) => {
            if let CanIApplyError::Manifest(ManifestError::Refused(complaints)) = &error {
                printer.talk(&(complaints.report() + "\n"));
            }
            printer.error(&error, hint(&error).as_deref());
            ExitStatus::Unanswered
        }
    }
}

async fn answer(args: &CanIApplyArgs) -> Result<Answer, CanIApplyError> {
    let manifest = manifest::read_file(&args.file).map_err(CanIApplyError::Manifest)?;
    let cluster = Cluster::connect(&args.connection)
        .await
        .map_err(CanIApplyError::Connect)?;
    let name = manifest.name.as_str();
    let present = cluster.present(name).await.map_err(CanIApplyError::Ask)?;
    let (object, old) = match &present {
        Present::Absent => (Object::Absent, None),
        Present::Unseen => (Object::Unseen, None),
        Present::There(there) => (Object::Present, there.data.get("spec")),
    };
    let new = match &present {
        Present::There(there) => merge::applied(manifest.spec(), there, &args.field_manager),
        Present::Absent | Present::Unseen => merge::without_nulls(manifest.spec()),
    };
    let change = Change {
        name,
        places: args.places.places(),
        old,
        new: &new,
    };
    missing(&cluster, change, object).await
}

/// Asks first whether the object may be written at all, and whether the policies ask anything.
async fn missing(cluster: &Cluster, change: Change<'_>, object: Object) -> Result<Answer, CanIApplyError> {
    let [patch, create] = preview::access(change.name);
    let access = match object {
        Object::Present => vec![patch],
        Object::Absent | Object::Unseen => vec![patch, create],
    };
    let mut questions: Vec<(Option<Need>, Question)> = access.into_iter().map(|question| (None, question)).collect();
    let mut first: Vec<&Question> = questions.iter().map(|(_, question)| question).collect();
    let escalate = preview::escalate(change.name);
    first.push(&escalate);
    let mut allowed = cluster.may(&first).await.map_err(CanIApplyError::Ask)?;
    let may_escalate = allowed.pop().unwrap_or_default();

    let mut asked = change.asked().map_err(CanIApplyError::Spec)?;
    if may_escalate {
        asked.needs.clear();
        asked.excesses.clear();
    }
    let needs = asked.needs.into_iter().map(|need| {
        let question = change.question(&need);
        (Some(need), question)
    });
    let needs: Vec<(Option<Need>, Question)> = needs.collect();
    let more: Vec<&Question> = needs.iter().map(|(_, question)| question).collect();
    allowed.extend(cluster.may(&more).await.map_err(CanIApplyError::Ask)?);
    questions.extend(needs);

    let excesses = asked.excesses.iter().map(ToString::to_string);
    Ok(Answer {
        plugin: change.name.to_owned(),
        object,
        code_is_new: asked.code_is_new,
        may_escalate,
        asked: allowed.len() + 1,
        missing: questions
            .into_iter()
            .zip(allowed)
            .filter_map(|((need, question), is_allowed)| (!is_allowed).then_some(Missing { need, question }))
            .collect(),
        refusals: excesses.chain(asked.refused.iter().map(ToString::to_string)).collect(),
    })
}

/// The next command, where there is an obvious one.
fn hint(error: &CanIApplyError) -> Option<String> {
    let text = match error {
        CanIApplyError::Manifest(ManifestError::Read { source, .. })
            if matches!(
                source.kind(),
                std::io::ErrorKind::NotFound | std::io::ErrorKind::IsADirectory
            ) =>
        {
            "name the file of the plugin's document: `kite-plugin can-i-apply plugin.yaml`"
        }
        CanIApplyError::Connect(ConnectError::Kubeconfig(_) | ConnectError::Infer(_)) => {
            "see which contexts there are: `kubectl config get-contexts`"
        }
        CanIApplyError::Ask(AskError::Call(_) | AskError::TooSlow(_)) | CanIApplyError::TooSlow => {
            "see whether the API server answers: `kubectl version`"
        }
        CanIApplyError::Ask(AskError::NoKitePlugins) => {
            "see whether Kite Plugins is installed: `kubectl get crd kiteplugins.kite.dev`"
        }
        CanIApplyError::Manifest(_)
        | CanIApplyError::Connect(ConnectError::Client(_))
        | CanIApplyError::Ask(AskError::Refused { .. })
        | CanIApplyError::Spec(_) => return None,
    };
    Some(text.to_owned())
}
