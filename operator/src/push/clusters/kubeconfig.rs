//! The kubeconfig of a cluster, as a Secret holds it: checked before anything of it is used.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use kube::{
    Client, Config,
    config::{AuthInfo, Cluster, KubeConfigOptions, Kubeconfig, NamedAuthInfo, NamedCluster},
};

/// The key of the Secret.
pub const KEY: &str = "kubeconfig";
/// Most bytes that it may have.
const MOST: usize = 256 * 1024;

/// Why a kubeconfig cannot be used. Nothing of it is quoted, as it holds credentials.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum KubeconfigError {
    #[error("failed to find the key {KEY} in the Secret")]
    Absent,
    #[error("failed to take the kubeconfig: it has more than {MOST} bytes")]
    Long,
    #[error("failed to read the kubeconfig")]
    Read,
    #[error("failed to find the cluster and the user to which the kubeconfig's current-context leads")]
    Context,
    #[error("failed to use the cluster's address in the kubeconfig: it must begin with https://")]
    Server,
    #[error("failed to use the kubeconfig: with insecure-skip-tls-verify the credentials would go to anybody")]
    Unverified,
    #[error("failed to use the kubeconfig: {0} names a file, which is not in the Secret")]
    File(&'static str),
    #[error("failed to use the kubeconfig: {0} would have the operator run a program")]
    Program(&'static str),
    #[error("failed to make a client of the kubeconfig")]
    Client,
}

/// The part of the kubeconfig in `data` that its current context leads to.
pub fn read(data: Option<&BTreeMap<String, ByteString>>) -> Result<Kubeconfig, KubeconfigError> {
    let ByteString(bytes) = data.and_then(|data| data.get(KEY)).ok_or(KubeconfigError::Absent)?;
    if bytes.len() > MOST {
        return Err(KubeconfigError::Long);
    }
    let text = str::from_utf8(bytes).map_err(|_| KubeconfigError::Read)?;
    let all = Kubeconfig::from_yaml(text).map_err(|_| KubeconfigError::Read)?;
    let (cluster, user) = current(&all).ok_or(KubeconfigError::Context)?;
    check_cluster(cluster.cluster.as_ref())?;
    check_user(user.auth_info.as_ref())?;
    let current = all.current_context.as_ref();
    let contexts = all.contexts.iter().filter(|context| Some(&context.name) == current);
    Ok(Kubeconfig {
        clusters: vec![cluster.clone()],
        auth_infos: vec![user.clone()],
        contexts: contexts.take(1).cloned().collect(),
        current_context: all.current_context.clone(),
        ..Kubeconfig::default()
    })
}

/// A client of the cluster that a kubeconfig, which has been checked, leads to.
pub async fn client(kubeconfig: Kubeconfig) -> Result<Client, KubeconfigError> {
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
    let config = config.map_err(|_| KubeconfigError::Client)?;
    Client::try_from(config).map_err(|_| KubeconfigError::Client)
}

fn current(all: &Kubeconfig) -> Option<(&NamedCluster, &NamedAuthInfo)> {
    let name = all.current_context.as_ref()?;
    let context = all.contexts.iter().find(|context| context.name == *name)?;
    let context = context.context.as_ref()?;
    let cluster = all.clusters.iter().find(|cluster| cluster.name == context.cluster)?;
    let user = all
        .auth_infos
        .iter()
        .find(|user| Some(&user.name) == context.user.as_ref())?;
    Some((cluster, user))
}

fn check_cluster(cluster: Option<&Cluster>) -> Result<(), KubeconfigError> {
    let cluster = cluster.ok_or(KubeconfigError::Context)?;
    if !cluster
        .server
        .as_ref()
        .is_some_and(|server| server.starts_with("https://"))
    {
        return Err(KubeconfigError::Server);
    }
    if cluster.insecure_skip_tls_verify == Some(true) {
        return Err(KubeconfigError::Unverified);
    }
    match cluster.certificate_authority {
        Some(_) => Err(KubeconfigError::File("certificate-authority")),
        None => Ok(()),
    }
}

fn check_user(user: Option<&AuthInfo>) -> Result<(), KubeconfigError> {
    let user = user.ok_or(KubeconfigError::Context)?;
    let files = [
        ("client-certificate", user.client_certificate.is_some()),
        ("client-key", user.client_key.is_some()),
        ("tokenFile", user.token_file.is_some()),
    ];
    if let Some((field, _)) = files.iter().find(|(_, is_there)| *is_there) {
        return Err(KubeconfigError::File(field));
    }
    let programs = [
        ("exec", user.exec.is_some()),
        ("auth-provider", user.auth_provider.is_some()),
    ];
    let found = programs.iter().find(|(_, is_there)| *is_there);
    found.map_or(Ok(()), |(field, _)| Err(KubeconfigError::Program(field)))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn kubeconfig(change: impl FnOnce(&mut Value)) -> Result<Kubeconfig, KubeconfigError> {
        let mut config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "a",
            "clusters": [{"name": "c", "cluster": {"server": "https://192.0.2.1:6443"}}, {"name": "d", "cluster": {"server": "http://d"}}],
            "users": [{"name": "u", "user": {"token": "hunter2"}}, {"name": "v", "user": {"exec": {"command": "rm"}}}],
            "contexts": [{"name": "a", "context": {"cluster": "c", "user": "u"}}, {"name": "b", "context": {"cluster": "d", "user": "v"}}],
        });
        change(&mut config);
        read(Some(&BTreeMap::from([(
            KEY.to_owned(),
            ByteString(config.to_string().into_bytes()),
        )])))
    }

    #[test]
    fn of_a_good_one_the_current_part_is_taken_and_nothing_else() {
        let kubeconfig = kubeconfig(|_| {}).unwrap();
        let names = |it: &[NamedCluster]| it.iter().map(|it| it.name.clone()).collect::<Vec<_>>();
        assert_eq!(
            (
                names(&kubeconfig.clusters),
                kubeconfig.auth_infos.len(),
                kubeconfig.contexts.len()
            ),
            (vec![String::from("c")], 1, 1)
        );
    }

    #[test]
    fn one_that_cannot_be_used_is_refused_for_each_of_its_reasons_and_never_quoted() {
        let user =
            |field: &'static str, value: Value| kubeconfig(move |it| it["users"][0]["user"][field] = value).err();
        let cluster =
            |field: &'static str, value: Value| kubeconfig(move |it| it["clusters"][0]["cluster"][field] = value).err();
        let file = |field| Some(KubeconfigError::File(field));
        for field in ["client-certificate", "client-key", "tokenFile"] {
            assert_eq!(user(field, json!("/etc/passwd")), file(field));
        }
        assert_eq!(
            cluster("certificate-authority", json!("/etc/ca")),
            file("certificate-authority")
        );
        assert_eq!(
            user("exec", json!({"command": "rm"})),
            Some(KubeconfigError::Program("exec"))
        );
        assert_eq!(
            user("auth-provider", json!({"name": "a", "config": {}})),
            Some(KubeconfigError::Program("auth-provider"))
        );
        assert_eq!(
            cluster("server", json!("http://hunter2")),
            Some(KubeconfigError::Server)
        );
        assert_eq!(
            cluster("insecure-skip-tls-verify", json!(true)),
            Some(KubeconfigError::Unverified)
        );
        assert_eq!(
            kubeconfig(|it| it["current-context"] = json!("x")).err(),
            Some(KubeconfigError::Context)
        );
        assert_eq!(
            kubeconfig(|it| it["users"] = json!([])).err(),
            Some(KubeconfigError::Context)
        );
        assert_eq!(
            kubeconfig(|it| it["clusters"] = json!("hunter2")).err(),
            Some(KubeconfigError::Read)
        );
        assert_eq!(read(None).err(), Some(KubeconfigError::Absent));
        let long = BTreeMap::from([(KEY.to_owned(), ByteString(vec![b' '; MOST + 1]))]);
        assert_eq!(read(Some(&long)).err(), Some(KubeconfigError::Long));
    }
}
