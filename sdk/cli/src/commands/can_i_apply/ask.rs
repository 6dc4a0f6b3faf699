//! The conversation with the API server: the object that is there, and what the user may do. Nothing is changed by it.

use std::{future::Future, path::PathBuf, time::Duration};

use clap::Args;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::authorization::v1::{SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use kite_api::{KitePlugin, boundary::preview::Question};
use kube::{
    Api, Client, Config,
    api::{ApiResource, DynamicObject, PostParams},
    config::{InferConfigError, KubeConfigOptions, Kubeconfig, KubeconfigError},
};

/// Most questions that wait for their answers at once.
const AT_ONCE: usize = 8;

/// Which cluster is asked, and about whom.
#[derive(Args)]
pub(super) struct Connection {
    /// Kubeconfig to use [default: that of kubectl, or of the pod in which this runs]
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,

    /// Context of the kubeconfig [default: its current one]
    #[arg(long, value_name = "NAME")]
    context: Option<String>,

    /// Ask about this user, whom you may impersonate, instead of yourself
    #[arg(long = "as", value_name = "USER")]
    user: Option<String>,

    /// Group of the user who is asked about; may be given several times
    #[arg(long = "as-group", value_name = "GROUP", requires = "user")]
    groups: Vec<String>,

    /// How long one request may take, in seconds, 1 to 60
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=60))]
    request_timeout: u64,
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    #[error("failed to read the kubeconfig")]
    Kubeconfig(#[source] KubeconfigError),
    #[error("failed to find a cluster")]
    Infer(#[source] InferConfigError),
    #[error("failed to make a client")]
    Client(#[source] kube::Error),
}

/// Why the API server gave no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskError {
    #[error("failed to reach it")]
    Call(#[source] kube::Error),
    #[error("failed to get an answer, but {code}: {message}")]
    Refused { code: u16, message: String },
    #[error("failed to get an answer within {} s", .0.as_secs())]
    TooSlow(Duration),
    #[error("failed to find KitePlugins: it does not serve them")]
    NoKitePlugins,
}

/// The object that is in the cluster.
pub(super) enum Present {
    Absent,
    There(Box<DynamicObject>),
    /// The user may not see it.
    Unseen,
}

pub(super) struct Cluster {
    client: Client,
    /// How long one request may take.
    limit: Duration,
}

impl Cluster {
    pub(super) async fn connect(connection: &Connection) -> Result<Self, ConnectError> {
        let mut config = connection.config().await?;
        if connection.user.is_some() {
            config.auth_info.impersonate.clone_from(&connection.user);
            config.auth_info.impersonate_groups = Some(connection.groups.clone());
        }
        let client = Client::try_from(config).map_err(ConnectError::Client)?;
        Ok(Self {
            client,
            limit: Duration::from_secs(connection.request_timeout),
        })
    }

    pub(super) async fn present(&self, name: &str) -> Result<Present, AskError> {
        let api = Api::<DynamicObject>::all_with(self.client.clone(), &ApiResource::erase::<KitePlugin>(&()));
        match self.within_limit(api.get(name)).await? {
            Ok(there) => Ok(Present::There(Box::new(there))),
            Err(kube::Error::Api(status)) if status.code == 403 => Ok(Present::Unseen),
            Err(kube::Error::Api(status)) if status.code == 404 => {
                // A server that has no such kind does not say of what there is none.
                let is_object = status.details.is_some_and(|details| details.name == name);
                if is_object {
                    Ok(Present::Absent)
                } else {
                    Err(AskError::NoKitePlugins)
                }
            }
            Err(error) => Err(refused(error)),
        }
    }

    /// The answers, in the order of the questions.
    pub(super) async fn may(&self, questions: &[&Question]) -> Result<Vec<bool>, AskError> {
        let reviews: Vec<SelfSubjectAccessReview> = questions.iter().map(|question| review(question)).collect();
        stream::iter(reviews)
            .map(|review| self.review(review))
            .buffered(AT_ONCE)
            .try_collect()
            .await
    }

    async fn review(&self, review: SelfSubjectAccessReview) -> Result<bool, AskError> {
        let api = Api::<SelfSubjectAccessReview>::all(self.client.clone());
        let params = PostParams::default();
        let reviewed = self
            .within_limit(api.create(&params, &review))
            .await?
            .map_err(refused)?;
        Ok(reviewed.status.is_some_and(|status| status.allowed))
    }

    async fn within_limit<T>(
        &self,
        call: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<Result<T, kube::Error>, AskError> {
        let answer = tokio::time::timeout(self.limit, call).await;
        answer.map_err(|_| AskError::TooSlow(self.limit))
    }
}

impl Connection {
    async fn config(&self) -> Result<Config, ConnectError> {
        let options = KubeConfigOptions {
            context: self.context.clone(),
            ..KubeConfigOptions::default()
        };
        let read = match (&self.kubeconfig, &self.context) {
            (None, None) => return Config::infer().await.map_err(ConnectError::Infer),
            (None, Some(_)) => Kubeconfig::read(),
            (Some(path), _) => Kubeconfig::read_from(path),
        };
        let kubeconfig = read.map_err(ConnectError::Kubeconfig)?;
        Config::from_custom_kubeconfig(kubeconfig, &options)
            .await
            .map_err(ConnectError::Kubeconfig)
    }
}

fn review(question: &Question) -> SelfSubjectAccessReview {
    SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(question.attributes()),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    }
}

/// An answer that is none is told from no answer.
fn refused(error: kube::Error) -> AskError {
    match error {
        kube::Error::Api(status) => AskError::Refused {
            code: status.code,
            message: status.message,
        },
        error => AskError::Call(error),
    }
}
