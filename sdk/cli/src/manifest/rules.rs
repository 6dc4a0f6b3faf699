//! The rules of the CRD across fields, which are in the Common Expression Language, and the place at which one is broken.

use std::{
    cell::RefCell,
    collections::HashMap,
    rc::Rc,
    sync::{Arc, LazyLock, Mutex, PoisonError},
};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::ValidationRule;
use kube_cel::{
    KubeCelExt as _,
    cel::{
        Context, ExecutionError, Program, Value,
        extractors::This,
        objects::{Key as CelKey, Map},
    },
};
use regex::Regex;

use super::node::{Content, Node};

/// A rule that is broken, and the nearest place inside what it speaks of.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Broken {
    /// From the value that has the rule to the one at fault: names of fields, numbers of items.
    pub(super) steps: Vec<Step>,
    pub(super) message: String,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Step {
    Field(String),
    Item(usize),
}

/// Evaluates rules.
pub(super) struct Rules {
    context: Context<'static>,
}

thread_local! {
    /// The rules that were evaluated, each compiled once.
    static PROGRAMS: RefCell<HashMap<String, Option<Rc<Program>>>> = RefCell::default();
}

/// Nothing where the text is no rule.
fn program(rule: &str) -> Option<Rc<Program>> {
    PROGRAMS.with_borrow_mut(|programs| {
        if let Some(program) = programs.get(rule) {
            return program.clone();
        }
        let program = Program::compile(rule).ok().map(Rc::new);
        programs.insert(rule.to_owned(), program.clone());
        program
    })
}

impl Rules {
    pub(super) fn new() -> Self {
        let mut context = Context::default().with_all();
        context.add_function("matches", |This(text): This<Arc<String>>, pattern: Arc<String>| {
            PATTERNS.matches(&text, &pattern)
        });
        // The two that the rules use of what the interpreter does not have: the type of a value, and one name of a type.
        context.add_function("type", |value: Value| -> Result<Value, ExecutionError> {
            Ok(Value::from(match value {
                Value::Int(_) | Value::UInt(_) => "int",
                _ => "another",
            }))
        });
        context.add_variable_from_value("int", Value::from("int"));
        Self { context }
    }

    /// Those of `rules` that `node` breaks.
    pub(super) fn broken(&self, rules: &[ValidationRule], node: &Node) -> Vec<Broken> {
        if rules.is_empty() {
            return Vec::new();
        }
        let value = cel(node);
        let mut broken = Vec::new();
        for rule in rules {
            if !self.holds(&rule.rule, &value) {
                broken.push(Broken {
                    steps: self.narrowed(&rule.rule, node, &value),
                    message: rule.message.clone().unwrap_or_else(|| rule.rule.clone()),
                });
            }
        }
        broken
    }

    /// A rule that cannot be evaluated is broken, as it is to the API server.
    fn holds(&self, rule: &str, value: &Value) -> bool {
        let Some(program) = program(rule) else { return false };
        let mut scope = self.context.new_inner_scope();
        scope.add_variable_from_value("self", value.clone());
        matches!(program.execute(&scope), Ok(Value::Bool(true)))
    }

    /// The place at fault. A list that the rule speaks of is tried with each of its items alone, and as a whole list with
    /// ever more of them: the first that breaks the rule is the one.
    fn narrowed(&self, rule: &str, node: &Node, value: &Value) -> Vec<Step> {
        if let Content::List(items) = &node.content {
            let first = (1..=items.len()).find(|count| {
                let fewer: Vec<Value> = items.iter().take(*count).map(cel).collect();
                !self.holds(rule, &Value::List(Arc::new(fewer)))
            });
            return first.map(|count| Step::Item(count - 1)).into_iter().collect();
        }
        let mut narrowed = Vec::new();
        for path in mentioned(rule) {
            let Some(found) = path.iter().try_fold(node, |node, key| node.get(key)) else {
                continue;
            };
            let fields = || path.iter().map(|key| Step::Field((*key).to_owned()));
            match &found.content {
                Content::List(items) => {
                    if !self.holds(rule, &with(value, &path, Vec::new())) {
                        continue;
                    }
                    narrowed = fields().collect();
                    let alone = items
                        .iter()
                        .position(|item| !self.holds(rule, &with(value, &path, vec![cel(item)])));
                    narrowed.extend(alone.map(Step::Item));
                }
                Content::Text(_) if narrowed.is_empty() => narrowed = fields().collect(),
                _ => {}
            }
        }
        narrowed
    }
}

/// The regular expressions of the rules, each compiled once.
#[derive(Default)]
struct Patterns(Mutex<HashMap<String, Option<Regex>>>);

static PATTERNS: LazyLock<Patterns> = LazyLock::new(Patterns::default);

impl Patterns {
    fn matches(&self, text: &str, pattern: &str) -> Result<bool, ExecutionError> {
        let mut patterns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // In the API server's regular expressions a digit is one of ten; here it would be one of any script.
        let compile = || Regex::new(&pattern.replace(r"\d", "[0-9]")).ok();
        let compiled = patterns.entry(pattern.to_owned()).or_insert_with(compile);
        match compiled {
            Some(regex) => Ok(regex.is_match(text)),
            None => Err(ExecutionError::function_error("matches", "no regular expression")),
        }
    }
}

/// The fields that a rule speaks of, as paths from `self`, in its order.
fn mentioned(rule: &str) -> Vec<Vec<&str>> {
    let is_name = |character: char| character.is_ascii_alphanumeric();
    let after = rule.split("self.").skip(1);
    let paths = after.map(|rest| {
        let end = rest.find(|character| !is_name(character) && character != '.');
        let path = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
        // What is called is no field.
        let is_call = end.is_some_and(|end| rest.get(end..).is_some_and(|rest| rest.starts_with('(')));
        let mut keys: Vec<&str> = path.split('.').filter(|key| !key.is_empty()).collect();
        if is_call {
            keys.pop();
        }
        keys
    });
    paths.filter(|keys| !keys.is_empty()).collect()
}

/// `value` with these items in the place of the list at `path`.
fn with(value: &Value, path: &[&str], items: Vec<Value>) -> Value {
    let Some((key, rest)) = path.split_first() else {
        return Value::List(Arc::new(items));
    };
    let Value::Map(map) = value else { return value.clone() };
    let mut fields = map.map.as_ref().clone();
    let key = CelKey::from((*key).to_owned());
    if let Some(inner) = fields.get(&key) {
        let inner = with(inner, rest, items);
        fields.insert(key, inner);
    }
    Value::Map(Map { map: Arc::new(fields) })
}

/// What the API server gives to a rule: a field that is null is absent.
fn cel(node: &Node) -> Value {
    match &node.content {
        Content::Null => Value::Null,
        Content::Bool(value) => Value::Bool(*value),
        Content::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(number), _) => Value::Int(number),
            (None, Some(number)) => Value::Float(number),
            (None, None) => Value::Null,
        },
        Content::Text(text) => Value::from(text.as_str()),
        Content::List(items) => Value::List(Arc::new(items.iter().map(cel).collect())),
        Content::Map(entries) => {
            let fields = entries.iter().filter(|(_, value)| !value.is_null());
            let fields = fields.map(|(key, value)| (CelKey::from(key.name.clone()), cel(value)));
            Value::Map(Map {
                map: Arc::new(fields.collect()),
            })
        }
    }
}
