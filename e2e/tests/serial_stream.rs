//! What streams through gateway and plugin takes no memory for its size, waits for its reader, and is many at once.
#![cfg(test)]
#![expect(clippy::print_stdout, reason = "the harness keeps a test's standard output")]

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::{Stream, StreamExt, future, stream};
use k8s_openapi::api::core::v1::Pod;
use kite_api::KitePluginSpec;
use kite_e2e::testing::{PLUGINS, SYSTEM, Scope, eventually, exported, scope};
use kube::{Api, ResourceExt, api::ListParams};
use reqwest::{Body, Certificate, Client, Response};
use serde_json::json;
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;

const MEBIBYTE: u64 = 1024 * 1024;
/// What goes up, and comes down again.
const WHOLE: u64 = 1024 * MEBIBYTE;
/// Most memory over what a process has when nothing is under way.
const MOST: u64 = 64 * MEBIBYTE;
/// How long a gibibyte may take, through programs that were built fast and not to be fast.
const LIMIT: Duration = Duration::from_mins(5);
/// How many streams are open at once.
const STREAMS: usize = 1000;

fn client() -> Client {
    // Fails only if there is a provider already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let ca = Certificate::from_pem(&fs::read(exported("KITE_CA")).unwrap()).unwrap();
    Client::builder().tls_certs_only([ca]).http1_only().build().unwrap()
}

/// A copy of hello that takes all that is sent here.
async fn plugin(scope: &Scope) -> String {
    let limits = json!({"inFlight": 2 * STREAMS, "requestBodyBytes": "1000Gi"});
    let take = |spec: &mut KitePluginSpec| spec.limits = serde_json::from_value(limits).unwrap();
    scope.loaded_plugin("", take).await
}

/// Sends `body` to the plugin, which answers it as it comes.
async fn echo(client: &Client, plugin: &str, body: Body) -> Response {
    let url = format!("{}/api/v1/plugins/{plugin}/echo", exported("KITE_URL"));
    let request = client.post(url).bearer_auth(exported("KITE_TOKEN")).body(body);
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 200);
    answer
}

/// Processes of the plugin and of the gateway, by pod.
async fn processes(scope: &Scope, plugin: &str) -> BTreeMap<String, u32> {
    let mut found = BTreeMap::new();
    let plugin = format!("kite.dev/plugin={plugin}");
    for (namespace, selector) in [
        (PLUGINS, plugin.as_str()),
        (SYSTEM, "app.kubernetes.io/name=kite-gateway"),
    ] {
        let pods: Api<Pod> = Api::namespaced(scope.client.clone(), namespace);
        for pod in pods.list(&ListParams::default().labels(selector)).await.unwrap() {
            let uid = pod.uid().unwrap();
            let of_pod = |pid: &u32| {
                let file = |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
                file("cgroup").contains(&uid) && file("cmdline").starts_with("/plugin")
            };
            let all = fs::read_dir("/proc").unwrap().flatten();
            let mut numbers = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
            found.insert(pod.name_any(), numbers.find(of_pod).expect("the pod's process"));
        }
    }
    assert!(found.len() >= 3, "{found:?}");
    found
}

/// A figure of a process in `/proc/<pid>/status`, in bytes.
fn memory(pid: u32, figure: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(figure)).unwrap();
    let kibibytes: u64 = line.trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap();
    kibibytes * 1024
}

