//! Laws that hold for every set of fields and every apply.

mod support;

use k8s_apply::fieldpath::{FieldSet, Path, PathElement};
use k8s_apply::managed::Managed;
use k8s_apply::patch::{merge_patch, strategic_merge};
use k8s_apply::schema::{Schemas, TypeRef};
use k8s_apply::{ApplyOptions, UpdateOptions, apply, changed_paths, track_update};
use k8s_object::Gvk;
use proptest::prelude::*;
use serde_json::{Value, json};
use support::Rng;

fn element() -> impl Strategy<Value = PathElement> {
    let name = prop_oneof![Just("a"), Just("b"), Just("c.d/e"), Just("")];
    let value = prop_oneof![
        any::<i64>().prop_map(Value::from),
        (0u8..3).prop_map(Value::from),
        prop_oneof![Just("x"), Just("\"quoted\" <&>")].prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
    ];
    prop_oneof![
        4 => name.clone().prop_map(PathElement::field),
        1 => (name, value.clone()).prop_map(|(name, value)| PathElement::key([(name, value)])),
        1 => value.prop_map(PathElement::Value),
        1 => (-1i64..3).prop_map(PathElement::Index),
    ]
}

fn set() -> impl Strategy<Value = FieldSet> {
    let path = prop::collection::vec(element(), 1..4).prop_map(Path);
    prop::collection::vec(path, 0..12).prop_map(FieldSet::from_iter)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn fields_v1_reads_what_it_writes(set in set()) {
        let json = set.to_fields_v1();
        let text = json.to_string();
        let back = FieldSet::from_fields_v1(&serde_json::from_str(&text).expect("JSON")).expect("reads");
        prop_assert_eq!(&back, &set);
        prop_assert_eq!(back.len(), set.paths().len());
    }

    #[test]
    fn sets_are_sets(a in set(), b in set(), c in set()) {
        prop_assert_eq!(a.union(&b), b.union(&a));
        prop_assert_eq!(a.intersection(&b), b.intersection(&a));
        prop_assert_eq!(a.union(&b).union(&c), a.union(&b.union(&c)));
        prop_assert_eq!(a.difference(&b).union(&a.intersection(&b)), a.clone());
        prop_assert!(a.difference(&b).intersection(&b).is_empty());
        prop_assert_eq!(a.difference(&b).union(&b), a.union(&b));
        prop_assert!(a.intersection(&b).is_subset(&a));
        prop_assert!(a.recursive_difference(&b).is_subset(&a.difference(&b)));
        prop_assert_eq!(a.is_subset(&b), a.difference(&b).is_empty());
        for path in a.paths() {
            prop_assert_eq!(b.has(&path.0), a.intersection(&b).has(&path.0));
            let above = (1..=path.0.len()).any(|length| b.has(&path.0[..length]));
            prop_assert_eq!(a.recursive_difference(&b).has(&path.0), !above);
        }
    }

    #[test]
    fn garbage_is_refused_and_never_panics(text in "[fkvi.:{}\"a0]{0,12}") {
        let _ = PathElement::decode(&text);
        let _ = FieldSet::from_fields_v1(&json!({ text: {} }));
    }
}

// a null and an empty list are owned by nobody, so they say nothing that can be said twice
fn generate(rng: &mut Rng, api_version: &str, kind: &str) -> Value {
    definite(&support::generate(rng, api_version, kind))
}

