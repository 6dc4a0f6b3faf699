//! The door to a running cluster: what a person or a script needs to use it, and a first look through it.

use std::{fmt, path::PathBuf, time::Duration};

use k8s_openapi::api::{
    authentication::v1::{TokenRequest, TokenRequestSpec},
    core::v1::{Secret, Service, ServiceAccount},
    rbac::v1::{ClusterRoleBinding, RoleRef, Subject},
};
use kite_api::identity::{CA_KEY, GATEWAY_SERVICE, GATEWAY_SERVING_SECRET};
use kube::{
    Api, ResourceExt,
    api::{Patch, PatchParams, PostParams},
};

use super::{DeployError, run};
use crate::target::{Target, variable};

const SYSTEM: &str = "kite-system";
/// The cluster admin that `KITE_TOKEN` is of.
const ADMIN: &str = "kite-local-admin";
const ADMIN_NAMESPACE: &str = "default";
const MANAGER: &str = "kite-e2e";
/// How long the gateway may take for an answer.
const ANSWER: Duration = Duration::from_mins(1);
const TOKEN_SECONDS: i64 = 24 * 60 * 60;

/// What `make -s env` prints.
#[derive(Clone, Debug)]
pub struct Exports {
    pub kubeconfig: PathBuf,
    pub url: String,
    pub ca: PathBuf,
    pub token: String,
    /// Folder with the cluster's kubectl and helm, for a machine that has none.
    programs: PathBuf,
}

impl Exports {
    /// Asks the cluster for all four; the admin and its token are made if need be.
    pub async fn gather(target: &Target) -> Result<Self, DeployError> {
        let client = target.client().await?;
        let ca = ca_path(target);
        write_ca(&client, &ca).await?;
        let url = match variable("KITE_URL").filter(|_| !target.is_local) {
            Some(url) => url,
            None => gateway_url(&client).await?,
        };
        Ok(Self {
            programs: target.tools.helm.parent().map(PathBuf::from).unwrap_or_default(),
            kubeconfig: target.kubeconfig.clone(),
            url,
            ca,
            token: admin_token(&client).await?,
        })
    }

    /// The variables by name.
    pub fn variables(&self) -> [(&'static str, String); 4] {
        [
            ("KUBECONFIG", self.kubeconfig.display().to_string()),
            ("KITE_URL", self.url.clone()),
            ("KITE_CA", self.ca.display().to_string()),
            ("KITE_TOKEN", self.token.clone()),
        ]
    }

    /// A client that trusts the gateway's CA and nobody else's.
    pub fn http(&self) -> Result<reqwest::Client, DeployError> {
        let ca = std::fs::read(&self.ca).map_err(|source| DeployError::Write {
            path: self.ca.clone(),
            source,
        })?;
        reqwest::Certificate::from_pem_bundle(&ca)
            .and_then(|roots| reqwest::Client::builder().tls_certs_only(roots).timeout(ANSWER).build())
            .map_err(|source| DeployError::Call {
                url: self.url.clone(),
                source,
            })
    }
}

impl fmt::Display for Exports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.variables()
            .iter()
            .try_for_each(|(name, value)| writeln!(f, "export {name}='{}'", quoted(value)))?;
        // Last, so that programs of the machine's own are preferred.
        writeln!(
            f,
            "export PATH=\"$PATH\":'{}'",
            quoted(&self.programs.display().to_string())
        )
    }
}

/// Where the gateway's CA is written.
fn ca_path(target: &Target) -> PathBuf {
    target.dir.join("gateway-ca.crt")
}

/// A text as it stands between single quotes in a shell.
fn quoted(text: &str) -> String {
    text.replace('\'', r"'\''")
}

/// Calls hello's routes and tools through the gateway, and returns what they answered, with commands to try.
pub async fn show(exports: &Exports) -> Result<String, DeployError> {
    let http = exports.http()?;
    let get = |path: &str| http.get(format!("{}/api/v1/plugins/{path}", exports.url));
    let tool = http
        .post(format!("{}/api/v1/plugins/tools/plugin_hello_count_pods", exports.url))
        .json(&serde_json::json!({"arguments": {"namespace": "kite-plugins"}}));
    let mut text = String::new();
    for (label, request) in [
        ("GET  hello/hello                    ", get("hello/hello")),
        ("GET  hello/pods                     ", get("hello/pods")),
        ("POST tools/plugin_hello_count_pods  ", tool),
    ] {
        let answer = answer(request.bearer_auth(&exports.token), &exports.url).await?;
        text.push_str(label);
        text.push_str(&answer);
        text.push('\n');
    }
    text.push_str(
        "\nTry, after `eval \"$(make -s env)\"`:\n\
         \n  kubectl get kp\
         \n  curl --cacert \"$KITE_CA\" -H \"Authorization: Bearer $KITE_TOKEN\" \"$KITE_URL/api/v1/plugins/hello/pods\"\
         \n  curl --cacert \"$KITE_CA\" -H \"Authorization: Bearer $KITE_TOKEN\" \"$KITE_URL/api/v1/plugins/tools/plugin_hello_hello\" \
         -d '{\"arguments\": {\"name\": \"you\"}}'\n",
    );
    Ok(text)
}

