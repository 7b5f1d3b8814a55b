//! What must hold whatever the input: no panic, the same bytes for the same seed, nothing random where it is forbidden.

mod common;

use common::{NOW, Renderer};
use proptest::prelude::*;
use roadstead_sprig::go::regexp::Regexp;
use roadstead_sprig::go::time::{Time, Zone};
use roadstead_sprig::go::url::Url;
use roadstead_sprig::semver::{Constraints, Version};
use roadstead_sprig::{Dialect, World, functions, toml};
use roadstead_template::{Int, IntKind, Limits, Purity, Type, Value};
use serde_json::json;

#[test]
fn there_are_as_many_functions_as_in_helm() {
    // `slice` replaces a builtin of Go and counts here.
    assert_eq!(functions(Dialect::Helm3).rows().len(), 220);
    assert_eq!(functions(Dialect::Helm4).rows().len(), 222);
    for name in ["env", "expandenv"] {
        assert!(functions(Dialect::Helm4).get(name).is_none());
    }
}

#[test]
fn a_seed_gives_the_same_bytes_each_time() {
    let template = r#"{{ randAlphaNum 20 }} {{ randAlphaNum 20 }} {{ uuidv4 }} {{ randBytes 9 }} {{ shuffle "abcdef" }}
{{ $ca := genCA "ca" 10 }}{{ $ca.Cert }}{{ $ca.Key }}{{ genPrivateKey "ecdsa" }}{{ genPrivateKey "ed25519" }}
{{ bcrypt "x" }} {{ htpasswd "u" "p" }} {{ encryptAES "k" "t" }} {{ randInt 0 1000000 }} {{ now }}"#;
    let renderer = Renderer::new(Dialect::Helm4);
    let render = |seed: &[u8]| {
        renderer
            .render_in(&mut World::seeded(seed, NOW), template, &json!({}))
            .unwrap()
    };
    let first = render(b"one");
    assert_eq!(first, render(b"one"));
    assert_ne!(first, render(b"two"));
    let text = String::from_utf8(first).unwrap();
    let words: Vec<&str> = text.split_whitespace().take(2).collect();
    assert_ne!(words[0], words[1], "each call draws anew");
    assert!(text.ends_with("2023-11-14 22:13:20.123456789 +0000 UTC"));
}

#[test]
fn a_call_more_in_one_place_moves_nothing_of_another_function() {
    let renderer = Renderer::new(Dialect::Helm4);
    let render = |template: &str| {
        let world = &mut World::seeded(b"s", NOW);
        let text = renderer.render_in(world, template, &json!({})).unwrap();
        String::from_utf8(text).unwrap()
    };
    let plain = render("{{ randAlphaNum 12 }}");
    assert_eq!(
        render("{{ $_ := uuidv4 }}{{ $_ = add 1 2 }}{{ randAlphaNum 12 }}"),
        plain
    );
}

#[test]
fn what_is_forbidden_says_so() {
    let renderer = Renderer::new(Dialect::Helm4);
    for row in functions(Dialect::Helm4).rows() {
        if !matches!(row.purity, Purity::Random | Purity::Crypto) {
            continue;
        }
        let args: Vec<&str> = row
            .signature
            .params
            .iter()
            .map(|param| match param {
                Type::Int(_) => "7",
                Type::Slice(_) => "(list)",
                _ => "\"rsa\"",
            })
            .collect();
        if row.name.contains("WithKey") || row.name.contains("genSigned") {
            continue;
        }
        let args = if row.name == "randInt" {
            "1 9".to_owned()
        } else {
            args.join(" ")
        };
        let template = format!("{{{{ {} {args} }}}}", row.name);
        let error = renderer
            .render_in(&mut World::forbidding(), &template, &json!({}))
            .unwrap_err();
        assert!(
            error.contains("forbidden") && error.contains(row.name),
            "{template}: {error}"
        );
    }
    let pure = "{{ dateInZone \"2006\" 0 \"UTC\" }}{{ sha256sum \"x\" }}";
    assert!(
        renderer
            .render_in(&mut World::forbidding(), pure, &json!({}))
            .is_ok()
    );
}

#[test]
fn costly_calls_are_counted() {
    let renderer = Renderer::new(Dialect::Helm4);
    let error = renderer
        .render(
            "{{ range until 100 }}{{ bcrypt \"x\" }}{{ end }}",
            &json!({}),
        )
        .unwrap_err();
    assert!(error.contains("more than 32 keys"), "{error}");
    for template in [
        "{{ until 1000000000 | len }}",
        "{{ seq 1 100000000000 }}",
        "{{ repeat 100000000 \"x\" }}",
        "{{ indent 1000000 (repeat 1000 \"\\n\") }}",
        "{{ regexReplaceAll \"\" (repeat 100000 \"x\") (repeat 100000 \"y\") }}",
        "{{ replace \"\" (repeat 100000 \"y\") (repeat 100000 \"x\") }}",
        "{{ wrapWith 1 (repeat 100000 \"y\") (repeat 100000 \"x\") }}",
    ] {
        let error = renderer.render(template, &json!({})).unwrap_err();
        assert!(error.contains("bytes"), "{template}: {error}");
    }
}

/// A value that proptest can show.
#[derive(Debug, Clone)]
enum Sample {
    Nil,
    Bool(bool),
    Int(IntKind, i64),
    Float(f64),
    Text(Vec<u8>),
    List(Vec<Sample>),
    Map(Vec<(Vec<u8>, Sample)>),
}

