//! What the chart renders, without a cluster: the rights it hands out, each of its values, and what it refuses.
#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test fails by panicking")]

use kite_e2e::cluster::{self, Layout};

/// `helm template` with these arguments; what it printed, or why it refused.
fn render(arguments: &[&str]) -> Result<String, String> {
    let tools = cluster::tools(&Layout::from_env().unwrap()).unwrap();
    let chart = concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/kite-plugins");
    let mut helm = tools.helm();
    helm.args(["template", "kite", chart, "--kube-version", "1.34.4"])
        .args(arguments);
    let output = helm.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        Ok(text(&output.stdout))
    } else {
        Err(text(&output.stderr))
    }
}

/// The objects among the rendered documents.
fn objects(rendered: &str) -> impl Iterator<Item = serde_json::Value> {
    let documents = rendered.split("\n---\n");
    documents.filter_map(|document| serde_saphyr::from_str(document).ok())
}

/// One line for each right that a rendered document hands out.
fn rights(rendered: &str) -> String {
    let mut lines = Vec::new();
    for object in objects(rendered) {
        let (kind, name) = (&object["kind"], &object["metadata"]["name"]);
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or("*");
        for rule in object["rules"].as_array().into_iter().flatten() {
            let list = |key: &str| {
                let items = rule[key]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter_map(serde_json::Value::as_str);
                items
                    .map(|item| if item.is_empty() { "\"\"" } else { item })
                    .collect::<Vec<_>>()
                    .join(",")
            };
            let (groups, resources, verbs) = (list("apiGroups"), list("resources"), list("verbs"));
            let urls = list("nonResourceURLs");
            if !urls.is_empty() {
                lines.push(format!("{kind} {name} in {namespace}: URLs {urls}: {verbs}"));
                continue;
            }
            let names = match list("resourceNames") {
                names if names.is_empty() => names,
                names => format!(" ({names})"),
            };
            lines.push(format!(
                "{kind} {name} in {namespace}: {groups} {resources}{names}: {verbs}"
            ));
        }
    }
    lines.join("\n").replace('"', "'")
}

#[test]
fn the_rights_of_operator_gateway_and_people_are_these_and_no_more() {
    let rights = rights(&render(&["--namespace", "default"]).unwrap());
    for line in rights.lines().filter(|line| line.contains("kite-plugins-")) {
        let (_, verbs) = line.rsplit_once(": ").unwrap();
        assert!(!verbs.contains("trust") && !verbs.contains("escalate"), "{line}");
        let on_plugins_themselves = line.contains("kite.dev kiteplugins:");
        assert!(
            !on_plugins_themselves || !verbs.contains('*'),
            "every verb holds trust and escalate: {line}"
        );
    }
    insta::assert_snapshot!(rights);
}

/// The policies and bindings among the rendered documents, without the chart's labels.
fn policies(rendered: &str) -> Vec<serde_json::Value> {
    let mut policies: Vec<_> = objects(rendered)
        .filter(|object| {
            let kind = object["kind"].as_str().unwrap_or_default();
            kind.starts_with("ValidatingAdmissionPolicy")
        })
        .collect();
    for policy in &mut policies {
        policy["metadata"].as_object_mut().unwrap().remove("labels");
    }
    policies
}

#[test]
fn the_policies_are_those_of_the_rules_with_the_names_of_the_namespaces() {
    for (plugins, system) in [("kite-plugins", "kite-system"), ("plug", "sys")] {
        let namespaces = format!("--set=pluginsNamespace={plugins},systemNamespace={system}");
        let rendered = policies(&render(&["--namespace=default", &namespaces]).unwrap());
        let expected = kite_api::boundary::policies(kite_api::boundary::Places { plugins, system })
            .into_iter()
            .flat_map(|(policy, binding)| {
                [
                    serde_json::to_value(policy).unwrap(),
                    serde_json::to_value(binding).unwrap(),
                ]
            });
        // Helm sorts by kind.
        let sorted = |mut all: Vec<serde_json::Value>| {
            all.sort_by_key(|it| format!("{}{}", it["kind"], it["metadata"]["name"]));
            all
        };
        assert_eq!(sorted(rendered), sorted(expected.collect()));
    }
}

#[test]
fn the_operator_is_measured_in_the_environment_that_the_chart_gives_it() {
    let rendered = render(&["--namespace=default"]).unwrap();
    let deployment = objects(&rendered)
        .find(|it| it["kind"] == "Deployment" && it["metadata"]["name"] == "kite-operator")
        .unwrap();
    let given = deployment["spec"]["template"]["spec"]["containers"][0]["env"]
        .as_array()
        .unwrap();
    let given: Vec<_> = given
        .iter()
        .map(|it| (it["name"].as_str().unwrap(), it["value"].as_str().unwrap()))
        .filter(|(name, _)| *name != "RUST_LOG")
        .collect();
    assert_eq!(given, kite_e2e::fleet::ENVIRONMENT);
}