/// Takes away the admin.
pub(super) fn close(target: &Target) -> Result<(), DeployError> {
    let kubectl = |arguments: &[&str]| run("kubectl", target.kubectl().args(arguments)).map(drop);
    kubectl(&["delete", "clusterrolebinding", ADMIN, "--ignore-not-found"])?;
    kubectl(&[
        "--namespace",
        ADMIN_NAMESPACE,
        "delete",
        "serviceaccount",
        ADMIN,
        "--ignore-not-found",
    ])
}

async fn answer(request: reqwest::RequestBuilder, url: &str) -> Result<String, DeployError> {
    let failed = |source| DeployError::Call {
        url: url.to_owned(),
        source,
    };
    let response = request.send().await.map_err(failed)?;
    let (url, status) = (response.url().to_string(), response.status());
    let body = response.text().await.map_err(failed)?;
    if status.is_success() {
        Ok(body)
    } else {
        Err(DeployError::Answer {
            url,
            status: status.as_u16(),
            body,
        })
    }
}

async fn write_ca(client: &kube::Client, path: &PathBuf) -> Result<(), DeployError> {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), SYSTEM);
    let what = "the gateway's serving certificate";
    let secret = secrets
        .get(GATEWAY_SERVING_SECRET)
        .await
        .map_err(|source| DeployError::Ask { what, source })?;
    let ca = secret
        .data
        .and_then(|mut data| data.remove(CA_KEY))
        .ok_or(DeployError::Missing { what })?;
    let failed = |source| DeployError::Write {
        path: path.clone(),
        source,
    };
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    std::fs::write(path, ca.0).map_err(failed)
}

/// The address of the gateway's Service: a load balancer's if it has one, or its own inside the cluster, to which the
/// local cluster has a route.
async fn gateway_url(client: &kube::Client) -> Result<String, DeployError> {
    let what = "an address of the Service kite-gateway";
    let services: Api<Service> = Api::namespaced(client.clone(), SYSTEM);
    let service = services
        .get(GATEWAY_SERVICE)
        .await
        .map_err(|source| DeployError::Ask { what, source })?;
    let port = service
        .spec
        .iter()
        .flat_map(|spec| spec.ports.iter().flatten())
        .map(|port| port.port)
        .next()
        .unwrap_or(443);
    let balanced = service
        .status
        .iter()
        .filter_map(|status| status.load_balancer.as_ref())
        .flat_map(|balancer| balancer.ingress.iter().flatten());
    let host = balanced
        .filter_map(|ingress| ingress.ip.clone().or_else(|| ingress.hostname.clone()))
        .chain(service.spec.iter().filter_map(|spec| spec.cluster_ip.clone()))
        .find(|host| !host.is_empty() && host != "None")
        .ok_or(DeployError::Missing { what })?;
    let host = if host.contains(':') { format!("[{host}]") } else { host };
    Ok(if port == 443 {
        format!("https://{host}")
    } else {
        format!("https://{host}:{port}")
    })
}

/// A fresh token of a ServiceAccount that is a cluster admin.
async fn admin_token(client: &kube::Client) -> Result<String, DeployError> {
    let what = "a token of the cluster admin";
    let failed = |source| DeployError::Ask { what, source };
    let apply = PatchParams::apply(MANAGER).force();
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), ADMIN_NAMESPACE);
    let mut account = ServiceAccount::default();
    account.metadata.name = Some(ADMIN.to_owned());
    accounts
        .patch(ADMIN, &apply, &Patch::Apply(&account))
        .await
        .map_err(failed)?;
    let mut binding = ClusterRoleBinding {
        role_ref: RoleRef {
            api_group: "rbac.authorization.k8s.io".to_owned(),
            kind: "ClusterRole".to_owned(),
            name: "cluster-admin".to_owned(),
        },
        subjects: Some(vec![Subject {
            kind: "ServiceAccount".to_owned(),
            name: account.name_any(),
            namespace: Some(ADMIN_NAMESPACE.to_owned()),
            api_group: None,
        }]),
        ..ClusterRoleBinding::default()
    };
    binding.metadata.name = Some(ADMIN.to_owned());
    Api::<ClusterRoleBinding>::all(client.clone())
        .patch(ADMIN, &apply, &Patch::Apply(&binding))
        .await
        .map_err(failed)?;
    let request = TokenRequest {
        spec: TokenRequestSpec {
            expiration_seconds: Some(TOKEN_SECONDS),
            ..TokenRequestSpec::default()
        },
        ..TokenRequest::default()
    };
    let request = accounts
        .create_token_request(ADMIN, &PostParams::default(), &request)
        .await
        .map_err(failed)?;
    request
        .status
        .map(|status| status.token)
        .ok_or(DeployError::Missing { what })
}
