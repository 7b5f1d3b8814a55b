//! How fast templates are compiled and executed, in time on the processor: others may use the machine meanwhile.
//!
//! Compiling is measured over all templates of the charts below `ROADSTEAD_CORPUS` (or `../shared/corpus` beside the
//! repository), if there are any.

use std::collections::BTreeSet;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use roadstead_template::{
    Callee, Function, Functions, Limits, Machine, MissingKey, Nowhere, Scope, Set, Signature, Str,
    TemplateCall, TextCache, Type, Unit, Value,
};

/// The time that this thread was running, as Linux tells it.
struct ProcessorTime;

impl Measurement for ProcessorTime {
    type Intermediate = Option<u64>;
    type Value = Duration;

    fn start(&self) -> Option<u64> {
        running()
    }
    fn end(&self, start: Option<u64>) -> Duration {
        let end = running().zip(start).map(|(end, start)| end - start);
        Duration::from_nanos(end.expect("/proc/thread-self/schedstat"))
    }
    fn add(&self, a: &Duration, b: &Duration) -> Duration {
        *a + *b
    }
    fn zero(&self) -> Duration {
        Duration::ZERO
    }
    fn to_f64(&self, value: &Duration) -> f64 {
        value.as_nanos() as f64
    }
    fn formatter(&self) -> &dyn ValueFormatter {
        WallTime.formatter()
    }
}

fn running() -> Option<u64> {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    stat.split(' ').next()?.parse().ok()
}

fn corpus() -> Vec<(PathBuf, Vec<u8>)> {
    let root = std::env::var("ROADSTEAD_CORPUS").map_or_else(
        |_| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../../../shared/corpus"),
        PathBuf::from,
    );
    let (mut files, mut folders) = (Vec::new(), vec![root.join("charts")]);
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(folder)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path())
        {
            if path.is_dir() {
                folders.push(path);
            } else if path.iter().any(|part| part == "templates")
                && path.extension().is_some_and(|end| {
                    ["yaml", "yml", "tpl", "txt"]
                        .iter()
                        .any(|other| end == *other)
                })
                && let Ok(text) = std::fs::read(&path)
            {
                files.push((path, text));
            }
        }
    }
    files.sort();
    files
}

/// A table that knows every name that the files call.
fn functions_of(files: &[(PathBuf, Vec<u8>)]) -> Arc<Functions> {
    let mut names: BTreeSet<&'static str> = BTreeSet::new();
    loop {
        let rows = names
            .iter()
            .map(|name| Function::pure(name, ANY, |_, _| Ok(Value::Nil)));
        let functions = Arc::new(Functions::new(rows));
        let before = names.len();
        for (path, text) in files {
            if let Err(error) = Unit::parse("t", text.clone(), &functions) {
                let unknown = error.message().strip_prefix("function \"");
                match unknown.and_then(|rest| rest.split('"').next()) {
                    Some(name) => {
                        names.insert(name.to_owned().leak());
                    }
                    None => eprintln!("{}: {error}", path.display()),
                }
            }
        }
        if names.len() == before {
            return functions;
        }
    }
}

const ANY: Signature = Signature::variadic(&[Type::Any]);

fn compile(criterion: &mut Criterion<ProcessorTime>) {
    let files = corpus();
    if files.is_empty() {
        eprintln!("skipped: no corpus");
        return;
    }
    let functions = functions_of(&files);
    let bytes: usize = files.iter().map(|(_, text)| text.len()).sum();
    let texts: Vec<Str> = files
        .iter()
        .map(|(_, text)| Str::from(text.clone()))
        .collect();
    eprintln!("{} files, {bytes} bytes", files.len());
    let mut group = criterion.benchmark_group("compile");
    group
        .throughput(Throughput::Bytes(bytes as u64))
        .sample_size(10);
    group.bench_function("corpus", |bencher| {
        bencher.iter(|| {
            for text in &texts {
                black_box(Unit::parse("t", text.clone(), &functions).is_ok());
            }
        });
    });
    group.finish();
}

