//! What people write wrong, and what they are told.

use roadstead_model::{App, Cluster, Noun, Source, Strategy, parse_noun};

fn check<N: Noun>(yaml: &str, expected: &[&str]) {
    let document = parse(yaml);
    let found: Vec<String> = match parse_noun::<N>(&document) {
        Ok(noun) => noun.validate().iter().map(ToString::to_string).collect(),
        Err(error) => vec![error.to_string()],
    };
    assert_eq!(found, expected, "{yaml}");
}

fn parse(json: &str) -> serde_json::Value {
    base_json::parse_strict(json.as_bytes()).expect("test input is JSON")
}

fn app(spec: &str) -> String {
    format!(
        r#"{{"apiVersion":"roadstead.dev/v1alpha1","kind":"App","metadata":{{"name":"shop"}},"spec":{spec}}}"#
    )
}

fn strategy(stage: &str) -> String {
    format!(
        r#"{{"apiVersion":"roadstead.dev/v1alpha1","kind":"Strategy","metadata":{{"name":"s"}},"spec":{{"stages":[{stage}]}}}}"#
    )
}

#[test]
fn a_good_app_has_nothing_to_complain_of() {
    check::<App>(
        &app(r#"{"inputs":[{"source":"git","path":"shop"}],"targets":[{"name":"all"}]}"#),
        &[],
    );
}

#[test]
fn errors_name_the_field() {
    check::<App>(
        &app(r#"{"inputs":[],"targets":[]}"#),
        &[
            "spec.inputs: an App needs at least one input",
            "spec.targets: an App needs at least one target",
        ],
    );
    check::<App>(
        &app(r#"{"inputs":[{"source":"git","path":"../etc"}],"targets":[{"name":"all"}]}"#),
        &[
            "spec.inputs[0].path: \"../etc\" leaves the tree: a path is relative to the tree's root and has no \"..\"",
        ],
    );
    check::<Strategy>(
        &strategy(r#"{"name":"a","waves":[{"percent":0}]}"#),
        &["spec.stages[0].waves[0].percent: 0 is not from 1 to 100"],
    );
    check::<Source>(
        r#"{"apiVersion":"roadstead.dev/v1alpha1","kind":"Source","metadata":{"name":"s"},"spec":{"git":{"url":"ftp://x"},"interval":"1ms"}}"#,
        &[
            "spec.git.url: \"ftp://x\" is not a URL that can be read: use https://, ssh://, user@host:path or file://",
            "spec.interval: is shorter than 1s",
        ],
    );
    check::<Cluster>(
        r#"{"apiVersion":"roadstead.dev/v1alpha1","kind":"Cluster","metadata":{"name":"hub"},"spec":{}}"#,
        &["metadata.name: \"hub\" is the hub itself"],
    );
}

#[test]
fn what_is_wrong_with_a_kustomization_is_told_with_its_place() {
    let app = |render: &str, overlay: &str| {
        app(&format!(
            r#"{{"inputs":[{{"source":"git"}}],"targets":[{{"name":"all"}}],"render":{render},"overlays":[{{"name":"o","kustomize":{overlay}}}]}}"#
        ))
    };
    check::<App>(
        &app(
            r#"{"kustomize":{"path":"overlays/eu","images":[{"name":"web","newTag":"2"}],"loadRestrictor":"None"}}"#,
            r#"{"replicas":[{"name":"web","count":"${cluster.values.n:-1}"},{"name":"api","count":2}]}"#,
        ),
        &[],
    );
    check::<App>(
        &app(
            r#"{"kustomize":{"path":"../x","buildMetadata":["all"],"patches":[{}]}}"#,
            r#"{"replicas":[{"name":"web","count":"two"}],"components":["/x"]}"#,
        ),
        &[
            "spec.render.kustomize.path: \"../x\" leaves the input: it is relative to the input's path and has no \"..\"",
            "spec.render.kustomize.patches[0]: a patch has either `patch` or `path`",
            "spec.render.kustomize.buildMetadata[0]: \"all\" is none of managedByLabel, originAnnotations, transformerAnnotations",
            "spec.overlays[0].kustomize.components[0]: \"/x\" is no path relative to the kustomization's folder",
            "spec.overlays[0].kustomize.replicas[0].count: \"two\" is neither a number nor a text with ${cluster.…}",
        ],
    );
    check::<App>(
        &app(
            r#"{"plain":{"substitute":true},"kustomize":{}}"#,
            r#"{"namePrefix":"x-"}"#,
        ),
        &[
            "spec.render: plain, helm and kustomize exclude each other",
            "spec.overlays[0].kustomize: the App is not built by kustomize: spec.render says otherwise",
        ],
    );
    check::<App>(
        &app(r#"{"kustomize":{"image":[]}}"#, "{}"),
        &["spec.render.kustomize: unknown field `image`"],
    );
}

#[test]
fn unknown_fields_and_operators_are_errors_with_their_place() {
    check::<App>(
        &app(r#"{"inputs":[{"source":"git","pth":"x"}],"targets":[{"name":"all"}]}"#),
        &["spec.inputs[0].pth: unknown field `pth`, expected one of `name`, `source`, `path`"],
    );
    check::<App>(
        &app(
            r#"{"inputs":[{"source":"git"}],"targets":[{"name":"all","clusters":{"selector":{"matchExpressions":[{"key":"a","operator":"Like"}]}}}]}"#,
        ),
        &[
            "spec.targets[0].clusters.selector.matchExpressions[0].operator: unknown variant `Like`, expected one of `In`, `NotIn`, `Exists`, `DoesNotExist`",
        ],
    );
    check::<Strategy>(
        &strategy(r#"{"name":"a","soak":"5 minutes"}"#),
        &["spec.stages[0].soak: \"5 minutes\" is not a length of time such as 90s, 5m or 1h30m"],
    );
}

#[test]
fn every_noun_has_documentation_on_every_field() {
    fn walk(schema: &serde_json::Value, path: &str, bare: &mut Vec<String>) {
        if let Some(properties) = schema.get("properties").and_then(|p| p.as_object()) {
            for (name, property) in properties {
                let path = format!("{path}.{name}");
                let top =
                    ["apiVersion", "kind", "metadata", "spec", "status"].contains(&name.as_str());
                if !top && property.get("description").is_none() {
                    bare.push(path.clone());
                }
                walk(property, &path, bare);
            }
        }
        if let Some(items) = schema.get("items") {
            walk(items, &format!("{path}[]"), bare);
        }
    }
    let mut bare = Vec::new();
    for noun in roadstead_model::nouns() {
        walk(noun.schema.as_value(), noun.info.kind, &mut bare);
    }
    assert!(bare.is_empty(), "fields without documentation: {bare:#?}");
}
