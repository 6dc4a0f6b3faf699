//! A real API server with the CRD, and with the policies that refuse whoever asks.

use std::{future::Future, time::Duration};

use futures::FutureExt as _;
use k8s_openapi::{
    api::admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding},
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kite_api::boundary::{self, Places};
use kube::{
    Api, Client, Config, ResourceExt as _,
    api::{DeleteParams, Patch, PatchParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::{Value, json};

/// How long the API server may take until a policy holds.
const LIMIT: Duration = Duration::from_mins(1);
/// Policies that ask nothing about who makes the change.
const POLICIES: [&str; 2] = ["kite-grants", "kite-depth"];

pub(crate) struct Server {
    client: Client,
}

impl Server {
    /// Runs the test with the policies in force, and takes them away whatever became of it: other tests use the server too.
    pub(crate) fn with(places: Places<'static>, test: impl AsyncFnOnce(&Self)) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let _ = rustls::crypto::ring::default_provider().install_default();
            let server = Self { client: client().await };
            server.install(places).await;
            let outcome = std::panic::AssertUnwindSafe(test(&server)).catch_unwind().await;
            server.remove(places).await;
            if let Err(panic) = outcome {
                std::panic::resume_unwind(panic);
            }
        });
    }

    /// What the API server says to the object, of which nothing is kept: nothing, or why it refuses it.
    pub(crate) async fn refusal(&self, object: &Value) -> Option<String> {
        let request = http::Request::post("/apis/kite.dev/v1alpha1/kiteplugins?dryRun=All&fieldValidation=Strict")
            .header("content-type", "application/json")
            .body(object.to_string().into_bytes())
            .unwrap();
        match self.client.request::<Value>(request).await {
            Ok(_) => None,
            Err(kube::Error::Api(status)) => Some(status.message.clone()),
            Err(error) => panic!("{error}"),
        }
    }

    async fn install(&self, places: Places<'_>) {
        let apply = PatchParams::apply("test").force();
        let crd = kite_api::crd();
        let crds: Api<CustomResourceDefinition> = Api::all(self.client.clone());
        crds.patch(&crd.name_any(), &apply, &Patch::Apply(&crd)).await.unwrap();
        for (policy, binding) in bound(places) {
            let policies: Api<ValidatingAdmissionPolicy> = Api::all(self.client.clone());
            policies
                .patch(&policy.name_any(), &apply, &Patch::Apply(&policy))
                .await
                .unwrap();
            let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(self.client.clone());
            bindings
                .patch(&binding.name_any(), &apply, &Patch::Apply(&binding))
                .await
                .unwrap();
        }
        let deep = format!("{}{}", "[".repeat(40), "]".repeat(40));
        let deep: Value = serde_json::from_str(&deep).unwrap();
        let system =
            json!([{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"], "namespaces": [places.system]}]);
        for (field, value) in [("permissions", system), ("settings", json!({"a": deep}))] {
            let mut object = json!({
                "apiVersion": "kite.dev/v1alpha1", "kind": "KitePlugin", "metadata": {"name": "a"},
                "spec": {"version": "1.0.0", "image": "a"},
            });
            until(async || self.refusal(&object).await.is_none(), "the CRD is served").await;
            object["spec"][field] = value;
            until(async || self.refusal(&object).await.is_some(), "the policies hold").await;
        }
    }

    async fn remove(&self, places: Places<'_>) {
        let delete = DeleteParams::default();
        for (policy, binding) in bound(places) {
            let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(self.client.clone());
            bindings.delete(&binding.name_any(), &delete).await.unwrap();
            let policies: Api<ValidatingAdmissionPolicy> = Api::all(self.client.clone());
            policies.delete(&policy.name_any(), &delete).await.unwrap();
        }
    }
}

fn bound(places: Places<'_>) -> Vec<boundary::Bound> {
    let mut bound = boundary::policies(places);
    bound.retain(|(policy, _)| POLICIES.contains(&policy.name_any().as_str()));
    assert_eq!(bound.len(), POLICIES.len());
    bound
}

async fn client() -> Client {
    let path = std::env::var_os("KITE_TEST_KUBECONFIG").expect("KITE_TEST_KUBECONFIG is set: run through `make test`");
    let kubeconfig = Kubeconfig::read_from(path).unwrap();
    let options = KubeConfigOptions::default();
    let config = Config::from_custom_kubeconfig(kubeconfig, &options).await.unwrap();
    Client::try_from(config).unwrap()
}

async fn until<F: Future<Output = bool>>(holds: impl Fn() -> F, what: &str) {
    let mut turns = tokio::time::interval(Duration::from_millis(50));
    let reached = async {
        while !holds().await {
            turns.tick().await;
        }
    };
    assert!(
        tokio::time::timeout(LIMIT, reached).await.is_ok(),
        "not in time: {what}"
    );
}
