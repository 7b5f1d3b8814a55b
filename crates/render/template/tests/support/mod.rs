//! The same functions and types as the oracle has (`oracle/template`), and the talk with it.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use roadstead_template::{
    Call, Callee, Error, Field, FuncError, Function, Functions, Int, IntKind, Kind, Limits, List,
    Machine, Map, Method, MissingKey, Nowhere, Object, Scope, Set, Signature, Str, TemplateCall,
    TextCache, Type, Underlying, Unit, Value, fmt,
};
use serde_json::{Value as Json, json};

type Result<T> = std::result::Result<T, FuncError>;

/// The pointed-to struct of the oracle.
pub(crate) struct Boxed {
    pointer: bool,
    nil: bool,
    name: String,
    count: i64,
    any: Value,
    inner: Option<String>,
    note: &'static str,
}

fn boxed(value: &Value) -> Result<&Boxed> {
    value.downcast().ok_or_else(|| FuncError::new("no box"))
}

fn number(value: &Value) -> i64 {
    match value {
        Value::Int(int) => int.as_i64(),
        _ => 0,
    }
}

fn text(value: &Value) -> Str {
    value.as_str().cloned().unwrap_or_default()
}

fn joined(parts: &[Value], separator: &[u8]) -> Vec<u8> {
    let parts: Vec<Str> = parts.iter().map(text).collect();
    parts
        .iter()
        .map(|part| part.as_bytes())
        .collect::<Vec<_>>()
        .join(separator)
}

const SUM: Method = Method {
    name: "Sum",
    signature: Signature::fixed(&[Type::INT, Type::Float64]),
    call: |receiver, _, args| {
        let a = number(&args[0]);
        if a < 0 {
            return Err(FuncError::new("negative"));
        }
        let Value::Float(f) = args[1] else {
            return Err(FuncError::new("no float"));
        };
        Ok(Value::Float((boxed(receiver)?.count + a) as f64 + f))
    },
};

const BOX_METHODS: &[Method] = &[
    SUM,
    Method {
        name: "Join",
        signature: Signature::variadic(&[Type::Str, Type::Str]),
        call: |receiver, _, args| {
            let mut out = boxed(receiver)?.name.clone().into_bytes();
            out.extend_from_slice(&text(&args[0]));
            out.extend(joined(&args[1..], &text(&args[0])));
            Ok(Value::str(out))
        },
    },
    Method {
        name: "Plain",
        signature: Signature::fixed(&[]),
        call: |receiver, _, _| Ok(Value::str(format!("plain {}", boxed(receiver)?.name))),
    },
];

impl Object for Boxed {
    fn type_name(&self) -> &'static str {
        if self.pointer {
            "*main.Box"
        } else {
            "main.Box"
        }
    }
    fn underlying(&self) -> Underlying {
        let inner = Value::object(Boxed {
            pointer: true,
            nil: self.inner.is_none(),
            name: self.inner.clone().unwrap_or_default(),
            count: 0,
            any: Value::Nil,
            inner: None,
            note: "",
        });
        // fields of a struct in a struct without end are of no use
        let inner = if self.nil { Value::Nil } else { inner };
        Underlying::Struct(vec![
            Field::new("Name", Value::str(self.name.clone())),
            Field::new("Count", Value::int(self.count)),
            Field::any("Any", self.any.clone()),
            Field::new("Inner", inner),
            Field::hidden("note", Value::str(self.note)),
        ])
    }
    fn as_any(&self) -> &dyn std::any::Any {
        self
    }
    fn methods(&self) -> &'static [Method] {
        if self.pointer { BOX_METHODS } else { &[SUM] }
    }
    fn is_nil(&self) -> bool {
        self.nil
    }
}

/// Objects that are little more than a name, something inside and a text.
pub(crate) struct Plain {
    name: &'static str,
    what: Underlying,
    text: Option<String>,
    error: bool,
    function: Option<Method>,
}

