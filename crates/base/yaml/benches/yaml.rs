//! How fast real files are read and written: values and manifests of the corpus (`ROADSTEAD_CORPUS`, or
//! `../shared/corpus` beside the repository), or a made-up file without it. JSON of the same values stands beside it.
#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;

use base_json::Value;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

#[path = "../tests/support/mod.rs"]
mod support;

fn texts() -> Vec<String> {
    let mut out: Vec<String> = support::corpus()
        .into_iter()
        .map(|(_, text)| text)
        .filter(|text| base_yaml::go::yaml_to_json(text.as_bytes()).is_ok_and(|v| !v.is_null()))
        .collect();
    if out.is_empty() {
        let item =
            "- name: web\n  image: \"nginx:1.29\"\n  ports: [80, 443]\n  note: |\n    a\n    b\n";
        out.push(format!("items:\n{}", item.repeat(2000)));
    }
    out
}

fn benches(criterion: &mut Criterion) {
    let texts = texts();
    let bytes = |texts: &[String]| Throughput::Bytes(texts.iter().map(|t| t.len() as u64).sum());
    let values: Vec<Value> = texts
        .iter()
        .map(|text| base_yaml::go::yaml_to_json(text.as_bytes()).unwrap())
        .collect();
    let written: Vec<String> = values
        .iter()
        .map(|v| base_yaml::go::to_yaml(v).unwrap())
        .collect();
    let json: Vec<String> = values.iter().map(Value::to_string).collect();

    let mut group = criterion.benchmark_group("read");
    group.sample_size(10);
    group.throughput(bytes(&texts));
    group.bench_function("files", |b| {
        b.iter(|| {
            for text in &texts {
                black_box(base_yaml::go::yaml_to_json(text.as_bytes()).unwrap());
            }
        });
    });
    group.bench_function("files, all documents", |b| {
        b.iter(|| {
            for text in &texts {
                let _ = black_box(base_yaml::parse_documents(text, "a.yaml"));
            }
        });
    });
    group.throughput(bytes(&written));
    group.bench_function("written", |b| {
        b.iter(|| {
            for text in &written {
                black_box(base_yaml::go::yaml_to_json(text.as_bytes()).unwrap());
            }
        });
    });
    group.throughput(bytes(&json));
    group.bench_function("json", |b| {
        b.iter(|| {
            for text in &json {
                black_box(serde_json::from_str::<Value>(text).unwrap());
            }
        });
    });
    group.finish();

    let mut group = criterion.benchmark_group("write");
    group.sample_size(10);
    group.throughput(bytes(&written));
    group.bench_function("sigs", |b| {
        b.iter(|| {
            for value in &values {
                black_box(base_yaml::go::to_yaml(value).unwrap());
            }
        });
    });
    group.bench_function("version 3", |b| {
        b.iter(|| {
            for value in &values {
                black_box(base_yaml::go::to_yaml_v3(value, 2).unwrap());
            }
        });
    });
    group.bench_function("json", |b| {
        b.iter(|| {
            for value in &values {
                black_box(value.to_string());
            }
        });
    });
    group.finish();
}

criterion_group!(all, benches);
criterion_main!(all);
