//! Prints what expressions take: `cargo run --release -p k8s-cel --example cost`.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use k8s_cel::rules::PER_CALL_LIMIT;
use k8s_cel::{Decl, Environment, Schema, value};
use serde_json::{Value, json};

#[expect(clippy::disallowed_methods, reason = "it measures")]
fn time(what: &str, mut work: impl FnMut()) {
    work();
    let rounds = 500;
    let start = Instant::now();
    for _ in 0..rounds {
        work();
    }
    println!(
        "{what:70} {:>9.1} µs",
        start.elapsed().as_secs_f64() * 1e6 / f64::from(rounds)
    );
}

fn main() {
    let port = json!({"type": "object", "properties": {"name": {"type": "string"}, "port": {"type": "integer"}}});
    let schema = Schema::new(&json!({"type": "object", "properties": {
        "name": {"type": "string"}, "replicas": {"type": "integer"}, "ports": {"type": "array", "items": port}}}));
    let ports: Vec<Value> = (0..100)
        .map(|n| json!({"name": format!("p{n}"), "port": n}))
        .collect();
    let object = json!({"name": "web", "replicas": 3, "ports": ports});
    let Some(decl) = Decl::of(&schema, true) else {
        return;
    };
    let environment = Environment::new(Arc::new(decl), false);
    for text in [
        "self.replicas > 0",
        "self.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
        "self.ports.all(p, p.port < 1000 && p.name != '')",
        "self.ports.all(p, self.ports.exists_one(q, q.name == p.name))",
    ] {
        time(&format!("compile {text}"), || {
            black_box(environment.compile(text).is_ok());
        });
        let Ok(program) = environment.compile(text) else {
            continue;
        };
        time(&format!("run     {text}"), || {
            black_box(program.run(Some(value(&object, &schema)), None, PER_CALL_LIMIT));
        });
    }
}
