//! The document is one, and what is answered is as it says.

use http::Method;

use super::*;

fn about_login(row: &Row, method: &Method) -> bool {
    row.paths[0].literal == "/api/v1/session" && method == Method::POST
}

#[test]
fn it_is_made_of_every_row_and_says_of_each_whether_it_is_open() {
    let document = document();
    let mut ids = Vec::new();
    for row in TABLE {
        let item = &document["paths"][template(&row.paths[0])];
        for (method, _) in row.methods() {
            let operation = &item[method.as_str().to_ascii_lowercase()];
            ids.push(operation["operationId"].as_str().unwrap().to_owned());
            let open = operation["security"].as_array().unwrap().is_empty();
            assert_eq!(open, row.is_open(method), "{method} {}", row.paths[0].literal);
            // Of what is open only logging in knows who is refused.
            assert_eq!(
                operation["responses"].get("401").is_some(),
                !open || about_login(row, method)
            );
        }
    }
    let all = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), all, "two operations have one name");
}

#[test]
fn no_problem_of_an_operation_is_misspelt() {
    let known: Vec<&str> = problem::Kind::ALL.iter().map(|kind| kind.slug()).collect();
    for row in TABLE {
        for of in row.operations {
            for slug in of.about.problems {
                assert!(known.contains(slug), "{slug} is no type of problem");
            }
            if let crate::pipeline::route::Content::Json(_, example) = of.about.body {
                serde_json::from_str::<Value>(example).unwrap();
            }
        }
    }
}

#[test]
fn every_reference_leads_somewhere() {
    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                found.extend(fields.get("$ref").and_then(Value::as_str).map(ToOwned::to_owned));
                fields.values().for_each(|value| references(value, found));
            }
            Value::Array(items) => items.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }
    let document = document();
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(!found.is_empty());
    for reference in found {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
}

#[test]
fn whoever_has_it_is_not_sent_it_again() {
    let asked = |known: Option<&str>| {
        let mut headers = HeaderMap::new();
        if let Some(known) = known {
            headers.insert(header::IF_NONE_MATCH, HeaderValue::from_str(known).unwrap());
        }
        answer(&headers)
    };
    let tag = asked(None).headers()[header::ETAG].to_str().unwrap().to_owned();
    for (known, status) in [
        (None, 200),
        (Some("\"other\""), 200),
        (Some(tag.as_str()), 304),
        (Some(format!("\"other\", W/{tag}").as_str()), 304),
        (Some("*"), 304),
    ] {
        let answer = asked(known);
        assert_eq!(answer.status(), status, "{known:?}");
        assert_eq!(answer.headers()[header::ETAG], tag);
    }
}