impl Object for Plain {
    fn type_name(&self) -> &'static str {
        self.name
    }
    fn underlying(&self) -> Underlying {
        self.what.clone()
    }
    fn as_any(&self) -> &dyn std::any::Any {
        self
    }
    fn string(&self) -> Option<Cow<'_, str>> {
        self.text.as_deref().map(Cow::Borrowed)
    }
    fn is_error(&self) -> bool {
        self.error
    }
    fn function(&self) -> Option<Method> {
        self.function
    }
    fn equals(&self, other: &dyn Object) -> Option<bool> {
        let other = other.as_any().downcast_ref::<Plain>()?;
        Some(self.text == other.text && self.kind() != Kind::Pointer)
    }
}

fn plain(name: &'static str, what: Underlying, text: Option<String>) -> Value {
    Value::object(Plain {
        name,
        what,
        text,
        error: false,
        function: None,
    })
}

const LUCKY: Method = Method {
    name: "func",
    signature: Signature::variadic(&[Type::INT, Type::Str]),
    call: |_, _, args| {
        if number(&args[0]) == 13 {
            return Err(FuncError::new("unlucky"));
        }
        let rest = Value::strings(args[1..].iter().map(text));
        Ok(Value::str(fmt::sprint(&[args[0].clone(), rest])?))
    },
};

const VALUES: Type = Type::Named("main.Values", &Type::DICT);
const VALUES_METHODS: &[Method] = &[Method {
    name: "Get",
    signature: Signature::fixed(&[Type::Str]),
    call: |receiver, _, args| {
        let map = receiver.as_map().unwrap_or_default();
        Ok(map.get(&text(&args[0])).unwrap_or(Value::Nil))
    },
}];

/// The value that the oracle makes of the same JSON.
pub(crate) fn value(json: &Json) -> Value {
    match json {
        Json::Null => Value::Nil,
        Json::Bool(value) => Value::Bool(*value),
        Json::Number(number) => Value::Float(number.as_f64().expect("a number")),
        Json::String(text) => Value::str(text.as_str()),
        Json::Array(items) => Value::list(items.iter().map(value).collect()),
        Json::Object(entries) => match entries.get("$").and_then(Json::as_str) {
            None => Value::dict(
                entries
                    .iter()
                    .map(|(key, item)| (key.as_str(), value(item))),
            ),
            Some(kind) => typed(kind, entries.get("v").unwrap_or(&Json::Null)),
        },
    }
}

