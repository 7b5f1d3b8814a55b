//! What would become of an object that is there before its App: whose it is, whether it is taken over, and what that changes.
//!
//! It asks what a sync asks, in the same order, and writes nothing.

use base_json::Value;
use k8s_apply::ApplyOptions;
use k8s_apply::schema::TypeRef;
use k8s_object::Gvk;
use roadstead_dispatch::{
    APP_LABEL, Existing, OWNER_ANNOTATION, Survey, Surveyed, app_label, owner_annotation,
};
use roadstead_model::AdoptFrom;

use crate::claim::{self, Claim};
use crate::{adopt, desired, engine};

/// Stands in the place of every value of a Secret, so that none is compared.
const VALUE: &str = "***";

/// The marks by which tools call an object theirs; they go when it is taken over, and that is no change of it.
const MARKS: &[&str] = &[
    "kubectl.kubernetes.io/last-applied-configuration",
    "meta.helm.sh/",
    "argocd.argoproj.io/tracking-id",
    "argocd.argoproj.io/instance",
    "kustomize.toolkit.fluxcd.io/",
    "helm.toolkit.fluxcd.io/",
];

/// Says what taking an object over would mean; `None` if it is the App's already.
pub fn survey(asked: &Survey, wanted: &Surveyed, live: &Value) -> Option<Existing> {
    let id = &wanted.id;
    let app = &asked.app;
    let owned = claim::owner(live, id);
    let claimed = claim::claim(live, id, app, &asked.adopt, &asked.takes_over_from, None);
    let mut out = Existing {
        object: id.clone(),
        owner: owned.map_or_else(
            || tool(live).unwrap_or_default(),
            |owner| format!("App {}", owner.app),
        ),
        managers: managers(live),
        fields: Vec::new(),
        refused: String::new(),
        unknown: String::new(),
    };
    match claimed {
        Claim::Ours => return None,
        Claim::Refused(message) => {
            out.refused = message;
            return Some(out);
        }
        Claim::Free { adopted } => match changes(asked, wanted, live, adopted) {
            Ok(fields) => out.fields = fields,
            Err(why) => out.unknown = why,
        },
    }
    Some(out)
}

/// What to ask the API server to make for a trial, so that its defaults are known: the object under another name, and of
/// a Secret its keys alone.
pub fn trial(wanted: &Surveyed) -> Value {
    let mut object = wanted.object.clone();
    let name: String = wanted.id.name.chars().take(50).collect();
    object["metadata"]["name"] =
        Value::from(format!("{}-trial", name.trim_end_matches(['-', '.'])));
    if is_secret(wanted) {
        hide(&mut object, "");
    }
    object
}

/// Those of the fields that differ after the API server has put its defaults in: `made` is what it would make of
/// [`trial`]. What a tool owned because it was defaulted when the tool made it would go, and come again.
pub fn lasting(fields: &[String], wanted: &Surveyed, live: &Value, made: &Value) -> Vec<String> {
    let Some(gvk) = Gvk::of(&wanted.object) else {
        return fields.to_vec();
    };
    let schema = TypeRef::builtin_or_deduced(&gvk);
    let (mut live, mut made) = (live.clone(), made.clone());
    if is_secret(wanted) {
        hide(&mut live, VALUE);
        hide(&mut made, VALUE);
    }
    let differ = k8s_apply::changed_paths(&live, &made, &schema);
    let within = |a: &str, b: &str| {
        a.strip_prefix(b)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    };
    let lasts = |field: &&String| {
        differ
            .iter()
            .any(|other| within(field, other) || within(other, field))
    };
    fields.iter().filter(lasts).cloned().collect()
}

fn is_secret(wanted: &Surveyed) -> bool {
    wanted.id.group.is_empty() && wanted.id.kind == "Secret"
}

fn tool(live: &Value) -> Option<String> {
    match claim::other_tool(live) {
        Some((AdoptFrom::Kubectl, _)) | None => {
            claim::applied_by_kubectl(live).then(|| "kubectl".to_owned())
        }
        Some((_, name)) => Some(name),
    }
}

fn managers(live: &Value) -> Vec<String> {
    let entries = live
        .pointer("/metadata/managedFields")
        .and_then(Value::as_array);
    let mut out: Vec<String> = entries
        .into_iter()
        .flatten()
        .filter(|entry| {
            let part = entry.get("subresource").and_then(Value::as_str);
            part.is_none_or(str::is_empty)
        })
        .filter_map(|entry| Some(entry.get("manager")?.as_str()?.to_owned()))
        .collect();
    out.sort_unstable();
    out.dedup();
    out
}