#[test]
fn each_value_has_its_effect() {
    let digest = format!("sha256:{}", "a".repeat(64));
    let image = format!("operator.image.digest={digest}");
    let rendered = render(&[
        "--namespace=default",
        "--set=systemNamespace=sys,pluginsNamespace=plug",
        "--set=imagePullSecrets[0].name=pull-secret",
        "--set-string",
        &image,
        "--set=gateway.image.tag=9.9.9,gateway.image.pullPolicy=Always",
        "--set=gateway.names={kite.example,192.0.2.7}",
        "--set=gateway.homeCluster=prod.example",
        "--set=gateway.basePath=/kite/x,gateway.threads=3",
        "--set=gateway.replicas=3,gateway.service.type=LoadBalancer,gateway.service.port=8443",
        "--set-string=gateway.service.annotations.team=blue",
        "--set-string=gateway.nodeSelector.disk=ssd,operator.nodeSelector.disk=hdd",
        "--set=gateway.tolerations[0].key=spot,operator.tolerations[0].key=slow",
        "--set=operator.logFilter=debug",
        "--set=gateway.accessLog=false,gateway.traces.percent=55,gateway.traces.caSecret=otlp-ca",
        "--set=gateway.traces.endpoint=https://collector.monitoring:4317",
        "--set-string=plugins.quota.pods=7",
        "--set=plugins.defaults.limits.memory=77Mi",
        "--set=rbac.aggregateToBuiltIn=true",
    ])
    .unwrap();
    for part in [
        "name: sys\n",
        "name: plug\n",
        "--system-namespace=sys",
        "--plugins-namespace=plug",
        "--home-cluster=prod.example",
        "- name: pull-secret",
        &format!("kite/operator@{digest}"),
        "kite/gateway:9.9.9",
        "imagePullPolicy: Always",
        "--gateway-name=kite.example",
        "--base-path=/kite/x",
        "--threads=3",
        "--gateway-name=192.0.2.7",
        "replicas: 3",
        "type: LoadBalancer",
        "port: 8443",
        "team: blue",
        "disk: ssd",
        "disk: hdd",
        "key: spot",
        "key: slow",
        "value: \"debug\"",
        "--access-log=false",
        "--otlp-endpoint=https://collector.monitoring:4317",
        "--trace-percent=55",
        "--otlp-ca=/etc/kite/otlp/ca.crt",
        "secretName: otlp-ca",
        "pods: \"7\"",
        "memory: 77Mi",
        "aggregate-to-view: \"true\"",
        "aggregate-to-edit: \"true\"",
        "aggregate-to-admin: \"true\"",
    ] {
        assert!(rendered.contains(part), "no {part:?}");
    }
}

#[test]
fn each_value_about_replicas_certificates_and_traces_of_the_operator_has_its_effect() {
    let rendered = render(&[
        "--namespace=default",
        "--set=operator.replicas=4,operator.traces.percent=44,operator.traces.caSecret=operator-otlp-ca",
        "--set=operator.traces.endpoint=https://collector.operator:4317",
        "--set=operator.identity.certificateMinutes=525600,operator.identity.caHours=87600",
        "--set=operator.identity.caSpreadSeconds=31,operator.identity.servingCaNoticeHours=0",
    ])
    .unwrap();
    for part in [
        "replicas: 4",
        "--otlp-endpoint=https://collector.operator:4317",
        "--trace-percent=44",
        "--otlp-ca=/etc/kite/otlp/ca.crt",
        "secretName: operator-otlp-ca",
        "--certificate-minutes=525600",
        "--ca-hours=87600",
        "--ca-spread-seconds=31",
        "--serving-ca-notice-hours=0",
    ] {
        assert!(rendered.contains(part), "no {part:?}");
    }
}

