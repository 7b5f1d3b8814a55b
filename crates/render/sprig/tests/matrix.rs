//! Every function with every shape of arguments, compared with the real Helm: results, and the words of all errors.
//!
//! Needs the built program of `oracle/sprig` in `ORACLE_SPRIG`; it is skipped otherwise, since the answers are too many to
//! keep.

mod common;

use common::{Renderer, ask, outcome, shown};
use roadstead_sprig::{Dialect, functions};
use serde_json::{Value as Json, json};

/// One of each shape that templates can write or get from values.
const SHAPES: &[&str] = &[
    "nil",
    "true",
    "1",
    "2.5",
    "\"abc\"",
    "\"\"",
    "(list 1 \"a\")",
    "(dict \"k\" 1)",
    ".Values.a",
    ".Values.nope",
    "(until 2)",
    "(splitList \",\" \"x,y\")",
    "(int64 -3)",
    "(semver \"1.2\")",
    "(toDate \"2006\" \"2020\")",
];

/// What is worth combining.
const FEW: &[&str] = &[
    "nil",
    "2",
    "\"abc\"",
    "(list 1 \"a\")",
    "(dict \"k\" 1)",
    "false",
];

/// Functions whose results differ from run to run: only whether they fail, and how, is compared.
fn differs(name: &str) -> bool {
    name.starts_with("rand")
        || name.starts_with("gen")
        || matches!(
            name,
            "now"
                | "ago"
                | "uuidv4"
                | "shuffle"
                | "bcrypt"
                | "htpasswd"
                | "encryptAES"
                | "date"
                | "date_in_zone"
                | "dateInZone"
                | "htmlDate"
                | "htmlDateInZone"
                | "durationRound"
        )
}

/// Functions that cost so much that one call of each kind must do.
fn costly(name: &str) -> bool {
    name.starts_with("gen") || matches!(name, "derivePassword" | "bcrypt" | "htpasswd")
}

fn calls(name: &str, arity: usize, variadic: bool) -> Vec<String> {
    let mut out = vec![format!("{{{{ {name} }}}}")];
    let one: &[&str] = if costly(name) { FEW } else { SHAPES };
    out.extend(one.iter().map(|shape| format!("{{{{ {name} {shape} }}}}")));
    let most = arity + usize::from(variadic) + 1;
    if most >= 2 && !(costly(name) && arity < 2) {
        for a in FEW {
            for b in FEW {
                out.push(format!("{{{{ {name} {a} {b} }}}}"));
            }
        }
    }
    if most >= 3 && !costly(name) {
        for a in FEW {
            for b in FEW {
                for c in FEW {
                    out.push(format!("{{{{ {name} {a} {b} {c} }}}}"));
                }
            }
        }
    }
    if most >= 4 {
        for a in FEW {
            out.push(format!("{{{{ {name} {a} {a} {a} {a} }}}}"));
            out.push(format!("{{{{ {name} \"x\" {a} nil 1 {a} }}}}"));
        }
    }
    out
}

#[test]
fn every_function_takes_and_refuses_what_helms_does() {
    let Ok(program) = std::env::var("ORACLE_SPRIG") else {
        eprintln!("skipped: ORACLE_SPRIG does not name the built oracle");
        return;
    };
    let values = json!({"a": 1});
    let mut templates = Vec::new();
    for row in functions(Dialect::Helm3).rows() {
        let arity = row.signature.params.len();
        for call in calls(row.name, arity, row.signature.variadic) {
            templates.push((row.name, call));
        }
    }
    let request =
        |(_, template): &(&str, String)| json!({"template": template, "data": values, "helm": 3});
    let requests: Vec<Json> = templates.iter().map(request).collect();
    let answers = ask(&program, &requests);
    let renderer = Renderer::new(Dialect::Helm3);
    let mut wrong = Vec::new();
    for ((name, template), answer) in templates.iter().zip(&answers) {
        let expected = outcome(answer);
        let found = renderer.render(template, &values);
        let same = match (&expected, &found) {
            (Ok(_), Ok(_)) if differs(name) => true,
            _ => expected == found,
        };
        if !same {
            wrong.push(format!(
                "{template}\n  helm: {}\n  ours: {}",
                shown(&expected),
                shown(&found)
            ));
        }
    }
    eprintln!("{} calls compared", templates.len());
    assert!(
        wrong.is_empty(),
        "{} differ\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}