impl Sample {
    fn value(self) -> Value {
        match self {
            Sample::Nil => Value::Nil,
            Sample::Bool(value) => Value::Bool(value),
            Sample::Int(kind, value) => Value::Int(Int::new(kind, value)),
            Sample::Float(value) => Value::Float(value),
            Sample::Text(text) => Value::str(text),
            Sample::List(items) => Value::list(items.into_iter().map(Sample::value).collect()),
            Sample::Map(entries) => {
                Value::dict(entries.into_iter().map(|(key, item)| (key, item.value())))
            }
        }
    }
}

fn argument(wanted: Type) -> BoxedStrategy<Sample> {
    let known = [
        "(",
        "é",
        "-----BEGIN RSA PRIVATE KEY-----\nMAA=\n-----END RSA PRIVATE KEY-----\n",
        "1.2.3-a",
        "a: [1, {b: c}]",
        "{\"a\":[1,null]}",
        "a = [1]\n[b]",
    ];
    let text = prop_oneof![
        "[ -~]{0,12}".prop_map(String::into_bytes),
        prop::sample::select(known.map(|text| text.as_bytes().to_vec()).to_vec()),
        prop::collection::vec(any::<u8>(), 0..8)
    ];
    let text = text.prop_map(Sample::Text).boxed();
    let number = |kind: IntKind| {
        prop_oneof![-4_i64..5, Just(i64::MIN), Just(i64::MAX), any::<i64>()]
            .prop_map(move |value| Sample::Int(kind, value))
    };
    let list = prop::collection::vec(text.clone(), 0..3).prop_map(Sample::List);
    let map = (text.clone(), text.clone()).prop_map(|(key, item)| {
        let key = match key {
            Sample::Text(key) => key,
            _ => Vec::new(),
        };
        let inner = Sample::Map(vec![(b"x".to_vec(), item.clone())]);
        Sample::Map(vec![(key, item), (b"n".to_vec(), inner)])
    });
    match wanted {
        Type::Str => text,
        Type::Int(kind) => number(kind).boxed(),
        Type::Float64 => any::<f64>().prop_map(Sample::Float).boxed(),
        Type::Bool => any::<bool>().prop_map(Sample::Bool).boxed(),
        Type::Object(_) => Just(Sample::Nil).boxed(),
        Type::Map(_) => map.boxed(),
        Type::Slice(_) => list.boxed(),
        _ => prop_oneof![
            Just(Sample::Nil),
            any::<bool>().prop_map(Sample::Bool),
            any::<f64>().prop_map(Sample::Float),
            number(IntKind::Int),
            text,
            list,
            map,
        ]
        .boxed(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn no_function_panics(choices in prop::collection::vec(any::<prop::sample::Index>(), 24), seed in any::<u64>()) {
        let table = functions(Dialect::Helm4);
        let mut runner = proptest::test_runner::TestRunner::new_with_rng(
            ProptestConfig::default(),
            proptest::test_runner::TestRng::from_seed(
                proptest::test_runner::RngAlgorithm::ChaCha,
                &[&seed.to_le_bytes()[..], &[0; 24]].concat(),
            ),
        );
        for choice in choices {
            let row = choice.get(table.rows());
            if row.name.starts_with("gen") || matches!(row.name, "derivePassword" | "bcrypt" | "htpasswd") {
                continue;
            }
            let mut params = row.signature.params.to_vec();
            if row.signature.variadic {
                let last = params.pop().expect("a variadic parameter");
                params.extend(vec![last; (seed % 3) as usize]);
            }
            let args: Vec<Value> = params
                .into_iter()
                .map(|param| argument(param).new_tree(&mut runner).expect("a value").current().value())
                .collect();
            let limits = Limits { memory: 4 << 20, string: 1 << 20, ..Limits::default() };
            let _ = row.run(&mut World::seeded(b"x", NOW), &limits, &args);
        }
    }

    #[test]
    fn no_reader_panics(text in "[ -~\\n\\té]{0,40}", other in "[-0-9a-zA-Z:+., _]{0,24}") {
        let (bytes, other) = (text.as_bytes(), other.as_bytes());
        let _ = Constraints::parse(bytes);
        let _ = Version::parse(bytes);
        if let Ok(regexp) = Regexp::new(bytes) {
            regexp.replace_all(other, bytes, false);
            regexp.split(other, -1);
        }
        let _ = Url::parse(bytes).map(|url| url.text());
        let _ = Time::parse(other, bytes, &Zone::Local).map(|time| time.format(other));
        let _ = Time::parse(b"2006-01-02T15:04:05Z07:00", other, &Zone::Local);
        let _ = toml::parse(bytes);
        let _ = roadstead_sprig::go::duration::parse(other);
        let _ = roadstead_sprig::go::json::parse(bytes);
    }

    #[test]
    fn a_time_comes_back(seconds in -62_135_596_800_i64..253_402_300_800, zone in 0_usize..4) {
        let zone = ["UTC", "America/New_York", "Asia/Kolkata", "Pacific/Auckland"][zone];
        let time = Time::at(seconds, 0, Zone::load(zone).expect("a zone"));
        let layout = b"2006-01-02T15:04:05Z07:00:00";
        let text = time.format(layout);
        prop_assert_eq!(Time::parse(layout, &text, &Zone::Local).map(|time| time.unix), Ok(seconds));
    }
}
