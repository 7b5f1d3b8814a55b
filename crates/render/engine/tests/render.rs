//! Each file in `tests/cases` holds settings, a tree, and what comes out of it.
//!
//! A case is `=== name`, optional `path:`, `include:`, `exclude:`, `namespace:` lines, files as `--- file` with their
//! text, and `>>>` with the expected objects or error. `UPDATE_EXPECT=1` writes what was found.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use roadstead_render::{RenderSettings, render};

fn run(case: &str) -> String {
    let mut settings = RenderSettings::default();
    let mut files: BTreeMap<String, String> = BTreeMap::new();
    let mut file: Option<String> = None;
    for line in case.lines().skip(1) {
        if let Some(name) = line.strip_prefix("--- file ") {
            file = Some(name.to_owned());
            files.insert(name.to_owned(), String::new());
        } else if let Some(name) = &file {
            let text = files.get_mut(name).expect("known");
            text.push_str(line);
            text.push('\n');
        } else if let Some((key, value)) = line.split_once(": ") {
            let list = || value.split(' ').map(str::to_owned).collect();
            match key {
                "path" => settings.path = value,
                "include" => settings.plain.include = list(),
                "exclude" => settings.plain.exclude = list(),
                "namespace" => settings.namespace = value,
                "force" => settings.force_namespace = value,
                "max-file" => settings.limits.file_bytes = value.parse().expect(value),
                "max-objects" => settings.limits.objects = value.parse().expect(value),
                _ => panic!("{line}"),
            }
        }
    }
    let mut out = String::new();
    match render(&files, &settings) {
        Ok(objects) => {
            for rendered in objects {
                let _ = writeln!(out, "{} {}", rendered.origin, rendered.object);
            }
        }
        Err(error) => {
            let _ = writeln!(out, "error: {error}");
            if let Some(excerpt) = error.excerpt() {
                let _ = writeln!(out, "{excerpt}");
            }
        }
    }
    out
}

#[test]
fn cases() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).expect("cases") {
        let path = entry.expect("entry").path();
        let text = std::fs::read_to_string(&path).expect("case");
        let mut updated = String::new();
        for case in text
            .split_inclusive("\n===")
            .map(|c| c.trim_end_matches("==="))
        {
            let case = case.trim_start_matches("=== ").trim_start();
            let (input, expected) = case.split_once(">>>\n").unwrap_or((case, ""));
            let found = run(input);
            let _ = write!(updated, "=== {input}>>>\n{found}\n");
            count += 1;
            if std::env::var_os("UPDATE_EXPECT").is_none() {
                assert_eq!(
                    found.trim_end(),
                    expected.trim_end(),
                    "{}: {input}",
                    path.display()
                );
            }
        }
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            std::fs::write(&path, updated.trim_end().to_owned() + "\n").expect("written");
        }
    }
    assert!(count >= 20, "only {count} cases were found");
}