fn typed(kind: &str, v: &Json) -> Value {
    let string = || v.as_str().expect("a string");
    let int = |kind| {
        let number: i128 = string().parse().expect("an integer");
        Value::Int(Int::new(kind, number as i64))
    };
    let float = |json: &Json| json.as_f64().expect("a number");
    match kind {
        "int" => int(IntKind::Int),
        "int8" => int(IntKind::Int8),
        "int16" => int(IntKind::Int16),
        "int32" => int(IntKind::Int32),
        "int64" => int(IntKind::Int64),
        "uint" => int(IntKind::Uint),
        "uint8" => int(IntKind::Uint8),
        "uint16" => int(IntKind::Uint16),
        "uint32" => int(IntKind::Uint32),
        "uint64" => int(IntKind::Uint64),
        "float" => Value::Float(f64::from_bits(
            u64::from_str_radix(string(), 16).expect("bits"),
        )),
        "complex" => Value::Complex(float(&v[0]), float(&v[1])),
        "str" => Value::str(decode(string())),
        "bytes" => Value::List(List::bytes(decode(string()).into())),
        "strings" => Value::strings(
            v.as_array()
                .expect("list")
                .iter()
                .map(|item| item.as_str().expect("string")),
        ),
        "ints" => Value::List(List::typed(
            Type::Slice(&Type::INT),
            v.as_array()
                .expect("list")
                .iter()
                .map(|item| Value::int(float(item) as i64))
                .collect(),
        )),
        "nillist" => Value::List(List::nil(Type::LIST)),
        "nilstrings" => Value::List(List::nil(Type::STRINGS)),
        "nilmap" => Value::Map(Map::nil(Type::DICT)),
        "labels" => {
            let entries = v.as_object().expect("map").iter();
            let entries = entries
                .map(|(key, item)| (Str::from(key.as_str()), value(item)))
                .collect();
            Value::Map(Map::typed(Type::Map(&Type::Str), entries))
        }
        "values" => {
            let entries: BTreeMap<Str, Value> = value(v)
                .as_map()
                .expect("map")
                .entries()
                .into_iter()
                .collect();
            Value::Map(Map::with_methods(VALUES, VALUES_METHODS, entries))
        }
        "box" | "boxvalue" | "nilbox" => Value::object(Boxed {
            pointer: kind != "boxvalue",
            nil: kind == "nilbox",
            name: v["name"].as_str().unwrap_or_default().to_owned(),
            count: v["count"].as_f64().unwrap_or_default() as i64,
            any: value(&v["any"]),
            inner: v["inner"]
                .as_str()
                .filter(|_| kind == "box")
                .map(str::to_owned),
            note: "hidden",
        }),
        "named" => plain(
            "*main.Named",
            Underlying::Struct(vec![
                Field::new("Major", Value::int(1)),
                Field::new("Minor", Value::int(2)),
            ]),
            Some("v1.2".to_owned()),
        ),
        "level" => {
            let level: i64 = string().parse().expect("an integer");
            plain(
                "main.Level",
                Underlying::Int(Int::new(IntKind::Int, level)),
                Some(format!("level-{level}")),
            )
        }
        "duration" => {
            let nanos: i64 = string().parse().expect("an integer");
            // the tests keep to whole seconds
            let text = format!("{}s", nanos / 1_000_000_000);
            plain(
                "time.Duration",
                Underlying::Int(Int::new(IntKind::Int64, nanos)),
                Some(text),
            )
        }
        "error" => Value::object(Plain {
            name: "*errors.errorString",
            what: Underlying::Struct(vec![Field::hidden("s", Value::str(string()))]),
            text: Some(string().to_owned()),
            error: true,
            function: None,
        }),
        "func" => Value::object(Plain {
            name: "func(int, ...string) (string, error)",
            what: Underlying::Func,
            text: None,
            error: false,
            function: Some(LUCKY),
        }),
        other => panic!("unknown type {other}"),
    }
}

fn include(_: &mut Call<'_>, args: &[Value]) -> Result<TemplateCall> {
    Ok(TemplateCall {
        what: Callee::Name(text(&args[0])),
        data: args[1].clone(),
        then: None,
    })
}

fn tpl(_: &mut Call<'_>, args: &[Value]) -> Result<TemplateCall> {
    let what = Callee::Text {
        name: Str::from_static("tpl"),
        text: text(&args[0]),
    };
    Ok(TemplateCall {
        what,
        data: args[1].clone(),
        then: None,
    })
}

