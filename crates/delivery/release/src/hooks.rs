//! When an object is applied: phases, waves and hooks, as annotations of ours, of Argo CD and of Helm say.
//!
//! Ours win over Argo CD's, and those over Helm's. An object that several hooks name comes once in each phase, in later ones under
//! a name of its own.

use k8s_object::{Gvk, annotation};
use roadstead_dispatch::{HookDelete, Phase};
use serde_json::Value;

/// What the annotations say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Timing {
    /// The phases; empty when the object is left out.
    pub(crate) phases: Vec<Phase>,
    pub(crate) wave: i32,
    pub(crate) hook: bool,
    pub(crate) once: bool,
    pub(crate) hook_delete: Vec<HookDelete>,
    pub(crate) on_rollback: bool,
    pub(crate) keep: bool,
    /// What was understood and is not done.
    pub(crate) notes: Vec<String>,
}

const HOOK: &str = "roadstead.dev/hook";
const WAVE: &str = "roadstead.dev/wave";
const DELETE: &str = "roadstead.dev/hook-delete";
const ROLLBACK: &str = "roadstead.dev/on-rollback";
const PRUNE: &str = "roadstead.dev/prune";
const ONCE: &str = "roadstead.dev/once";
const ARGO_HOOK: &str = "argocd.argoproj.io/hook";
const ARGO_WAVE: &str = "argocd.argoproj.io/sync-wave";
const ARGO_DELETE: &str = "argocd.argoproj.io/hook-delete-policy";
const ARGO_OPTIONS: &str = "argocd.argoproj.io/sync-options";
const HELM_HOOK: &str = "helm.sh/hook";
const HELM_WEIGHT: &str = "helm.sh/hook-weight";
const HELM_DELETE: &str = "helm.sh/hook-delete-policy";
const HELM_POLICY: &str = "helm.sh/resource-policy";

/// Reads an object's annotations; the error says which one is wrong.
pub(crate) fn timing(object: &Value) -> Result<Timing, String> {
    let get = |key: &str| {
        annotation(object, key)
            .map(str::trim)
            .filter(|v| !v.is_empty())
    };
    let mut out = Timing::default();
    let kind = Gvk::of(object).map(|gvk| gvk.group_kind());
    let is = |group: &str, name: &str| {
        kind.as_ref()
            .is_some_and(|kind| kind.group == group && kind.kind == name)
    };
    if let Some(text) = get(HOOK) {
        own_hook(text, &mut out)?;
    } else if let Some(text) = get(ARGO_HOOK) {
        argo_hook(text, &mut out)?;
    } else if let Some(text) = get(HELM_HOOK) {
        helm_hook(text, &mut out)?;
    } else {
        out.phases.push(Phase::Sync);
    }
    out.phases.sort_unstable();
    out.phases.dedup();
    let wave = [WAVE, ARGO_WAVE, HELM_WEIGHT]
        .into_iter()
        .find_map(|key| get(key).map(|text| (key, text)));
    if let Some((key, text)) = wave {
        out.wave = text
            .parse()
            .map_err(|_| format!("annotation {key}: {text:?} is not a whole number"))?;
    }
    if out.hook {
        out.hook_delete = hook_delete(&get)?;
    }
    out.on_rollback |= flag(&get, ROLLBACK)?.unwrap_or(false);
    out.once = is("batch", "Job")
        || out.hook && (is("", "Pod") || is("argoproj.io", "Workflow"))
        || flag(&get, ONCE)?.unwrap_or(false);
    out.keep = match flag(&get, PRUNE)? {
        Some(prune) => !prune,
        None => kept_by_others(&get, &mut out.notes)?,
    };
    Ok(out)
}

fn flag<'a>(get: &impl Fn(&str) -> Option<&'a str>, key: &str) -> Result<Option<bool>, String> {
    match get(key) {
        None => Ok(None),
        Some("true") => Ok(Some(true)),
        Some("false") => Ok(Some(false)),
        Some(other) => Err(format!(
            "annotation {key}: {other:?} is neither \"true\" nor \"false\""
        )),
    }
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(',')
        .map(str::trim)
        .filter(|word| !word.is_empty())
}

fn own_hook(text: &str, out: &mut Timing) -> Result<(), String> {
    for word in words(text) {
        out.phases.push(match word {
            "PreSync" => Phase::PreSync,
            "PostSync" => Phase::PostSync,
            "SyncFail" => Phase::SyncFail,
            _ => {
                return Err(format!(
                    "annotation {HOOK}: {word:?} is no hook: use PreSync, PostSync or SyncFail"
                ));
            }
        });
    }
    out.hook = true;
    Ok(())
}

