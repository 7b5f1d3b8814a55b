//! The same expressions and rules to Kubernetes' own code (`oracle/cel`, in Go) and to this crate.

mod random;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, OnceLock};

use k8s_cel::rules::{self, PER_CALL_LIMIT, RUNTIME_BUDGET};
use k8s_cel::{Decl, Environment, Schema, Value as Cel, value};
use serde_json::{Value, json};

/// Builds the oracle once; `None` where there is no Go.
fn binary() -> Option<&'static Path> {
    static BINARY: OnceLock<Option<PathBuf>> = OnceLock::new();
    let built = BINARY.get_or_init(|| {
        if Command::new("go").arg("version").output().is_err() {
            eprintln!(
                "SKIPPED: go is not on the PATH, so nothing is compared with Kubernetes' own code"
            );
            return None;
        }
        let binary = Path::new(env!("CARGO_TARGET_TMPDIR")).join("oracle-cel");
        let output = Command::new("go")
            .args(["build", "-o"])
            .arg(&binary)
            .arg(".")
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../oracle/cel"))
            .output()
            .expect("go runs");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        Some(binary)
    });
    built.as_deref()
}

/// Asks the oracle; `None` where there is none.
fn ask(name: &str, questions: &[Value]) -> Option<Vec<Value>> {
    let binary = binary()?;
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (input, output) = (
        folder.join(format!("{name}.in")),
        folder.join(format!("{name}.out")),
    );
    let lines: String = questions.iter().map(|q| format!("{q}\n")).collect();
    std::fs::write(&input, lines).expect("writes the questions");
    let status = Command::new(binary)
        .stdin(std::fs::File::open(&input).expect("reads"))
        .stdout(std::fs::File::create(&output).expect("writes"))
        .stderr(std::fs::File::create(folder.join(format!("{name}.err"))).expect("writes"))
        .status()
        .expect("the oracle runs");
    assert!(status.success());
    let text = std::fs::read_to_string(&output).expect("reads the answers");
    let answers: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("an answer is JSON"))
        .collect();
    assert_eq!(answers.len(), questions.len());
    Some(answers)
}

/// What this crate answers to a question of the kind `eval`, as the oracle writes it.
fn eval(question: &Value) -> String {
    let schema = Schema::new(&question["Schema"]);
    let decl = Arc::new(Decl::of(&schema, false).expect("the schema has a type"));
    let optional = question["Optional"] == json!(true);
    let environment = Environment::new(decl, optional);
    let program = match environment.compile(question["Expr"].as_str().unwrap_or_default()) {
        Ok(program) => program,
        Err(why) => return format!("does not compile\n{why}"),
    };
    let this = value(&question["Self"], &schema);
    let old = question.get("Old").map(|old| value(old, &schema));
    let old = if optional {
        Some(Cel::Optional(old.map(Arc::new)))
    } else {
        old
    };
    let outcome = program.run(Some(this), old, PER_CALL_LIMIT);
    let result = match outcome.result {
        Ok(Cel::Error(why)) => format!("error: {why}"),
        Ok(value) => value.to_string(),
        Err(cancelled) => format!("error: {cancelled}"),
    };
    let range = program.cost();
    format!(
        "{} | {}..{} | {} | {result}",
        program.ty(),
        range.min,
        range.max,
        outcome.cost
    )
}

/// The oracle's answer in the same form.
fn theirs(answer: &Value) -> String {
    let text = |key: &str| answer[key].as_str().unwrap_or_default();
    let number = |key: &str| answer[key].as_u64().unwrap_or_default();
    if let Some(bad) = answer["Bad"].as_str() {
        return format!("bad: {bad}");
    }
    if let Some(why) = answer["Compile"].as_str() {
        return format!("does not compile\n{why}");
    }
    let result = match answer["Error"].as_str() {
        Some(why) => format!("error: {why}"),
        None => text("Value").to_owned(),
    };
    format!(
        "{} | {}..{} | {} | {result}",
        text("Type"),
        number("Min"),
        number("Max"),
        number("Cost")
    )
}

fn variable(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

/// The expressions of a data file with their recorded answers.
fn cases(text: &str) -> Vec<(String, String)> {
    text.split("\n\n")
        .filter(|block| !block.trim().is_empty())
        .map(|block| {
            let (expr, answer) = block
                .trim_matches('\n')
                .split_once("\n= ")
                .unwrap_or((block.trim(), ""));
            (expr.to_owned(), answer.to_owned())
        })
        .collect()
}

/// What the expressions of the data files see.
fn world() -> (Value, Value, Value) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let text = std::fs::read_to_string(folder.join("world.json")).expect("reads the world");
    let world: Value = serde_json::from_str(&text).expect("the world is JSON");
    (
        world["schema"].clone(),
        world["self"].clone(),
        world["old"].clone(),
    )
}