/// The functions of the oracle.
pub(crate) fn functions() -> Arc<Functions> {
    const ANY: Signature = Signature::variadic(&[Type::Any]);
    const STRING: Signature = Signature::fixed(&[Type::Str]);
    let pure = Function::pure;
    Arc::new(Functions::new([
        pure("upper", STRING, |_, args| {
            Ok(Value::str(text(&args[0]).to_text().to_uppercase()))
        }),
        pure("trim", STRING, |_, args| {
            Ok(Value::str(text(&args[0]).to_text().trim()))
        }),
        pure(
            "repeat",
            Signature::fixed(&[Type::INT, Type::Str]),
            |_, args| match usize::try_from(number(&args[0])) {
                Ok(count) => Ok(Value::str(text(&args[1]).repeat(count))),
                Err(_) => Err(FuncError::new("strings: negative Repeat count")),
            },
        ),
        pure("list", ANY, |_, args| Ok(Value::list(args.to_vec()))),
        pure("strs", Signature::variadic(&[Type::Str]), |_, args| {
            Ok(Value::strings(args.iter().map(text)))
        }),
        pure("typeOf", Signature::fixed(&[Type::Any]), |_, args| {
            Ok(Value::str(args[0].type_name().into_owned()))
        }),
        pure("ident", Signature::fixed(&[Type::Any]), |_, args| {
            Ok(args[0].clone())
        }),
        pure("nothing", Signature::fixed(&[]), |_, _| Ok(Value::Nil)),
        pure("boom", Signature::fixed(&[]), |_, _| {
            Err(FuncError::new("boom"))
        }),
        pure("fail", STRING, |_, args| {
            Err(FuncError::new(text(&args[0]).to_text()))
        }),
        pure(
            "add",
            Signature::fixed(&[Type::INT64, Type::INT64]),
            |_, args| {
                Ok(Value::int64(
                    number(&args[0]).wrapping_add(number(&args[1])),
                ))
            },
        ),
        pure(
            "half",
            Signature::fixed(&[Type::Float64]),
            |_, args| match args[0] {
                Value::Float(value) => Ok(Value::Float(value / 2.0)),
                _ => Err(FuncError::new("no float")),
            },
        ),
        pure("flag", Signature::fixed(&[Type::Bool]), |_, args| {
            Ok(Value::str(format!("flag-{}", args[0].truth())))
        }),
        pure("byte", Signature::fixed(&[Type::UINT8]), |_, args| {
            Ok(args[0].clone())
        }),
        pure(
            "wide",
            Signature::fixed(&[Type::Int(IntKind::Uint32), Type::Int(IntKind::Int8)]),
            |_, args| {
                Ok(Value::str(format!(
                    "{} {}",
                    number(&args[0]),
                    number(&args[1])
                )))
            },
        ),
        pure(
            "joinAll",
            Signature::variadic(&[Type::Str, Type::Str]),
            |_, args| Ok(Value::str(joined(&args[1..], &text(&args[0])))),
        ),
        pure("count", Signature::fixed(&[Type::DICT]), |_, args| {
            Ok(Value::int(
                args[0].as_map().map_or(0, |map| map.len()) as i64
            ))
        }),
        pure("size", Signature::fixed(&[Type::LIST]), |_, args| {
            Ok(Value::int(
                args[0].as_list().map_or(0, |list| list.len()) as i64
            ))
        }),
        pure("names", Signature::fixed(&[Type::STRINGS]), |_, args| {
            let list = args[0]
                .as_list()
                .unwrap_or_else(|| List::nil(Type::STRINGS));
            Ok(Value::str(joined(&list.items(), b"+")))
        }),
        pure(
            "boxed",
            Signature::fixed(&[Type::Object("*main.Box")]),
            |_, args| match boxed(&args[0]) {
                Ok(inner) if !inner.nil => Ok(Value::str(format!("boxed {}", inner.name))),
                _ => Err(FuncError::new(
                    "runtime error: invalid memory address or nil pointer dereference",
                )),
            },
        ),
        pure(
            "opened",
            Signature::fixed(&[Type::Object("main.Box")]),
            |_, args| Ok(Value::str(format!("opened {}", boxed(&args[0])?.name))),
        ),
        pure(
            "later",
            Signature::fixed(&[Type::Object("time.Duration")]),
            |_, args| {
                let Value::Object(object) = &args[0] else {
                    return Err(FuncError::new("no duration"));
                };
                let Underlying::Int(nanos) = object.underlying() else {
                    return Err(FuncError::new("no duration"));
                };
                Ok(Value::str(format!("{}s", nanos.as_i64() / 500_000_000)))
            },
        ),
        pure(
            "message",
            Signature::fixed(&[Type::Object("error")]),
            |_, args| match &args[0] {
                Value::Object(object) => {
                    Ok(Value::str(object.string().unwrap_or_default().into_owned()))
                }
                _ => Err(FuncError::new(
                    "runtime error: invalid memory address or nil pointer dereference",
                )),
            },
        ),
        pure("dict", ANY, |_, args| {
            let map = Map::new();
            for pair in args.chunks_exact(2) {
                let _ = map.insert(fmt::sprint(&pair[..1])?, pair[1].clone());
            }
            Ok(Value::Map(map))
        }),
        pure(
            "set",
            Signature::fixed(&[Type::DICT, Type::Str, Type::Any]),
            |_, args| {
                let map = args[0].as_map().unwrap_or_default();
                if !map.insert(text(&args[1]), args[2].clone()) {
                    return Err(FuncError::new("assignment to entry in nil map"));
                }
                Ok(args[0].clone())
            },
        ),
        Function::template(
            "include",
            Signature::fixed(&[Type::Str, Type::Any]),
            include,
        ),
        Function::template("tpl", Signature::fixed(&[Type::Str, Type::Any]), tpl),
    ]))
}

