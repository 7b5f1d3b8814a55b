//! Whose object is this?

use base_json::Value;
use k8s_object::{ObjectId, annotation, label};
use roadstead_dispatch::{OWNER_ANNOTATION, Owner, parse_owner};
use roadstead_model::{Adopt, AdoptFrom, AppKey};

/// What an App may do with an object that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Claim {
    /// It carries this App's mark for itself.
    Ours,
    /// It may be taken over.
    Free {
        /// It was somebody else's or nobody's before, so its first removal waits for approval.
        adopted: bool,
    },
    /// It must be left alone; why.
    Refused(String),
}

/// The owner that an object names, if the mark was made for this object.
pub(crate) fn owner(live: &Value, id: &ObjectId) -> Option<Owner> {
    annotation(live, OWNER_ANNOTATION)
        .and_then(parse_owner)
        .filter(|owner| owner.object == *id)
}

/// Decides. `known_uid` is the uid that the App's record has for it.
pub(crate) fn claim(
    live: &Value,
    id: &ObjectId,
    app: &AppKey,
    adopt: &Adopt,
    takes_over_from: &[AppKey],
    known_uid: Option<&str>,
) -> Claim {
    match owner(live, id) {
        Some(owner) if owner.app == *app => return Claim::Ours,
        Some(owner) if takes_over_from.contains(&owner.app) => {
            return Claim::Free { adopted: false };
        }
        Some(owner) => {
            return Claim::Refused(format!(
                "{} belongs to App {}, and App {app} wants it too; take it out of one of them, or let {app} list {} under \
                 takesOverFrom",
                id.readable(),
                owner.app,
                owner.app,
            ));
        }
        None => {}
    }
    // somebody took the mark off an object that we made
    if known_uid.is_some_and(|uid| !uid.is_empty() && uid == k8s_object::uid(live)) {
        return Claim::Free { adopted: false };
    }
    if *adopt == Adopt::Never {
        return Claim::Refused(format!(
            "{} exists already, and the App adopts nothing (adopt: Never)",
            id.readable()
        ));
    }
    let Some((tool, name)) = other_tool(live) else {
        return match adopt {
            Adopt::From(list)
                if !list.contains(&AdoptFrom::Kubectl) && applied_by_kubectl(live) =>
            {
                Claim::Refused(format!(
                    "{} was applied by kubectl, which adopt does not list",
                    id.readable()
                ))
            }
            _ => Claim::Free { adopted: true },
        };
    };
    match adopt {
        Adopt::From(list) if list.contains(&tool) => Claim::Free { adopted: true },
        _ => Claim::Refused(format!(
            "{} belongs to {name}, and App {app} wants it too; adopt it with adopt: From once that no longer writes it",
            id.readable()
        )),
    }
}

/// Did kubectl write it?
pub(crate) fn applied_by_kubectl(live: &Value) -> bool {
    annotation(live, "kubectl.kubernetes.io/last-applied-configuration").is_some()
        || live
            .pointer("/metadata/managedFields")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.get("manager")?.as_str())
            .any(|manager| manager.starts_with("kubectl"))
}

/// The tool that an object says it belongs to, and its name for what it belongs to.
pub(crate) fn other_tool(live: &Value) -> Option<(AdoptFrom, String)> {
    let flux = [
        ("kustomize.toolkit.fluxcd.io/name", "Kustomization"),
        ("helm.toolkit.fluxcd.io/name", "HelmRelease"),
    ];
    // a HelmRelease of Flux has Helm's own marks as well
    let flux = flux.iter().find_map(|(key, kind)| {
        label(live, key).map(|name| (AdoptFrom::Flux, format!("Flux {kind} {name:?}")))
    });
    if flux.is_some() {
        return flux;
    }
    let helm = annotation(live, "meta.helm.sh/release-name");
    if let Some(name) = helm {
        return Some((AdoptFrom::Helm, format!("Helm release {name:?}")));
    }
    if let Some(name) = annotation(live, "argocd.argoproj.io/tracking-id") {
        let app = name.split(':').next().unwrap_or(name);
        return Some((AdoptFrom::Argocd, format!("Argo CD application {app:?}")));
    }
    if let Some(name) = label(live, "argocd.argoproj.io/instance") {
        return Some((AdoptFrom::Argocd, format!("Argo CD application {name:?}")));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use base_json::json;

    fn check(meta: Value, adopt: Adopt, expected: Result<Claim, &str>) {
        let live = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta});
        let id: ObjectId = "/ConfigMap/shop/a".parse().expect("an id");
        let app = AppKey::new("p", "shop");
        let found = claim(
            &live,
            &id,
            &app,
            &adopt,
            &[AppKey::new("p", "old")],
            Some("u1"),
        );
        match expected {
            Ok(expected) => assert_eq!(found, expected, "{live}"),
            Err(text) => match found {
                Claim::Refused(message) => assert!(message.contains(text), "{message}"),
                other => panic!("{other:?} for {live}"),
            },
        }
    }

    #[test]
    fn tells_whose_an_object_is() {
        let mark = |text: &str| json!({"annotations": {"roadstead.dev/owner": text}});
        let adopted = Ok(Claim::Free { adopted: true });
        check(
            mark("p/shop:/ConfigMap/shop/a"),
            Adopt::Unowned,
            Ok(Claim::Ours),
        );
        check(
            mark("p/other:/ConfigMap/shop/a"),
            Adopt::Unowned,
            Err("belongs to App p/other, and App p/shop wants it too"),
        );
        check(
            mark("p/old:/ConfigMap/shop/a"),
            Adopt::Never,
            Ok(Claim::Free { adopted: false }),
        );
        // a copy of another object's mark is no mark
        check(
            mark("p/other:/ConfigMap/shop/b"),
            Adopt::Unowned,
            adopted.clone(),
        );
        check(json!({}), Adopt::Unowned, adopted.clone());
        check(json!({}), Adopt::Never, Err("adopts nothing"));
        check(
            json!({"uid": "u1"}),
            Adopt::Never,
            Ok(Claim::Free { adopted: false }),
        );
        let helm = json!({"annotations": {"meta.helm.sh/release-name": "web"}});
        check(helm.clone(), Adopt::Unowned, Err("Helm release \"web\""));
        check(
            helm.clone(),
            Adopt::From(vec![AdoptFrom::Argocd]),
            Err("Helm"),
        );
        check(helm, Adopt::From(vec![AdoptFrom::Helm]), adopted);
        let flux = json!({"labels": {"kustomize.toolkit.fluxcd.io/name": "infra"}});
        check(flux, Adopt::Unowned, Err("Flux Kustomization \"infra\""));
    }
}