#[tokio::test]
async fn a_gibibyte_each_way_takes_no_more_memory_than_a_little() {
    scope("gibibyte", async |scope| {
        let (client, plugin) = (client(), plugin(&scope).await);
        echo(&client, &plugin, Body::from("warm")).await.bytes().await.unwrap();
        let processes = processes(&scope, &plugin).await;
        let mut idle = BTreeMap::new();
        for (pod, pid) in &processes {
            // Sets the peak back to what there is now (proc(5)).
            fs::write(Path::new("/proc").join(pid.to_string()).join("clear_refs"), "5").unwrap();
            idle.insert(pod, memory(*pid, "VmRSS:"));
        }
        let piece = bytes::Bytes::from(vec![7; usize::try_from(MEBIBYTE).unwrap()]);
        let pieces = stream::iter((0..WHOLE / MEBIBYTE).map(move |_| Ok::<_, std::io::Error>(piece.clone())));
        let mut down = 0;
        let exchange = async {
            let mut answer = echo(&client, &plugin, Body::wrap_stream(pieces)).await.bytes_stream();
            while let Some(piece) = answer.next().await {
                down += piece.unwrap().len() as u64;
            }
        };
        tokio::time::timeout(LIMIT, exchange).await.expect("it ends in time");
        assert_eq!(down, WHOLE);
        for (pod, pid) in &processes {
            let over = memory(*pid, "VmHWM:").saturating_sub(idle[pod]);
            println!("{pod}: {} KiB over idle at most", over / 1024);
            assert!(over <= MOST, "{pod} took {over} bytes over what it had");
        }
    })
    .await;
}

/// A body without an end, and how much of it was taken.
fn endless() -> (
    impl Stream<Item = Result<bytes::Bytes, std::io::Error>> + Send + 'static,
    Arc<AtomicU64>,
) {
    let taken = Arc::new(AtomicU64::new(0));
    let piece = bytes::Bytes::from(vec![7; 64 * 1024]);
    let count = Arc::clone(&taken);
    let body = stream::repeat_with(move || {
        count.fetch_add(piece.len() as u64, Ordering::Relaxed);
        Ok(piece.clone())
    });
    (body, taken)
}

#[tokio::test]
async fn a_reader_that_stops_stops_the_writer() {
    scope("reader", async |scope| {
        let (plugin, (body, taken)) = (plugin(&scope).await, endless());
        let mut answer = echo(&client(), &plugin, Body::wrap_stream(body)).await.bytes_stream();
        answer.next().await.unwrap().unwrap();
        // All that is on the way fills up, and then nothing more is taken.
        let (mut last, mut still) = (0, 0);
        let stopped = eventually("the writer stops", Duration::from_mins(1), async || {
            let now = taken.load(Ordering::Relaxed);
            still = if now == last { still + 1 } else { 0 };
            last = now;
            if still >= 20 {
                Ok(now)
            } else {
                Err(format!("{now} bytes were taken"))
            }
        })
        .await;
        assert!(stopped <= MOST, "{stopped} bytes are on the way");
        let mut read = 0;
        while read <= stopped {
            read += answer.next().await.unwrap().unwrap().len() as u64;
        }
        eventually("the writer goes on", Duration::from_secs(30), async || {
            let now = taken.load(Ordering::Relaxed);
            if now > stopped {
                Ok(())
            } else {
                Err(format!("{now} bytes were taken"))
            }
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn a_thousand_streams_are_open_at_once() {
    scope("thousand", async |scope| {
        let (client, plugin) = (client(), plugin(&scope).await);
        let open = (0..STREAMS).map(|number| {
            let (client, plugin) = (client.clone(), plugin.clone());
            async move {
                let (say, said) = mpsc::unbounded_channel();
                say.send(Ok::<_, std::io::Error>(format!("first {number}"))).unwrap();
                let body = Body::wrap_stream(UnboundedReceiverStream::new(said));
                let mut answer = echo(&client, &plugin, body).await.bytes_stream();
                let first = answer.next().await.unwrap().unwrap();
                assert_eq!(first, format!("first {number}").as_bytes());
                (number, say, answer)
            }
        });
        // Connections are made a few at a time; all of them stay.
        let open: Vec<_> = stream::iter(open).buffer_unordered(50).collect().await;
        assert_eq!(open.len(), STREAMS);
        let close = open.into_iter().map(|(number, say, mut answer)| async move {
            say.send(Ok(format!("last {number}"))).unwrap();
            drop(say);
            assert_eq!(
                answer.next().await.unwrap().unwrap(),
                format!("last {number}").as_bytes()
            );
            assert!(answer.next().await.is_none());
        });
        future::join_all(close).await;
    })
    .await;
}