pub(crate) fn decode(text: &str) -> Vec<u8> {
    STANDARD.decode(text).expect("base64")
}

pub(crate) fn encode(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// What this crate makes of a request to the oracle: the output, or the text of the error.
pub(crate) fn render(request: &Json) -> std::result::Result<Vec<u8>, Box<Error>> {
    render_within(request, Limits::default())
}

pub(crate) fn render_within(
    request: &Json,
    limits: Limits,
) -> std::result::Result<Vec<u8>, Box<Error>> {
    let functions = functions();
    let missing = match request["missingkey"].as_str() {
        Some("zero") => MissingKey::Zero,
        Some("error") => MissingKey::Error,
        _ => MissingKey::Default,
    };
    let mut set = Set::new(&functions)
        .with_missing_key(missing)
        .with_name("base");
    for file in request["files"].as_array().expect("files") {
        let (name, text) = (
            file["name"].as_str().expect("name"),
            file["text"].as_str().expect("text"),
        );
        set.add(&Arc::new(Unit::parse(name, text, &functions)?));
    }
    let _scope = Scope::enter();
    let (mut host, cache) = (Nowhere, TextCache::default());
    let data = value(&request["data"]);
    Machine::new(&set, &mut host, limits, &cache)
        .execute(request["execute"].as_str().expect("name"), data)
}

/// A request with one file.
pub(crate) fn one(text: &str, data: &Json) -> Json {
    json!({"files": [{"name": "t", "text": text}], "execute": "t", "missingkey": "zero", "data": data})
}

/// The built oracle, if `ORACLE_TEMPLATE` names it.
pub(crate) fn oracle() -> Option<String> {
    std::env::var("ORACLE_TEMPLATE").ok()
}

/// What Go said: the output or the error's text, either in bytes.
pub(crate) type Answer = std::result::Result<Vec<u8>, Vec<u8>>;

/// Asks the oracle.
pub(crate) fn ask(program: &str, requests: &[Json]) -> Vec<Answer> {
    let mut child = Command::new(program)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the oracle starts");
    let mut input = child.stdin.take().expect("piped");
    let text: String = requests
        .iter()
        .map(|request| format!("{request}\n"))
        .collect();
    let writer = std::thread::spawn(move || input.write_all(text.as_bytes()));
    let output = child.wait_with_output().expect("the oracle ends");
    let _ = writer.join().expect("writer");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let answers: Vec<Answer> = text
        .lines()
        .map(|line| {
            let answer: Json = serde_json::from_str(line).expect(line);
            match answer["error"].as_str() {
                Some(error) => Err(decode(error)),
                None => Ok(decode(answer["out"].as_str().expect("out"))),
            }
        })
        .collect();
    let missing = requests.get(answers.len());
    assert!(missing.is_none(), "the oracle fell silent at {missing:?}");
    answers
}

/// Whether both say the same. Errors of ours are text, so bytes that are none are compared as U+FFFD.
pub(crate) fn same(ours: &std::result::Result<Vec<u8>, Box<Error>>, theirs: &Answer) -> bool {
    match (ours, theirs) {
        (Ok(ours), Ok(theirs)) => ours == theirs,
        (Err(ours), Err(theirs)) => ours.go() == String::from_utf8_lossy(theirs),
        _ => false,
    }
}

/// Both answers, to be read.
pub(crate) fn difference(
    request: &Json,
    ours: &std::result::Result<Vec<u8>, Box<Error>>,
    theirs: &Answer,
) -> String {
    let show = |bytes: &[u8]| format!("{:?}", String::from_utf8_lossy(bytes));
    let ours = match ours {
        Ok(out) => format!("out {}", show(out)),
        Err(error) => format!("error {:?}", error.go()),
    };
    let theirs = match theirs {
        Ok(out) => format!("out {}", show(out)),
        Err(error) => format!("error {}", show(error)),
    };
    format!("{request}\n  Go:   {theirs}\n  ours: {ours}")
}