/// Hands the object over and applies to it, in memory.
fn changes(
    asked: &Survey,
    wanted: &Surveyed,
    live: &Value,
    adopted: bool,
) -> Result<Vec<String>, String> {
    let id = &wanted.id;
    let gvk = Gvk::of(&wanted.object).ok_or("it has no apiVersion and kind")?;
    let schema = TypeRef::builtin_or_deduced(&gvk);
    let mut before = live.clone();
    if adopted
        && let Some(patch) = adopt::hand_over(live)
        && let Some(entries) = patch.pointer("/metadata/managedFields")
    {
        before["metadata"]["managedFields"] = entries.clone();
    }
    let content = base_json::canonical(&wanted.object);
    let mut object =
        desired::marked(content.as_ref(), &asked.app, id).ok_or("it is no JSON object")?;
    if is_secret(wanted) {
        hide(&mut before, VALUE);
        hide(&mut object, VALUE);
    }
    // a field that is left to others keeps its value: before it is let go it is given to somebody who keeps it
    for pointer in desired::ignored(&asked.ignore, id) {
        desired::take(&mut object, &pointer);
        desired::take(&mut before, &pointer);
    }
    let scaled = engine::owners_of(live, desired::REPLICAS);
    if desired::scales(id) && scaled.iter().any(|(_, part)| *part == "scale") {
        desired::take(&mut object, desired::REPLICAS);
        desired::take(&mut before, desired::REPLICAS);
    }
    // whose it is changes, and that is no change of it
    unmark(&mut before);
    k8s_object::set_label(&mut before, APP_LABEL, &app_label(&asked.app));
    let mark = owner_annotation(&asked.app, id);
    k8s_object::set_annotation(&mut before, OWNER_ANNOTATION, &mark);
    let options = ApplyOptions {
        manager: crate::MANAGER,
        force: true,
        subresource: "",
        now: "",
        schema: schema.clone(),
        reset_fields: None,
        versions: None,
    };
    Ok(match k8s_apply::apply(Some(&before), &object, &options) {
        Ok(after) => k8s_apply::changed_paths(&before, &after, &schema),
        // it is there in another version, or by a schema that is not known here
        Err(_) => engine::differing(&before, &object),
    })
}

/// Takes the marks of tools off.
fn unmark(object: &mut Value) {
    for part in ["labels", "annotations"] {
        let marks = object
            .pointer_mut("/metadata")
            .and_then(|meta| meta.get_mut(part))
            .and_then(Value::as_object_mut);
        if let Some(marks) = marks {
            marks.retain(|key, _| !MARKS.iter().any(|mark| key.starts_with(mark)));
        }
    }
}

