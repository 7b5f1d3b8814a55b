//! kustomize's own tests as cases: their inputs and expectations are read from its module when this runs, and kept nowhere.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use bytes::Bytes;
use roadstead_kustomize::{Files, Kustomizer, Limits, Options, Order};

use super::kustomize::{difference, same_objects};

/// What is counted once a whole test is known to be data.
type Pending = Box<dyn FnOnce(&mut Tally)>;

/// What came of all cases.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Tests that are data, so that they could be read.
    pub(super) tests: usize,
    /// Tests that are not.
    pub(super) skipped: usize,
    /// Outputs that are the same, byte for byte.
    pub(super) same: usize,
    /// Outputs with the same objects.
    pub(super) objects: usize,
    /// Expected failures that failed.
    pub(super) refused: usize,
    /// The rest, in words.
    pub(super) wrong: Vec<String>,
}

/// Runs every test that is data.
pub(super) fn run(folder: &Path) -> anyhow::Result<Tally> {
    let mut tally = Tally::default();
    let entries = std::fs::read_dir(folder)
        .with_context(|| format!("no tests at {} (build kustomize first)", folder.display()))?;
    let mut files: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    files.retain(|path| path.to_string_lossy().ends_with("_test.go"));
    files.sort();
    let mut helpers = BTreeMap::new();
    for file in &files {
        let text = std::fs::read_to_string(file)?;
        for part in text.split("\nfunc ").skip(1) {
            let end = end_of(part);
            if let Some((name, rest)) = part[..end].split_once("(th kusttest_test.Harness) {\n") {
                helpers.insert(name.to_owned(), rest.to_owned());
            }
        }
    }
    for file in files {
        let text = std::fs::read_to_string(&file)?;
        let consts = constants(&text);
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        for (test, body) in functions(&text) {
            let mut case = Case {
                names: consts.clone(),
                ..Case::default()
            };
            let before = tally.wrong.len();
            let body = with_helpers(body, &helpers, 4);
            match case.run(&body, &mut tally, &format!("{name}:{test}")) {
                Ok(()) => tally.tests += 1,
                Err(_) => {
                    tally.skipped += 1;
                    tally.wrong.truncate(before);
                }
            }
        }
    }
    Ok(tally)
}

/// Where a function ends: at a brace that begins a line, but not inside of a text.
fn end_of(part: &str) -> usize {
    let mut braces = part.match_indices("\n}\n").map(|(at, _)| at);
    let outside = |at: &usize| part[..*at].matches('`').count().is_multiple_of(2);
    braces.find(outside).unwrap_or(part.len())
}

/// The bodies of test functions.
fn functions(text: &str) -> Vec<(String, &str)> {
    let mut out = Vec::new();
    for part in text.split("\nfunc Test").skip(1) {
        let name = part.split('(').next().unwrap_or_default();
        let end = end_of(part);
        out.push((format!("Test{name}"), &part[..end]));
    }
    out
}

/// Puts what helpers do in the place of their calls.
fn with_helpers(body: &str, helpers: &BTreeMap<String, String>, depth: usize) -> String {
    let mut out = String::new();
    for line in body.split_inclusive('\n') {
        let name = line.trim().strip_suffix("(th)");
        match name
            .and_then(|name| helpers.get(name))
            .filter(|_| depth > 0)
        {
            Some(helper) => {
                out.push_str(&with_helpers(helper, helpers, depth - 1));
                out.push('\n');
            }
            None => out.push_str(line),
        }
    }
    out
}

/// Texts that a file names.
fn constants(text: &str) -> BTreeMap<String, String> {
    let mut out = BTreeMap::new();
    for line in text
        .match_indices("\nconst ")
        .map(|(at, _)| &text[at + 7..])
    {
        if let Some((name, rest)) = line.split_once('=')
            && let Some((value, _)) = expression(rest, &out)
        {
            out.insert(
                name.trim().split(' ').next().unwrap_or_default().to_owned(),
                value,
            );
        }
    }
    out
}

/// Reads literals and names that are added to each other; gives what follows them.
fn expression<'t>(text: &'t str, names: &BTreeMap<String, String>) -> Option<(String, &'t str)> {
    let mut out = String::new();
    let mut rest = text.trim_start();
    loop {
        if let Some(after) = rest.strip_prefix('`') {
            let (value, after) = after.split_once('`')?;
            out.push_str(value);
            rest = after;
        } else if rest.starts_with('"') {
            let mut end = 1;
            let bytes = rest.as_bytes();
            while bytes.get(end)? != &b'"' {
                end += if bytes[end] == b'\\' { 2 } else { 1 };
            }
            let value: String = serde_json::from_str(rest.get(..=end)?).ok()?;
            out.push_str(&value);
            rest = &rest[end + 1..];
        } else {
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_')?;
            out.push_str(names.get(&rest[..end])?);
            rest = &rest[end..];
        }
        rest = rest.trim_start();
        match rest.strip_prefix('+') {
            Some(after) => rest = after.trim_start(),
            None => return Some((out, rest)),
        }
    }
}

