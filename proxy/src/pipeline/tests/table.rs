//! The whole table of routes, each with each method: who is asked what before anything is answered.

use super::{ends::ENDS, *};
use crate::{
    openapi,
    pipeline::route::{Needed, Row, TABLE},
};

const SESSION: &str = "/api/v1/session";

const METHODS: [&str; 10] = [
    "GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "TRACE", "CONNECT", "PROPFIND",
];

/// Each path of each route, with each method.
fn whole() -> impl Iterator<Item = (&'static Row, &'static str, String)> {
    let rows = TABLE
        .into_iter()
        .flat_map(|row| row.paths.iter().map(move |path| (row, path)));
    rows.flat_map(|(row, path)| {
        let path = path.filled("plugin_hello_greet", "hello", "costs/shop");
        METHODS.map(move |method| (row, method, path.clone()))
    })
}

fn is_open(row: &Row, method: &str) -> bool {
    row.is_open(&Method::from_bytes(method.as_bytes()).unwrap())
}

fn verb(row: &Row, method: &str) -> Result<Verb, &'static str> {
    row.verb(&Method::from_bytes(method.as_bytes()).unwrap())
}

#[tokio::test]
async fn pre_login_each_route_but_the_open_ones_is_401() {
    let asking = asking(Some(table()));
    let mut open = BTreeSet::new();
    for (row, method, path) in whole() {
        for (token, asked) in [("", vec![]), ("junk", vec!["who".to_owned()])] {
            let seen = asking.ask(method, &path, token, "").await;
            if is_open(row, method) {
                open.insert(path.clone());
                // To log in other things are wrong, which the tests of sessions have.
                let is_fine = matches!(seen.status, 200 | 405) || path == SESSION;
                assert!(is_fine, "{method} {path}: {}", seen.status);
                assert!(asking.asked().is_empty());
            } else {
                let expected = (401, "unauthenticated", asked);
                assert_eq!(
                    (seen.status, seen.slug(), asking.asked()),
                    expected,
                    "{method} {path} as {token:?}"
                );
            }
        }
    }
    let expected = [SESSION, "/healthz", "/openapi.json", "/readyz"];
    assert_eq!(open, expected.map(String::from).into());
}

#[tokio::test]
async fn no_rule_open_each_route_asks_for_the_right_that_the_table_says() {
    let asking = asking(Some(table()));
    for (row, method, path) in whole().filter(|(row, method, _)| !is_open(row, method)) {
        let what = format!("{method} {path}");
        let seen = asking.ask(method, &path, "stranger", "{}").await;
        let asked = asking.asked();
        assert_eq!(asked.first().map(String::as_str), Some("who"), "{what}");
        match (verb(row, method), row.right) {
            (Err(allow), _) => {
                assert_eq!((seen.status, asked.len()), (405, 1), "{what}");
                assert_eq!(seen.headers["allow"], allow, "{what}");
            }
            (Ok(verb), Needed::OfPlugin(part)) => {
                let question = format!("{part:?} {} hello", verb.as_str());
                assert_eq!((seen.status, &asked[1..]), (403, &[question][..]), "{what}");
            }
            (Ok(_), Needed::OfUrl) => assert_eq!((seen.status, &asked[1..]), (403, &[path][..]), "{what}"),
            // Of one's own session nobody else is asked.
            (Ok(_), Needed::Nothing) if path == SESSION => assert_eq!(asked.len(), 1, "{what}"),
            // What has no plugin in its path shows what the caller may see, which is nothing.
            (Ok(_), Needed::Nothing) => assert_eq!((seen.status, seen.body), (200, json!([])), "{what}"),
        }
    }
}

#[tokio::test]
async fn no_rule_open_each_list_asks_about_each_plugin_in_it() {
    let asking = asking(Some(table()));
    asking.ask("GET", "/api/v1/plugins/", "stranger", "").await;
    let mut expected = vec!["who".to_owned()];
    for part in ["Object", "Proxy"] {
        expected.extend(["full", "hello", "off", "wrecked", "young"].map(|name| format!("{part} get {name}")));
    }
    let mut asked = asking.asked();
    asked.sort();
    expected.sort();
    assert_eq!(asked, expected);
    asking.ask("GET", "/api/v1/plugins/tools", "stranger", "").await;
    assert_eq!(
        asking.asked(),
        ["who", "Tools create full", "Tools create hello"],
        "of those that serve tools"
    );
}

#[test]
fn each_refusal_of_a_documented_operation_is_documented() {
    let document = openapi::document();
    for &(method, path, _, _, status, slug) in ENDS {
        let Some(row) = NormalPath::parse(path)
            .ok()
            .and_then(|path| Route::below(&BasePath::default(), &path).row())
        else {
            continue;
        };
        if verb(row, method).is_err() {
            continue;
        }
        let item = &document["paths"][openapi::template(&row.paths[0])];
        let response = &item[method.to_ascii_lowercase()]["responses"][status.to_string()];
        let told = response["description"].as_str().unwrap_or_default();
        assert!(told.contains(&format!("`{slug}`")), "{method} {path}: {status} {slug}");
    }
}