/// Writes the same in the place of each of a Secret's values.
fn hide(secret: &mut Value, value: &str) {
    let Some(map) = secret.as_object_mut() else {
        return;
    };
    // the API server turns one into the other
    let mut keys: Vec<String> = Vec::new();
    for field in ["data", "stringData"] {
        if let Some(Value::Object(values)) = map.remove(field) {
            keys.extend(values.into_iter().map(|(key, _)| key));
        }
    }
    if !keys.is_empty() {
        let values = keys.into_iter().map(|key| (key, Value::from(value)));
        map.insert("data".to_owned(), Value::Object(values.collect()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base_json::json;
    use k8s_object::ObjectId;
    use roadstead_model::{Adopt, AppKey, IgnoreRule};

    fn map(value: &str) -> Value {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "shop"}, "data": {"k": value}})
    }

    fn by(manager: &str, mut object: Value, marks: &Value) -> Value {
        for (key, value) in marks.as_object().expect("a map") {
            object["metadata"]["annotations"][key] = value.clone();
        }
        let schema = TypeRef::builtin_or_deduced(&Gvk::of(&object).expect("a kind"));
        let options = k8s_apply::UpdateOptions {
            manager,
            subresource: "",
            now: "2026-01-01T00:00:00Z",
            schema,
            reset_fields: None,
            versions: None,
        };
        let mut made = k8s_apply::track_update(None, &object, &options);
        made["metadata"]["resourceVersion"] = json!("1");
        made
    }

    fn check(live: &Value, wanted: &Value, adopt: Adopt, expected: &str) {
        let id = ObjectId::of(wanted).expect("an id");
        let asked = Survey {
            app: AppKey::new("p", "shop"),
            adopt,
            takes_over_from: vec![AppKey::new("p", "old")],
            ignore: vec![IgnoreRule {
                group: String::new(),
                kind: "ConfigMap".to_owned(),
                name: String::new(),
                namespace: String::new(),
                json_pointers: vec!["/data/theirs".to_owned()],
            }],
            objects: Vec::new(),
        };
        let wanted = Surveyed {
            id,
            version: "v1".to_owned(),
            object: wanted.clone(),
        };
        let found = survey(&asked, &wanted, live).map(|found| {
            let Existing {
                owner,
                managers,
                fields,
                refused,
                unknown,
                ..
            } = found;
            format!("{owner} {managers:?} {fields:?} {refused}{unknown}")
        });
        assert_eq!(
            found.as_deref().map(str::trim_end).unwrap_or_default(),
            expected,
            "{live:#}"
        );
    }

    #[test]
    fn tells_whose_an_object_is_and_what_taking_it_over_changes() {
        let helm = json!({"meta.helm.sh/release-name": "web"});
        let from = || Adopt::From(vec![AdoptFrom::Helm]);
        let same = by("helm", map("1"), &helm);
        check(
            &same,
            &map("1"),
            from(),
            r#"Helm release "web" ["helm"] []"#,
        );
        check(
            &same,
            &map("2"),
            from(),
            r#"Helm release "web" ["helm"] [".data.k"]"#,
        );
        check(
            &same,
            &map("2"),
            Adopt::Unowned,
            "Helm release \"web\" [\"helm\"] [] ConfigMap shop/a belongs to Helm release \"web\", and App p/shop wants it too; \
             adopt it with adopt: From once that no longer writes it",
        );
        // what the tool set and Git does not goes, what is left to others stays
        let mut more = map("1");
        more["data"]["gone"] = json!("x");
        more["data"]["theirs"] = json!("x");
        check(
            &by("helm", more, &helm),
            &map("1"),
            from(),
            r#"Helm release "web" ["helm"] [".data.gone"]"#,
        );
        let plain = by("kubectl-client-side-apply", map("1"), &json!({}));
        check(
            &plain,
            &map("1"),
            Adopt::Unowned,
            r#"kubectl ["kubectl-client-side-apply"] []"#,
        );
        check(
            &plain,
            &map("1"),
            from(),
            "kubectl [\"kubectl-client-side-apply\"] [] ConfigMap shop/a was applied by kubectl, which adopt does not list",
        );
        let mark = |app: &str| json!({"roadstead.dev/owner": format!("{app}:/ConfigMap/shop/a")});
        let ours = by(crate::MANAGER, map("1"), &mark("p/shop"));
        check(&ours, &map("1"), Adopt::Unowned, "");
        let old = by(crate::MANAGER, map("1"), &mark("p/old"));
        check(
            &old,
            &map("1"),
            Adopt::Never,
            r#"App p/old ["roadstead"] []"#,
        );
        let other = by(crate::MANAGER, map("1"), &mark("p/other"));
        check(
            &other,
            &map("1"),
            Adopt::Unowned,
            "App p/other [\"roadstead\"] [] ConfigMap shop/a belongs to App p/other, and App p/shop wants it too; take it out of \
             one of them, or let p/shop list p/other under takesOverFrom",
        );
    }

    #[test]
    fn what_the_server_puts_in_again_is_no_change() {
        let deployment = |spec: Value| json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "shop"}, "spec": spec});
        let containers = |more: Value| {
            let mut container = json!({"name": "main", "image": "i:1"});
            for (key, value) in more.as_object().expect("a map") {
                container[key] = value.clone();
            }
            json!({"spec": {"containers": [container]}})
        };
        let wanted = Surveyed {
            id: "apps/Deployment/shop/web".parse().expect("an id"),
            version: "v1".to_owned(),
            object: deployment(json!({"template": containers(json!({}))})),
        };
        let policy = json!({"imagePullPolicy": "IfNotPresent"});
        let live = json!({"minReadySeconds": 5, "revisionHistoryLimit": 10, "template": containers(policy.clone())});
        let made = json!({"revisionHistoryLimit": 10, "template": containers(policy)});
        let fields = [
            ".spec.minReadySeconds",
            ".spec.revisionHistoryLimit",
            ".spec.template.spec.containers[name=\"main\"].imagePullPolicy",
        ];
        let fields: Vec<String> = fields.iter().map(|&field| field.to_owned()).collect();
        assert_eq!(
            lasting(&fields, &wanted, &deployment(live), &deployment(made)),
            [".spec.minReadySeconds"]
        );
        assert_eq!(trial(&wanted)["metadata"]["name"], "web-trial");
    }

    #[test]
    fn a_secret_is_compared_by_its_keys_alone() {
        let secret = |field: &str, key: &str, value: &str| json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a", "namespace": "shop"}, field: {key: value}});
        let live = by("kubectl", secret("data", "p", "YQ=="), &json!({}));
        let adopt = Adopt::Unowned;
        check(
            &live,
            &secret("stringData", "p", VALUE),
            adopt.clone(),
            r#"kubectl ["kubectl"] []"#,
        );
        check(
            &live,
            &secret("data", "q", VALUE),
            adopt,
            r#"kubectl ["kubectl"] [".data.p", ".data.q"]"#,
        );
    }
}
