//! Renders written cases and compares them with what the real Helm made of them (`tests/cases`).
//!
//! A file of cases holds one template a line (`\n` and `\t` stand for themselves); the answers beside it are Helm's.
//! `ORACLE_SPRIG` names the built program of `oracle/sprig`; with it, the answers are asked for again.

mod common;

use std::path::{Path, PathBuf};

use common::{Renderer, ask, outcome, shown};
use roadstead_sprig::Dialect;
use serde_json::{Value as Json, json};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases")
}

fn cases(path: &Path) -> Vec<String> {
    std::fs::read_to_string(path)
        .expect("cases")
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with("# "))
        .map(|line| line.replace("\\n", "\n").replace("\\t", "\t"))
        .collect()
}

#[test]
fn renders_as_helm_does() {
    let values: Json = serde_json::from_str(
        &std::fs::read_to_string(folder().join("values.json")).expect("values"),
    )
    .expect("JSON");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder())
        .expect("folder")
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|end| end == "txt"))
        .collect();
    files.sort();
    let (mut wrong, mut count) = (Vec::new(), 0);
    for path in files {
        let name = path
            .file_stem()
            .expect("name")
            .to_string_lossy()
            .into_owned();
        // Helm 4 writes errors over many lines; what it has alone is asked of it, all else of Helm 3.
        let version = if name == "helm4" { 4 } else { 3 };
        let templates = cases(&path);
        let answers_path = path.with_extension("answers.jsonl");
        if let Ok(program) = std::env::var("ORACLE_SPRIG") {
            let request =
                |template: &String| json!({"template": template, "data": values, "helm": version});
            let answers = ask(&program, &templates.iter().map(request).collect::<Vec<_>>());
            let text: String = answers.iter().map(|answer| format!("{answer}\n")).collect();
            std::fs::write(&answers_path, text).expect("answers are written");
        }
        let answers: Vec<Json> = std::fs::read_to_string(&answers_path)
            .expect(&name)
            .lines()
            .map(|line| serde_json::from_str(line).expect(line))
            .collect();
        assert_eq!(
            templates.len(),
            answers.len(),
            "{name}: one answer for each case"
        );
        let renderer = Renderer::new(if version == 4 {
            Dialect::Helm4
        } else {
            Dialect::Helm3
        });
        for (template, answer) in templates.iter().zip(&answers) {
            let expected = outcome(answer);
            let found = renderer.render(template, &values);
            count += 1;
            if found != expected {
                wrong.push(format!(
                    "{name}: {template:?}\n  helm: {}\n  ours: {}",
                    shown(&expected),
                    shown(&found)
                ));
            }
        }
    }
    eprintln!("{count} cases compared");
    assert!(
        wrong.is_empty(),
        "{} differ\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}