#[test]
fn each_value_about_the_pods_of_plugins_has_its_effect() {
    let rendered = render(&[
        "--namespace=default",
        r"--set=plugins.registryMirrors.docker\.io=mirror.example/hub,plugins.registryMirrors.*=other.example",
        "--set=plugins.imagePullSecrets[0].name=hub",
        "--set=plugins.extraCABundle.configMap=corporate-ca",
    ])
    .unwrap();
    for part in [
        "\"--registry-mirror=docker.io=mirror.example/hub\"",
        "\"--registry-mirror=*=other.example\"",
        "--plugin-pull-secret=hub",
        "--plugin-ca-config-map=corporate-ca",
    ] {
        assert!(rendered.contains(part), "no {part:?}");
    }
    let secret = render(&["--namespace=default", "--set=plugins.extraCABundle.secret=corporate-ca"]).unwrap();
    assert!(secret.contains("--plugin-ca-secret=corporate-ca"));
    let plain = render(&["--namespace=default"]).unwrap();
    for part in ["--registry-mirror", "--plugin-pull-secret", "--plugin-ca"] {
        assert!(!plain.contains(part), "{part:?} unasked");
    }
}

#[test]
fn each_value_about_callers_has_its_effect() {
    let rendered = render(&[
        "--namespace=default",
        "--set=gateway.tokenAudiences={dashboard},gateway.publicOrigins={https://kite.example}",
        "--set=gateway.sessions.idleSeconds=61,gateway.sessions.maxSeconds=62",
        "--set=gateway.decisionSeconds=43,gateway.outageSeconds=44",
        "--set=gateway.clientCertificates.configMap=people",
        "--set=gateway.authenticatingProxies.secret=proxies,gateway.authenticatingProxies.names={front}",
    ])
    .unwrap();
    for part in [
        "--token-audience=dashboard",
        "--public-origin=https://kite.example",
        "--session-idle-seconds=61",
        "--session-seconds=62",
        "--decision-seconds=43",
        "--outage-seconds=44",
        "--client-ca-file=/etc/kite/client-ca/ca.crt",
        "configMap: {name: people, ",
        "--proxy-ca-file=/etc/kite/proxy-ca/ca.crt",
        "--proxy-name=front",
        "secret: {secretName: proxies, ",
    ] {
        assert!(rendered.contains(part), "no {part:?}");
    }
    let plain = render(&["--namespace=default"]).unwrap();
    for part in ["--token-audience", "--public-origin", "client-ca", "proxy-"] {
        assert!(!plain.contains(part), "{part:?} unasked");
    }
}

#[test]
fn nothing_is_aggregated_unless_a_value_says_so() {
    assert!(!render(&["--namespace=default"]).unwrap().contains("aggregate-to"));
}

#[test]
fn what_cannot_work_is_refused_with_what_to_do() {
    for (arguments, word) in [
        (["--namespace=kite-system"].as_slice(), "--namespace default"),
        (&["--namespace=kite-plugins"], "--namespace default"),
        (
            &["--namespace=default", "--set=systemNamespace=x,pluginsNamespace=x"],
            "must differ",
        ),
        (&["--namespace=default", "--set=gateway.replicas=0"], "replicas"),
        (&["--namespace=default", "--set=operator.replicas=0"], "replicas"),
        (
            &[
                "--namespace=default",
                "--set=gateway.authenticatingProxies.secret=proxies",
            ],
            "names of the proxies' certificates",
        ),
        (
            &[
                "--namespace=default",
                "--set=gateway.authenticatingProxies.names={front}",
            ],
            "needs a CA",
        ),
        (
            &[
                "--namespace=default",
                "--set=gateway.clientCertificates.secret=a,gateway.clientCertificates.configMap=b",
            ],
            "not from both",
        ),
        (
            &["--namespace=default", "--set=gateway.publicOrigins={kite.example}"],
            "publicOrigins",
        ),
        (&["--namespace=default", "--set=gateway.basePath=/a/"], "basePath"),
        (&["--namespace=default", "--set=gateway.threads=65"], "threads"),
        (&["--namespace=default", "--set=operator.image.digest=latest"], "digest"),
        (
            &["--namespace=default", "--set=operator.identity.certificateMinutes=9"],
            "certificateMinutes",
        ),
        (&["--namespace=default", "--set=gatway.replicas=3"], "gatway"),
        (
            &["--namespace=default", "--set=gateway.traces.endpoint=collector:4317"],
            "endpoint",
        ),
        (
            &["--namespace=default", "--set=pluginsNamespace=Upper"],
            "pluginsNamespace",
        ),
    ] {
        let refused = render(arguments).unwrap_err();
        assert!(refused.contains(word), "{arguments:?}: {refused}");
    }
}

#[test]
fn what_cannot_work_about_the_pods_of_plugins_is_refused() {
    let both = "--set=plugins.extraCABundle.secret=a,plugins.extraCABundle.configMap=b";
    for (value, word) in [
        (both, "not from both"),
        ("--set=plugins.registryMirrors.a=b=c", "registryMirrors"),
    ] {
        let refused = render(&["--namespace=default", value]).unwrap_err();
        assert!(refused.contains(word), "{value}: {refused}");
    }
}