#[derive(Default)]
struct Case {
    files: BTreeMap<String, Bytes>,
    names: BTreeMap<String, String>,
    built: BTreeMap<String, Result<String, String>>,
}

/// A test that is no data.
struct NoData;

impl Case {
    fn run(&mut self, body: &str, tally: &mut Tally, name: &str) -> Result<(), NoData> {
        // what these do is no data: loops, formats, plugins of one's own, files on disk, networks
        let code = [
            "t.Run(",
            "for _,",
            "for i",
            "Sprintf",
            "PluginsEnabled",
            "filesys.",
            "MkDir",
            "th.Reset",
            "GetRoot",
            "LegacyConfigs",
            "Tweak",
            "ErrIfNoHelm",
            "AddManagedby",
            "provenance",
            "MakeEnhancedHarness",
            "MakeHarnessWithFs",
            "Skip(",
            "(th,",
            "RemoteSchema",
            "func(",
        ];
        // in memory, what is above the root is the root
        let above = body.contains("WriteK(\".\"") && body.contains("\n- ../");
        if above || code.iter().any(|word| body.contains(word)) {
            return Err(NoData);
        }
        let options = Options {
            order: if body.contains("ReorderOptionLegacy") {
                Order::Legacy
            } else {
                Order::Input
            },
            anywhere: body.contains("LoadRestrictionsNone"),
            ..Options::default()
        };
        let mut rest = body;
        let mut any = false;
        let mut pending: Vec<Pending> = Vec::new();
        while let Some(at) = rest.find("th.") {
            let (before, after) = rest.split_at(at);
            self.remember(before);
            let line = before.rsplit('\n').next().unwrap_or_default().trim();
            let call = &after[3..];
            let end = call.find('(').ok_or(NoData)?;
            let (method, args) = (&call[..end], &call[end + 1..]);
            rest = args;
            match method {
                "WriteK" | "WriteC" | "WriteF" => {
                    let (path, args) = expression(args, &self.names).ok_or(NoData)?;
                    let args = args.strip_prefix(',').ok_or(NoData)?;
                    let (content, after) = expression(args, &self.names).ok_or(NoData)?;
                    rest = after;
                    let head = match method {
                        "WriteK" => {
                            "\napiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n"
                        }
                        "WriteC" => {
                            "\napiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\n"
                        }
                        _ => "",
                    };
                    let mut path = plain(&path);
                    if !head.is_empty() {
                        path = plain(&format!("{path}/kustomization.yaml"));
                    }
                    self.files
                        .insert(path, Bytes::from(format!("{head}{content}")));
                }
                "Run" | "RunWithErr" => {
                    let (path, _) = expression(args, &self.names).ok_or(NoData)?;
                    let files: Arc<dyn Files> = Arc::new(self.files.clone());
                    let kustomizer = Kustomizer::new(files, BTreeMap::new(), Limits::default());
                    let built = kustomizer.build(&plain(&path), &options);
                    let built = built.map(|b| b.to_text()).map_err(|e| e.to_string());
                    if method == "RunWithErr" {
                        any = true;
                        let name = name.to_owned();
                        pending.push(Box::new(move |tally| match built {
                            Err(_) => tally.refused += 1,
                            Ok(_) => tally.wrong.push(format!("{name}: builds, but must not")),
                        }));
                        continue;
                    }
                    let variable = line.split(' ').next().unwrap_or_default();
                    self.built
                        .insert(variable.trim_end_matches(',').to_owned(), built);
                }
                "AssertActualEqualsExpected" | "AssertActualEqualsExpectedNoIdAnnotations" => {
                    let (variable, args) = args.split_once(',').ok_or(NoData)?;
                    let (expected, after) = expression(args, &self.names).ok_or(NoData)?;
                    rest = after;
                    let built = self.built.get(variable.trim()).ok_or(NoData)?.clone();
                    any = true;
                    let name = name.to_owned();
                    pending.push(Box::new(move |tally| judge(tally, &name, &expected, built)));
                }
                _ => {}
            }
        }
        if !any {
            return Err(NoData);
        }
        for one in pending {
            one(tally);
        }
        Ok(())
    }

    /// Texts that a test gives names to.
    fn remember(&mut self, code: &str) {
        for (at, _) in code.match_indices(":=") {
            let name = code[..at].trim_end().rsplit(char::is_whitespace).next();
            if let (Some(name), Some((value, _))) = (name, expression(&code[at + 2..], &self.names))
            {
                self.names.insert(name.to_owned(), value);
            }
        }
    }
}

fn plain(path: &str) -> String {
    let parts = path.split('/').filter(|part| !matches!(*part, "" | "."));
    parts.collect::<Vec<_>>().join("/")
}

fn judge(tally: &mut Tally, name: &str, expected: &str, built: Result<String, String>) {
    let expected = expected.strip_prefix('\n').unwrap_or(expected);
    match built {
        Ok(ours) if ours == expected => tally.same += 1,
        Ok(ours) if same_objects(expected, &ours) => tally.objects += 1,
        Ok(ours) => {
            let text = format!("{name}:\n{}", difference(expected, &ours));
            tally.wrong.push(text);
        }
        Err(error) => tally.wrong.push(format!("{name}: {error}")),
    }
}