fn functions() -> Arc<Functions> {
    Arc::new(Functions::new([
        Function::pure("upper", Signature::fixed(&[Type::Str]), |_, args| {
            Ok(Value::str(
                args[0]
                    .as_str()
                    .map(|text| text.to_text().to_uppercase())
                    .unwrap_or_default(),
            ))
        }),
        Function::pure(
            "default",
            Signature::fixed(&[Type::Any, Type::Any]),
            |_, args| Ok(args[usize::from(args[1].truth())].clone()),
        ),
        Function::template(
            "include",
            Signature::fixed(&[Type::Str, Type::Any]),
            |_, args| {
                let name = args[0].as_str().cloned().unwrap_or_default();
                Ok(TemplateCall {
                    what: Callee::Name(name),
                    data: args[1].clone(),
                    then: None,
                })
            },
        ),
    ]))
}

fn data() -> Value {
    let values = Value::dict([
        ("name", Value::from("web")),
        ("replicas", Value::from(3.0)),
        ("enabled", Value::from(true)),
        (
            "image",
            Value::dict([
                ("repository", Value::from("docker.io/web")),
                ("tag", Value::from("1.2.3")),
            ]),
        ),
        (
            "labels",
            Value::dict((0..10).map(|n| (format!("label-{n}"), Value::from(format!("value-{n}"))))),
        ),
        (
            "ports",
            Value::list((0..10).map(|n| Value::from(f64::from(n))).collect()),
        ),
    ]);
    Value::dict([("Values", values)])
}

fn execute(criterion: &mut Criterion<ProcessorTime>) {
    let cases = [
        ("field", "{{ .Values.image.tag }}\n", 1),
        (
            "text_and_field",
            "image: {{ .Values.image.repository }}:{{ .Values.image.tag }}\n",
            2,
        ),
        ("number", "replicas: {{ .Values.replicas }}\n", 1),
        ("call", "{{ upper .Values.name }}\n", 1),
        ("pipe", "{{ .Values.missing | default \"x\" | upper }}\n", 1),
        (
            "printf",
            "{{ printf \"%s-%s\" .Values.name .Values.image.tag }}\n",
            1,
        ),
        ("if", "{{ if .Values.enabled }}a{{ else }}b{{ end }}\n", 1),
        (
            "if_and_eq",
            "{{ if and .Values.enabled (eq .Values.name \"web\") }}a{{ end }}\n",
            1,
        ),
        (
            "range_list",
            "{{ range .Values.ports }}{{ . }}{{ end }}\n",
            11,
        ),
        (
            "range_map",
            "{{ range $k, $v := .Values.labels }}{{ $k }}: {{ $v }}\n{{ end }}",
            21,
        ),
        ("include", "{{ include \"name\" . }}\n", 2),
        ("template", "{{ template \"name\" . }}\n", 2),
        ("variable", "{{ $x := .Values.name }}{{ $x }}\n", 2),
    ];
    let functions = functions();
    let mut group = criterion.benchmark_group("execute");
    const TIMES: usize = 1000;
    for (name, text, actions) in cases {
        let mut set = Set::new(&functions).with_missing_key(MissingKey::Zero);
        let text = format!(
            "{}{{{{ define \"name\" }}}}{{{{ .Values.name }}}}{{{{ end }}}}",
            text.repeat(TIMES)
        );
        set.add(&Arc::new(
            Unit::parse("t", text, &functions).expect("a template"),
        ));
        let cache = TextCache::default();
        group.throughput(Throughput::Elements((actions * TIMES) as u64));
        group.bench_function(name, |bencher| {
            let _scope = Scope::enter();
            let data = data();
            bencher.iter(|| {
                let mut host = Nowhere;
                let mut machine = Machine::new(&set, &mut host, Limits::default(), &cache);
                black_box(machine.execute("t", data.clone()).expect("output"))
            });
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().with_measurement(ProcessorTime);
    targets = compile, execute
}
criterion_main!(benches);
