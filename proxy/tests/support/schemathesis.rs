//! schemathesis asks the gateway all that its `OpenAPI` document lets it make up: some hundred requests here, and as many thousands as
//! `KITE_SCHEMATHESIS_EXAMPLES` says in `make outside`.

use std::{
    collections::BTreeMap,
    env, fs,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http::{Method, Request};
use kite_conformance::python::Python;
use kite_gateway::{
    base_path::BasePath,
    openapi,
    pipeline::{
        path::NormalPath,
        route::{Route, TABLE},
    },
    serve::{self, Limits, Room},
    tls,
};
use rcgen::CertifiedKey;
use rustls::server::WebPkiClientVerifier;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{net::TcpListener, process::Command};

use super::Scene;

const SESSION: &str = "/api/v1/session";
const REQUIREMENTS: &str = include_str!("schemathesis.txt");
/// Cases for each operation, where nothing is said.
const FEW: usize = 3;
/// Cases for each operation at length, of which so many requests have to come.
const AT_LENGTH: usize = 150;
const MANY: usize = 10_000;

/// How often each operation was answered with each status; what is no operation stands under its method alone.
#[derive(Clone, Default)]
struct Counted(Arc<Mutex<BTreeMap<(String, u16), usize>>>);

impl Counted {
    fn add(&self, operation: String, status: u16) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry((operation, status)).or_default() += 1;
    }

    fn all(&self) -> BTreeMap<(String, u16), usize> {
        self.0.lock().unwrap().clone()
    }
}

/// The operation that a request is of.
fn operation<B>(request: &Request<B>) -> String {
    let method = request.method();
    let path = NormalPath::parse(request.uri().path()).ok();
    let row = path
        .as_ref()
        .and_then(|path| Route::below(&BasePath::default(), path).row());
    match row.filter(|row| row.verb(method).is_ok()) {
        Some(row) => format!("{method} {}", row.paths[0].filled("{tool}", "{name}", "{path}")),
        None => method.to_string(),
    }
}

/// A gateway behind its real listener, whose answers are counted.
struct Asked {
    counted: Counted,
    url: String,
    folder: TempDir,
    scene: Arc<Scene>,
}

impl Asked {
    async fn new() -> Self {
        let scene = Arc::new(Scene::new().await);
        let CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("tls.crt"), cert.pem()).unwrap();
        fs::write(folder.path().join("tls.key"), signing_key.serialize_pem()).unwrap();
        let nobody = WebPkiClientVerifier::no_client_auth();
        let certificates = Arc::new(tls::serving(folder.path(), nobody).await.unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
        let counted = Counted::default();
        let (counts, gateway) = (counted.clone(), Arc::clone(&scene.gateway));
        let answer = move |request| {
            let (counts, gateway) = (counts.clone(), Arc::clone(&gateway));
            let operation = operation(&request);
            async move {
                let answer = gateway.answer(request).await;
                counts.add(operation, answer.status().as_u16());
                answer
            }
        };
        tokio::spawn(serve::serve(
            listener,
            certificates,
            Room::new(Limits::default()),
            answer,
            std::future::pending(),
            Duration::ZERO,
        ));
        Self {
            counted,
            url,
            folder,
            scene,
        }
    }

