//! Each file in `tests/cases` holds what runs, what would run, the clusters, and the plan as text.
//!
//! A case is `=== name`; manifests under `--- old` and `--- new`; options under `--- sync`; clusters under `--- clusters`,
//! a line each: `name next [drift]`, where the cluster holds `old` unless the line begins with `fresh`, or nothing of it if
//! it begins with `bare`; under `--- found` what agents said, a line each: `name JSON`. `>>>` is what is expected, with the exit code first. `UPDATE_EXPECT=1` writes what was found.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use base_json::Digest;
use bytes::Bytes;
use roadstead_dispatch::{DriftItem, DriftKind, Existing, Variant};
use roadstead_model::{AppKey, AppSpec, OnLeave, SyncOptions, Time, VariantId};
use roadstead_plan::{ClusterState, Next, Plan, PlanSettings, plan, text};
use roadstead_release::Prepared;
use roadstead_target::TargetInput;
use serde_json::json;

struct World {
    variants: BTreeMap<VariantId, Variant>,
    blobs: BTreeMap<Digest, Bytes>,
}

impl World {
    fn add(&mut self, manifests: &str) -> Option<VariantId> {
        if manifests.trim().is_empty() {
            return None;
        }
        let spec: AppSpec = serde_json::from_value(
            json!({"inputs": [{"source": "git"}], "targets": [{"name": "all"}], "namespace": "shop"}),
        )
        .expect("spec");
        let files = BTreeMap::from([("a.yaml".to_owned(), manifests.to_owned())]);
        let app = AppKey::new("team", "shop");
        let prepared = Prepared::new(&app, &spec, Digest::of(b"r"), &files).expect("prepared");
        let input = TargetInput::default();
        let built = prepared.build([&input]);
        let id = built.by_input[&input.digest()].clone().expect("variant");
        self.variants.extend(built.variants);
        self.blobs.extend(built.blobs);
        Some(id)
    }
}

fn make(case: &str) -> Plan {
    let mut sections: BTreeMap<&str, &str> = BTreeMap::new();
    for section in case.split("\n--- ").skip(1) {
        let (head, body) = section.split_once('\n').unwrap_or((section, ""));
        sections.insert(head, body);
    }
    let section = |name: &str| sections.get(name).copied().unwrap_or_default();
    let mut world = World {
        variants: BTreeMap::new(),
        blobs: BTreeMap::new(),
    };
    let (old, new) = (world.add(section("old")), world.add(section("new")));
    let sync = base_yaml::parse_documents(section("sync"), "sync").expect("sync");
    let sync = sync
        .into_iter()
        .next()
        .map_or_else(SyncOptions::default, |document| {
            serde_json::from_value(document.value).expect("sync")
        });
    let heard: Time = "2026-11-21T06:00:00Z".parse().expect("time");
    let clusters: Vec<ClusterState> = section("clusters")
        .lines()
        .filter(|line| !line.trim().is_empty())
        .enumerate()
        .map(|(number, line)| {
            let mut words = line.split(' ');
            let name = words.next().expect("name").to_owned();
            let next = match words.next().unwrap_or("next") {
                "fails" => Next::Failed("${cluster.values.x} has no value".to_owned()),
                "keep" => Next::Leaves(OnLeave::Keep),
                "remove" => Next::Leaves(OnLeave::Remove),
                "same" => Next::Variant(old.expect("old")),
                "gone" => Next::Variant(Digest::of(b"gone")),
                _ => Next::Variant(new.expect("new")),
            };
            let drift = words.map(|object| DriftItem {
                object: object.parse().expect(object),
                kind: DriftKind::Changed,
                fields: vec!["spec.replicas".to_owned()],
                since: heard,
            });
            ClusterState {
                confirmed: old.filter(|_| !name.starts_with("fresh")),
                holds: name.starts_with("bare").then(BTreeSet::new),
                heard: Some(heard.plus_ms(1000 * number as u64)),
                drift: drift.collect(),
                next,
                name,
            }
        })
        .collect();
    let settings = PlanSettings {
        app: AppKey::new("team", "shop"),
        what: "commit 1a2b3c4".to_owned(),
        sync,
    };
    let mut out = plan(
        &settings,
        &clusters,
        &|id| world.variants.get(id).cloned(),
        &|digest| world.blobs.get(digest).cloned(),
    );
    let found = section("found")
        .lines()
        .filter_map(|line| line.split_once(' '));
    let found = found.map(|(name, said)| {
        let said = serde_json::from_str::<Vec<Existing>>(said).map_err(|_| said.to_owned());
        (name.to_owned(), said)
    });
    out.found(&found.collect());
    out
}

#[test]
fn cases() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).expect("cases") {
        let path = entry.expect("entry").path();
        let all = std::fs::read_to_string(&path).expect("case");
        let mut updated = String::new();
        for case in format!("\n{all}").split("\n=== ").skip(1) {
            let (input, expected) = case.split_once(">>>\n").unwrap_or((case, ""));
            let plan = make(input);
            let again: Plan =
                serde_json::from_value(serde_json::to_value(&plan).expect("json")).expect("plan");
            assert_eq!(again, plan, "a plan is plain data");
            let shown = text(&plan, &|_, text| text.to_owned());
            let found = format!("exit {}\n{shown}", plan.exit_code());
            let _ = write!(updated, "=== {}\n>>>\n{found}\n", input.trim_end());
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
    assert!(count >= 10, "only {count} cases were found");
}
