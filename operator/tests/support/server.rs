//! The API server of the run, for every program of tests that needs one.

use std::time::Duration;

use k8s_openapi::{
    api::core::v1::Namespace, apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kite_operator::run;
use kube::{
    Api, Client, Config, ResourceExt,
    api::{ObjectMeta, Patch, PatchParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
    runtime::wait::{await_condition, conditions::is_crd_established},
};

/// How long the API server may take until it serves what a CRD defines.
const LIMIT: Duration = Duration::from_mins(1);

/// How it is reached.
pub(crate) async fn config() -> Config {
    let path = std::env::var_os("KITE_TEST_KUBECONFIG").expect("KITE_TEST_KUBECONFIG is set: run through `make test`");
    let kubeconfig = Kubeconfig::read_from(path).expect("the kubeconfig");
    Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .expect("a config")
}

/// Reaches it so. It then knows what a `KitePlugin` is.
pub(crate) async fn client(config: Config) -> Client {
    run::install_crypto();
    let client = Client::try_from(config).expect("a client");
    let crds: Api<CustomResourceDefinition> = Api::all(client.clone());
    let crd = kite_api::crd();
    let name = crd.name_any();
    crds.patch(&name, &PatchParams::apply("test").force(), &Patch::Apply(crd))
        .await
        .expect("the CRD is applied");
    let established = await_condition(crds, &name, is_crd_established());
    tokio::time::timeout(LIMIT, established)
        .await
        .expect("the CRD is established in time")
        .expect("the watch");
    client
}

pub(crate) async fn make_namespace(client: &Client, name: &str) {
    let metadata = ObjectMeta {
        name: Some(name.to_owned()),
        ..ObjectMeta::default()
    };
    let namespace = Namespace {
        metadata,
        ..Namespace::default()
    };
    Api::all(client.clone())
        .create(&PostParams::default(), &namespace)
        .await
        .expect("a namespace");
}