    /// Runs schemathesis with the document at `location`, as whom `credential` is of, on what `only` says of it.
    async fn run(&self, python: &Python, location: &str, credential: &str, only: &[&str], examples: usize) {
        let folder = self.folder.path();
        // Few are the same each time; what is new is found by `make outside`.
        let seed: &[&str] = if examples == FEW { &["--seed", "1"] } else { &[] };
        let output = Command::new(python.interpreter())
            .args(["-m", "schemathesis.cli", "--no-color", "--config-file"])
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/schemathesis.toml"))
            .args([
                "run",
                location,
                "--url",
                &self.url,
                "--header",
                credential,
                "--header",
                "Sec-Fetch-Site: same-origin",
            ])
            .arg("--tls-verify")
            .arg(folder.join("tls.crt"))
            .args(["--max-examples", &examples.to_string(), "--generation-database", "none"])
            .args(seed)
            // A machine that is busy says nothing of the gateway.
            .args(["--suppress-health-check", "all", "--request-timeout", "60"])
            .args(only)
            // What it writes is nobody's.
            .current_dir(folder)
            .output()
            .await
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success(),
            "{text}\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

/// The document, in which every name is one of those that are there.
fn narrowed() -> Value {
    let mut document = openapi::document();
    let login = &mut document["components"]["schemas"]["Login"]["properties"]["token"];
    *login = json!({"type": "string", "enum": ["jane"]});
    let body = &mut document["paths"][SESSION]["post"]["requestBody"]["content"]["application/json"];
    body["example"] = json!({"token": "jane"});
    for item in document["paths"].as_object_mut().unwrap().values_mut() {
        let parameters = item.get_mut("parameters").and_then(Value::as_array_mut);
        for parameter in parameters.into_iter().flatten() {
            let there = match parameter["name"].as_str().unwrap() {
                "tool" => vec!["plugin_rogue_greet", "plugin_rogue_strict", "plugin_rogue_halfway"],
                "name" => vec!["rogue"],
                _ => vec!["echo", "seen"],
            };
            parameter["example"] = json!(there[0]);
            parameter["schema"] = json!({"type": "string", "enum": there});
        }
    }
    document
}

#[tokio::test]
#[expect(clippy::print_stdout, reason = "how much was asked is worth to be seen")]
async fn every_operation_answers_as_documented_whatever_it_is_asked() {
    let examples = env::var("KITE_SCHEMATHESIS_EXAMPLES").map_or(FEW, |text| text.parse().unwrap());
    let python = tokio::task::spawn_blocking(|| Python::with(REQUIREMENTS))
        .await
        .unwrap()
        .unwrap();
    let asked = Asked::new().await;
    let document = asked.folder.path().join("narrowed.json");
    fs::write(&document, narrowed().to_string()).unwrap();
    let of_the_gateway = format!("{}/openapi.json", asked.url);
    for location in [document.to_str().unwrap(), &of_the_gateway] {
        asked
            .run(&python, location, "Authorization: Bearer jane", &[], examples)
            .await;
    }
    // A session is ended by its cookie, which nobody can make up.
    let cookie = format!("Cookie: {}", asked.scene.log_in().await);
    // That whoever has none is refused was asked before, by a token, and so often that an address is slowed down for it.
    let logout = [
        "--include-path",
        SESSION,
        "--include-method",
        "DELETE",
        "--exclude-checks",
        "ignored_auth",
    ];
    asked.run(&python, &of_the_gateway, &cookie, &logout, examples).await;

    let counts = asked.counted.all();
    let all: usize = counts.values().sum();
    println!("{all} requests: {counts:?}");
    let least = if examples < AT_LENGTH {
        examples * TABLE.len()
    } else {
        MANY
    };
    assert!(all >= least, "{all} requests, fewer than {least}");
    assert!(counts.keys().all(|(_, status)| *status != 500), "{counts:?}");
    for row in TABLE {
        for (method, _) in row.methods() {
            let operation = format!("{method} {}", row.paths[0].filled("{tool}", "{name}", "{path}"));
            let mut well = counts
                .keys()
                .filter(|(of, status)| *of == operation && (200..300).contains(status));
            assert!(well.next().is_some(), "{operation} was never answered well: {counts:?}");
        }
    }
}

#[tokio::test]
async fn the_document_is_openapi() {
    let python = tokio::task::spawn_blocking(|| Python::with(REQUIREMENTS))
        .await
        .unwrap()
        .unwrap();
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/openapi.json");
    let folder = tempfile::tempdir().unwrap();
    let spoilt = folder.path().join("spoilt.json");
    let mut document = openapi::document();
    document["paths"]["/healthz"]["get"]["responses"] = json!([]);
    fs::write(&spoilt, document.to_string()).unwrap();
    for (file, is_well) in [(committed, true), (spoilt, false)] {
        let output = Command::new(python.interpreter())
            .args(["-m", "openapi_spec_validator", "--schema", "3.1"])
            .arg(&file)
            .output()
            .await
            .unwrap();
        assert_eq!(output.status.success(), is_well, "{output:?}");
    }
}

#[test]
fn a_request_is_counted_under_its_operation() {
    for (method, path, name) in [
        (
            Method::GET,
            "/api/v1/plugins/hello/a/b",
            "GET /api/v1/plugins/{name}/{path}",
        ),
        (
            Method::POST,
            "/api/v1/plugins/tools/x",
            "POST /api/v1/plugins/tools/{tool}",
        ),
        (Method::GET, "/api/v1/plugins/tools/x", "GET"),
        (Method::GET, "/nowhere", "GET"),
        (Method::GET, "/api/v1//", "GET"),
    ] {
        let request = Request::builder().method(method).uri(path).body(()).unwrap();
        assert_eq!(operation(&request), name);
    }
}