fn definite(value: &Value) -> Value {
    match value {
        Value::Object(map) => map
            .iter()
            .filter(|(_, value)| {
                !value.is_null() && value.as_array().is_none_or(|items| !items.is_empty())
            })
            .map(|(key, value)| (key.clone(), definite(value)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        Value::Array(items) => items.iter().map(definite).collect(),
        _ => value.clone(),
    }
}

const KINDS: &[(&str, &str)] = &[
    ("apps/v1", "Deployment"),
    ("v1", "Service"),
    ("v1", "ConfigMap"),
    ("v1", "Pod"),
    ("example.com/v1", "Widget"),
];

fn schema_of(api_version: &str, kind: &str) -> TypeRef {
    Schemas::builtin()
        .lookup(&Gvk::new(api_version, kind))
        .unwrap_or_else(|| TypeRef::from_crd_schema(&support::widget_schema()))
}

fn options<'a>(manager: &'a str, now: &'a str, schema: &TypeRef) -> ApplyOptions<'a> {
    ApplyOptions {
        manager,
        force: true,
        subresource: "",
        now,
        schema: schema.clone(),
        reset_fields: None,
        versions: None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn apply_again_changes_nothing(seed in any::<u64>()) {
        let mut rng = Rng::new(seed);
        let (api_version, kind) = *rng.pick(KINDS);
        let schema = schema_of(api_version, kind);
        let mut live = None;
        for (at, manager) in ["one", "two", "one", "three"].iter().enumerate() {
            let config = generate(&mut rng, api_version, kind);
            let now = format!("2001-01-01T00:00:0{at}Z");
            let next = apply(live.as_ref(), &config, &options(manager, &now, &schema)).expect("force applies");
            let again = apply(Some(&next), &config, &options(manager, "2002-01-01T00:00:00Z", &schema)).expect("applies");
            prop_assert_eq!(&again, &next);
            // a write of the same object is no change either
            let update = UpdateOptions { manager: "hpa", subresource: "", now: "2002-01-01T00:00:00Z", schema: schema.clone(), reset_fields: None, versions: None };
            prop_assert_eq!(&track_update(Some(&next), &next, &update), &next);
            prop_assert!(changed_paths(&next, &again, &schema).is_empty());
            live = Some(next);
        }
    }

    #[test]
    fn what_is_forced_is_owned_and_no_value_has_two_owners_that_differ(seed in any::<u64>()) {
        let mut rng = Rng::new(seed);
        let (api_version, kind) = *rng.pick(KINDS);
        let schema = schema_of(api_version, kind);
        let first = apply(None, &generate(&mut rng, api_version, kind), &options("one", "2001-01-01T00:00:00Z", &schema)).expect("creates");
        let config = generate(&mut rng, api_version, kind);
        let forced = apply(Some(&first), &config, &options("two", "2001-01-01T00:00:01Z", &schema)).expect("forces");
        // whoever applies the result of the other again meets no conflict
        let quiet = ApplyOptions { force: false, ..options("two", "2001-01-01T00:00:02Z", &schema) };
        prop_assert_eq!(&apply(Some(&forced), &config, &quiet).expect("no conflict with oneself"), &forced);
        let managed = Managed::of(&forced).expect("reads");
        prop_assert!(managed.entries.iter().all(|entry| !entry.fields.is_empty()));
    }

    #[test]
    fn the_last_applier_leaves_nothing_behind(seed in any::<u64>()) {
        let mut rng = Rng::new(seed);
        let (api_version, kind) = *rng.pick(KINDS);
        let schema = schema_of(api_version, kind);
        let bare = json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "it"}});
        let config = generate(&mut rng, api_version, kind);
        let made = apply(None, &config, &options("one", "2001-01-01T00:00:00Z", &schema)).expect("creates");
        prop_assume!(!Managed::of(&made).expect("reads").entries.is_empty());
        let emptied = apply(Some(&made), &bare, &options("one", "2001-01-01T00:00:01Z", &schema)).expect("applies");
        prop_assert_eq!(Managed::of(&emptied).expect("reads").entries.len(), 0, "{}", emptied);
    }

    #[test]
    fn the_schemaless_strategic_merge_is_a_merge_patch(seed in any::<u64>()) {
        let mut rng = Rng::new(seed);
        let (api_version, kind) = *rng.pick(KINDS);
        let live = generate(&mut rng, api_version, kind);
        let other = generate(&mut rng, api_version, kind);
        let patch = definite(&support::mutate(&mut rng, &live, &other));
        let strategic = strategic_merge(&live, &patch, &TypeRef::deduced()).expect("merges");
        prop_assert_eq!(changed_paths(&strategic, &merge_patch(&live, &patch), &TypeRef::deduced()), Vec::<String>::new());
    }
}