#[test]
fn expressions_answer_as_recorded() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let (schema, this, old) = world();
    let update = std::env::var_os("UPDATE_EXPECT").is_some();
    let (mut all, mut wrong) = (0, Vec::new());
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
        .expect("reads the data")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|e| e == "cel"))
        .collect();
    files.sort();
    for file in files {
        let text = std::fs::read_to_string(&file).expect("reads a data file");
        let mut cases = cases(&text);
        let optional = file.ends_with("optional.cel");
        let questions: Vec<Value> = cases
            .iter()
            .map(|(expr, _)| {
                json!({"Op": "eval", "Expr": expr, "Schema": schema, "Self": this, "Old": old, "Optional": optional})
            })
            .collect();
        let name = file
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if let Some(answers) = ask(&name, &questions) {
            for ((expr, recorded), answer) in cases.iter_mut().zip(&answers) {
                let theirs = theirs(answer);
                if update {
                    *recorded = theirs;
                } else {
                    assert_eq!(*recorded, theirs, "{expr}: recorded otherwise");
                }
            }
        }
        if update {
            let text: String = cases
                .iter()
                .map(|(e, a)| format!("{e}\n= {a}\n\n"))
                .collect();
            std::fs::write(&file, text).expect("writes a data file");
        }
        for (question, (expr, recorded)) in questions.iter().zip(&cases) {
            all += 1;
            let ours = eval(question);
            if ours != *recorded {
                wrong.push(format!(
                    "{name}: {expr}\n  theirs: {recorded}\n  ours:   {ours}\n"
                ));
            }
        }
    }
    println!("{all} expressions, {} differ", wrong.len());
    assert!(
        wrong.is_empty(),
        "{} of {all}\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn random_expressions_answer_as_the_real_one() {
    let (count, seed) = (variable("K8S_CEL_CASES", 1000), variable("K8S_CEL_SEED", 1));
    let (schema, this, old) = world();
    let questions: Vec<Value> = (0..count)
        .map(|case| {
            let expr = random::expression(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ case);
            json!({"Op": "eval", "Expr": expr, "Schema": schema, "Self": this, "Old": old})
        })
        .collect();
    let Some(answers) = ask("random", &questions) else {
        return;
    };
    let mut wrong = Vec::new();
    let mut refused = 0;
    for (question, answer) in questions.iter().zip(&answers) {
        let (ours, theirs) = (eval(question), theirs(answer));
        refused += u32::from(theirs.starts_with("does not compile"));
        if ours != theirs {
            wrong.push(format!(
                "{}\n  theirs: {theirs}\n  ours:   {ours}\n",
                question["Expr"].as_str().unwrap_or_default()
            ));
        }
    }
    println!(
        "{count} random expressions, {refused} of them refused, {} differ",
        wrong.len()
    );
    assert!(
        wrong.is_empty(),
        "{} of {count}, seed {seed}\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn rules_answer_as_the_real_ones() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let text = std::fs::read_to_string(folder.join("rules.json")).expect("reads the rules");
    let cases: Vec<Value> = serde_json::from_str(&text).expect("the rules are JSON");
    let mut questions = Vec::new();
    for case in &cases {
        let mut question =
            json!({"Op": "validate", "Schema": case["schema"], "Self": case["object"]});
        if let Some(old) = case.get("old") {
            question["Old"] = old.clone();
        }
        if let Some(budget) = case.get("budget") {
            question["Budget"] = budget.clone();
        }
        questions.push(question);
        let versions = json!([{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": case["schema"]}}]);
        let crd = json!({"metadata": {"name": "tests.example.com"}, "spec": {"group": "example.com", "scope": "Namespaced",
            "names": {"plural": "tests", "kind": "Test"}, "versions": versions}});
        questions.push(json!({"Op": "crd", "Crd": crd}));
    }
    let Some(answers) = ask("rules", &questions) else {
        return;
    };
    let mask = |text: &str| -> String {
        let mut out = String::new();
        let mut rest = text;
        while let Some(at) = rest.find("selfType") {
            out.push_str(&rest[..at + 8]);
            rest = rest[at + 8..].trim_start_matches(|c: char| c.is_ascii_digit());
        }
        out + rest
    };
    let mut wrong = Vec::new();
    for (case, pair) in cases.iter().zip(answers.chunks(2)) {
        let name = case["name"].as_str().unwrap_or_default();
        let list = |answer: &Value| -> Vec<String> {
            let errors = answer["Errors"].as_array().cloned().unwrap_or_default();
            errors
                .iter()
                .map(|e| {
                    let path = e["Field"].as_str().unwrap_or_default();
                    mask(&format!(
                        "{path}: {}",
                        e["Detail"].as_str().unwrap_or_default()
                    ))
                })
                .collect()
        };
        let compiled = rules::compile_stored(&case["schema"]);
        let budget = case["budget"].as_i64().unwrap_or(RUNTIME_BUDGET);
        let ours = rules::validate(&compiled, &case["object"], case.get("old"), budget);
        let mut shown: Vec<String> = ours.errors.iter().map(ToString::to_string).collect();
        let mut wanted: Vec<String> = pair[0]["Errors"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|e| mask(e["Message"].as_str().unwrap_or_default()))
            .collect();
        shown.sort();
        wanted.sort();
        if shown != wanted || pair[0]["Remaining"].as_i64().unwrap_or_default() != ours.remaining {
            wrong.push(format!(
                "{name}: object\n  theirs: {wanted:#?} {}\n  ours:   {shown:#?} {}\n  {}",
                pair[0]["Remaining"], ours.remaining, pair[0]["Bad"]
            ));
        }
        let mut wanted = list(&pair[1]);
        let mut shown: Vec<String> =
            match rules::compile(&case["schema"], "spec.validation.openAPIV3Schema") {
                Ok(_) => Vec::new(),
                Err(errors) => errors
                    .iter()
                    .map(|e| format!("{}: {}", e.field, e.detail))
                    .collect(),
            };
        shown.sort();
        wanted.sort();
        if shown != wanted {
            wrong.push(format!(
                "{name}: definition\n  theirs: {wanted:#?}\n  ours:   {shown:#?}\n  {}",
                pair[1]["Bad"]
            ));
        }
    }
    println!("{} rules, {} differ", cases.len(), wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
