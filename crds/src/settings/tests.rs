use proptest::prelude::*;
use serde_json::json;

use super::*;

fn map(value: Value) -> Option<Map<String, Value>> {
    match value {
        Value::Object(fields) => Some(fields),
        _ => None,
    }
}

fn given(schema: Value, settings: Value, secret: FromSecret<'_>) -> Result<Value, SettingsError> {
    let whole = effective(map(schema).as_ref(), map(settings).as_ref(), secret)?;
    Ok(serde_json::from_slice(&whole.into_json()).unwrap())
}

fn checked(schema: Value, settings: Value, has_secret: bool) -> Result<(), String> {
    let secret = if has_secret {
        FromSecret::Unknown
    } else {
        FromSecret::Nothing
    };
    let whole = given(schema, settings, secret);
    whole.map(drop).map_err(|error| error.to_string())
}

fn data(entries: &[(&str, &str)]) -> BTreeMap<String, ByteString> {
    let entries = entries.iter();
    entries
        .map(|(key, text)| ((*key).to_owned(), ByteString(text.as_bytes().to_vec())))
        .collect()
}

fn schema() -> Value {
    json!({
        "type": "object", "required": ["currency"], "additionalProperties": false,
        "properties": {
            "currency": {"enum": ["EUR", "USD"]},
            "price": {"type": "number", "minimum": 0},
            "token": {"type": "string"},
        },
    })
}

#[test]
fn settings_that_hold_are_accepted() {
    assert_eq!(
        checked(schema(), json!({"currency": "EUR", "price": 0.5}), false),
        Ok(())
    );
    assert_eq!(checked(Value::Null, json!({"a": 1}), false), Ok(()), "without a schema");
    assert_eq!(checked(json!({}), Value::Null, false), Ok(()), "without settings");
}