fn argo_hook(text: &str, out: &mut Timing) -> Result<(), String> {
    let mut skip = false;
    for word in words(text) {
        match word {
            "PreSync" => out.phases.push(Phase::PreSync),
            "Sync" => out.phases.push(Phase::Sync),
            "PostSync" => out.phases.push(Phase::PostSync),
            "SyncFail" => out.phases.push(Phase::SyncFail),
            "Skip" => skip = true,
            "PreDelete" | "PostDelete" => {
                out.notes
                    .push(format!("annotation {ARGO_HOOK}: {word} hooks do not run"));
            }
            _ => {
                return Err(format!(
                    "annotation {ARGO_HOOK}: {word:?} is no hook: use PreSync, Sync, PostSync, SyncFail or Skip"
                ));
            }
        }
    }
    if skip {
        out.phases.clear();
    }
    out.hook = true;
    Ok(())
}

fn helm_hook(text: &str, out: &mut Timing) -> Result<(), String> {
    for word in words(text) {
        match word {
            "pre-install" | "pre-upgrade" => out.phases.push(Phase::PreSync),
            "post-install" | "post-upgrade" => out.phases.push(Phase::PostSync),
            "crd-install" => {
                out.phases = vec![Phase::Sync];
                return Ok(());
            }
            "pre-rollback" | "post-rollback" => out.on_rollback = true,
            "test" | "test-success" | "test-failure" | "pre-delete" | "post-delete" => {
                out.notes
                    .push(format!("annotation {HELM_HOOK}: {word} hooks do not run"));
            }
            _ => {
                return Err(format!(
                    "annotation {HELM_HOOK}: {word:?} is no hook of Helm"
                ));
            }
        }
    }
    if out.phases.is_empty() && out.on_rollback {
        out.notes.push(format!(
            "annotation {HELM_HOOK}: a hook for rollbacks alone does not run"
        ));
    }
    out.hook = true;
    Ok(())
}

fn hook_delete<'a>(get: &impl Fn(&str) -> Option<&'a str>) -> Result<Vec<HookDelete>, String> {
    let found = [DELETE, ARGO_DELETE, HELM_DELETE]
        .into_iter()
        .find_map(|key| get(key).map(|text| (key, text)));
    let Some((key, text)) = found else {
        return Ok(vec![HookDelete::BeforeCreation]);
    };
    let mut out = Vec::new();
    for word in words(text) {
        out.push(match word {
            "BeforeCreation" | "BeforeHookCreation" | "before-hook-creation" => {
                HookDelete::BeforeCreation
            }
            "Succeeded" | "HookSucceeded" | "hook-succeeded" => HookDelete::Succeeded,
            "Failed" | "HookFailed" | "hook-failed" => HookDelete::Failed,
            _ => {
                return Err(format!(
                    "annotation {key}: {word:?} is no time to remove a hook: use BeforeCreation, Succeeded or Failed"
                ));
            }
        });
    }
    out.sort_unstable();
    out.dedup();
    Ok(out)
}

fn kept_by_others<'a>(
    get: &impl Fn(&str) -> Option<&'a str>,
    notes: &mut Vec<String>,
) -> Result<bool, String> {
    let mut keep = false;
    for option in get(ARGO_OPTIONS).into_iter().flat_map(words) {
        match option {
            "Prune=false" | "Delete=false" => keep = true,
            "Prune=confirm" | "Delete=confirm" => {
                keep = true;
                notes.push(format!(
                    "annotation {ARGO_OPTIONS}: {option} keeps the object"
                ));
            }
            "Replace=true" | "Force=true" => notes.push(format!(
                "annotation {ARGO_OPTIONS}: {option} is not followed; see spec.sync.onImmutable"
            )),
            option if option.contains('=') => {}
            _ => {
                return Err(format!(
                    "annotation {ARGO_OPTIONS}: {option:?} is not of the form Name=value"
                ));
            }
        }
    }
    match get(HELM_POLICY) {
        None => {}
        Some("keep") => keep = true,
        Some(other) => {
            return Err(format!(
                "annotation {HELM_POLICY}: {other:?} is not \"keep\""
            ));
        }
    }
    Ok(keep)
}