#[test]
fn each_violation_is_told_with_its_place_and_without_the_value() {
    let error = checked(schema(), json!({"currency": "hunter2", "price": -1}), false).unwrap_err();
    assert!(error.contains("/currency: "), "{error}");
    assert!(error.contains("\"EUR\""), "{error}");
    assert!(error.contains("/price: "), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
}

#[test]
fn what_is_missing_may_stand_in_a_secret_that_is_not_known() {
    assert!(
        checked(schema(), json!({}), false)
            .unwrap_err()
            .contains("\"currency\"")
    );
    assert_eq!(checked(schema(), json!({}), true), Ok(()));
    assert!(checked(schema(), json!({"price": -1}), true).is_err());
}

#[test]
fn a_schema_is_refused_for_each_of_its_reasons() {
    let refused = |schema: Value| checked(schema, json!({}), false).unwrap_err();
    assert!(refused(json!({"type": "text"})).contains("not a JSON Schema"));
    assert!(refused(json!({"pattern": "("})).contains("not a JSON Schema"));
    assert!(refused(json!({"$ref": "https://example.com/schema"})).contains("outside itself"));
    assert!(refused(json!({"description": "a".repeat(MAX_SCHEMA)})).contains("bytes"));
}

#[test]
fn settings_have_an_end() {
    let long = checked(Value::Null, json!({"a": "a".repeat(MAX_SETTINGS)}), false).unwrap_err();
    assert!(long.contains("the limit is 65536"), "{long}");
    let large = data(&[("a", &"a".repeat(MAX_WHOLE))]);
    assert_eq!(
        given(Value::Null, Value::Null, FromSecret::Known(&large)),
        Err(SettingsError::Whole)
    );
    // Small settings and a small schema that are large together.
    let schema = json!({"properties": {"a": {"items": {"properties": {"b": {"default": "b".repeat(30_000)}}}}}});
    let settings = json!({"a": vec![json!({}); 1000]});
    assert_eq!(given(schema, settings, FromSecret::Nothing), Err(SettingsError::Whole));
}

#[test]
fn defaults_stand_where_nothing_is_said() {
    let schema = json!({
        "required": ["greeting"],
        "properties": {
            "greeting": {"type": "string", "default": "Hello"},
            "price": {"$ref": "#/$defs/price"},
            "rows": {"items": {"properties": {"unit": {"default": "h"}}}},
            "box": {"properties": {"inside": {"default": 1}}},
            "other": {"default": {}, "properties": {"inside": {"default": 2}}},
            "null": {"default": 3},
        },
        "$defs": {"price": {"type": "number", "default": 0.5}},
    });
    let settings = json!({"rows": [{}, {"unit": "d"}, 7], "null": null});
    assert_eq!(
        given(schema, settings, FromSecret::Nothing).unwrap(),
        json!({
            "greeting": "Hello", "price": 0.5, "rows": [{"unit": "h"}, {"unit": "d"}, 7], "other": {"inside": 2}, "null": null,
        })
    );
}

#[test]
fn a_default_that_does_not_fit_is_told() {
    let schema = json!({"properties": {"a": {"type": "number", "default": "one"}}});
    let error = checked(schema, json!({}), false).unwrap_err();
    assert!(error.contains("/a: "), "{error}");
}

#[test]
fn what_is_in_the_secret_wins_and_has_the_type_that_the_schema_says() {
    let schema = json!({"properties": {
        "token": {"type": "string"}, "port": {"type": "integer"}, "tls": {"type": "object"}, "any": {}, "both": {"type": ["string", "integer"]},
    }});
    let secret = data(&[
        ("token", "1"),
        ("port", "8080"),
        ("tls", r#"{"on": true}"#),
        ("any", "2"),
        ("both", "3"),
        ("unknown", "4"),
    ]);
    assert_eq!(
        given(schema, json!({"token": "none", "kept": 1}), FromSecret::Known(&secret)).unwrap(),
        json!({"token": "1", "port": 8080, "tls": {"on": true}, "any": "2", "both": "3", "unknown": "4", "kept": 1})
    );
}

#[test]
fn what_is_wrong_in_the_secret_is_told_by_its_key_alone() {
    let schema = json!({"properties": {
        "port": {"type": "integer"}, "level": {"type": "string", "maxLength": 3}, "tls": {"type": "object", "additionalProperties": false},
    }});
    let error = |key: &str, text: &str| {
        let secret = data(&[(key, text)]);
        let error = given(schema.clone(), json!({}), FromSecret::Known(&secret)).unwrap_err();
        let text = error.to_string();
        assert!(text.contains(key) && !text.contains("hunter2"), "{text}");
        error
    };
    assert!(matches!(error("port", "hunter2"), SettingsError::Secret(_)));
    assert!(matches!(error("level", "hunter2"), SettingsError::Violation(_)));
    assert!(matches!(error("tls", r#"{"hunter2": 1}"#), SettingsError::Violation(_)));
    let secret = BTreeMap::from([(String::from("key"), ByteString(vec![0xff]))]);
    let error = given(schema.clone(), json!({}), FromSecret::Known(&secret)).unwrap_err();
    assert!(error.to_string().contains("\"key\" is not UTF-8"), "{error}");
    let deep = data(&[("tls", &format!("{}1{}", r#"{"a":"#.repeat(32), "}".repeat(32)))]);
    let schema = json!({"properties": {"tls": {"type": "object"}}});
    let error = given(schema, json!({}), FromSecret::Known(&deep)).unwrap_err();
    assert!(matches!(error, SettingsError::Json(_)), "{error}");
}

#[test]
fn settings_show_nothing_of_what_they_are() {
    let whole = effective(None, map(json!({"token": "hunter2"})).as_ref(), FromSecret::Nothing);
    assert_eq!(format!("{whole:?}"), "Ok(settings of 19 bytes)");
}

#[test]
fn regex_bomb_a_pattern_made_to_be_large_is_refused() {
    let schema = json!({"properties": {"a": {"pattern": "((a{100}){100}){100}"}}});
    assert!(
        checked(schema, json!({}), false)
            .unwrap_err()
            .contains("not a JSON Schema")
    );
    let words = json!({"properties": {"a": {"pattern": "^[\\w-]+( \\d{1,20})?$"}}});
    assert_eq!(checked(words, json!({"a": "size 12"}), false), Ok(()));
}

#[test]
fn regex_bomb_a_pattern_made_to_be_slow_is_not() {
    let schema = json!({"properties": {"a": {"type": "string", "pattern": "^(a+)+$"}}});
    let settings = json!({"a": format!("{}b", "a".repeat(50_000))});
    let began = std::time::Instant::now();
    assert!(checked(schema, settings, false).is_err());
    assert!(
        began.elapsed() < std::time::Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
}

fn object() -> impl Strategy<Value = Map<String, Value>> {
    prop::collection::btree_map("[a-d]", any::<u8>().prop_map(Value::from), 0..4)
        .prop_map(|fields| fields.into_iter().collect())
}

proptest! {
    #[test]
    fn each_setting_comes_from_the_first_that_says_it(settings in object(), secret in object(), defaults in object()) {
        let properties: Map<String, Value> = ["a", "b", "c", "d"]
            .iter()
            .map(|name| {
                let mut property = json!({"type": "integer"});
                if let Some(default) = defaults.get(*name) {
                    property["default"] = default.clone();
                }
                ((*name).to_owned(), property)
            })
            .collect();
        let data = secret.iter().map(|(key, value)| (key.clone(), ByteString(value.to_string().into_bytes()))).collect();
        let schema = json!({"properties": properties});
        let whole = given(schema.clone(), Value::Object(settings.clone()), FromSecret::Known(&data)).unwrap();
        for name in ["a", "b", "c", "d"] {
            let first = secret.get(name).or_else(|| settings.get(name)).or_else(|| defaults.get(name));
            prop_assert_eq!(whole.get(name), first);
        }
        prop_assert_eq!(given(schema, whole.clone(), FromSecret::Nothing).unwrap(), whole);
    }
}
