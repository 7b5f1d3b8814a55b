//! PersistentVolumeClaims: each gets a volume of its own.

use k8s_cluster::Propagation;
use serde_json::{Value, json};

use crate::api::{Refusal, read_time};
use crate::cx::{Cx, MANAGER, Said, is_leaving, status_of, text};
use crate::key::{Key, STORAGE_CLASS, VOLUME, VOLUME_CLAIM};
use crate::queue::after;

const COMPONENT: &str = "persistentvolume-controller";

fn volume_name(claim: &Value) -> String {
    format!("pvc-{}", k8s_object::uid(claim))
}

pub(crate) fn claim(cx: &mut Cx<'_>, key: &Key) -> Result<(), Refusal> {
    let Some(mut claim) = cx.get(key).filter(|claim| !is_leaving(claim)) else {
        return Ok(());
    };
    if text(&claim, "/status/phase") == "Bound" {
        return Ok(());
    }
    if text(&claim, "/status/phase").is_empty() {
        let status = json!({"phase": "Pending"});
        cx.set_status(MANAGER, &mut claim, status)?;
    }
    let class = match class_of(cx, &claim) {
        Ok(class) => class,
        Err(why) => {
            cx.event(COMPONENT, &claim, Said::warning("ProvisioningFailed", &why));
            return Ok(());
        }
    };
    let created = read_time(claim.pointer("/metadata/creationTimestamp")).unwrap_or(cx.now);
    let due = after(created, cx.config.timings.provision.least_ms);
    if due > cx.now {
        cx.again_at(key, due);
        return Ok(());
    }
    let asked = claim.pointer("/spec/resources/requests").cloned();
    let asked = asked.unwrap_or_else(|| json!({"storage": "1Gi"}));
    let modes = claim
        .pointer("/spec/accessModes")
        .cloned()
        .unwrap_or_else(|| json!(["ReadWriteOnce"]));
    let chosen = text(&claim, "/spec/volumeName").to_owned();
    let name = if chosen.is_empty() {
        volume_name(&claim)
    } else {
        chosen
    };
    if cx.api.get(VOLUME, "", &name).is_none() {
        let volume = json!({
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": name},
            "spec": {
                "capacity": asked,
                "accessModes": modes,
                "persistentVolumeReclaimPolicy": "Delete",
                "storageClassName": class,
                "claimRef": {
                    "apiVersion": "v1",
                    "kind": "PersistentVolumeClaim",
                    "namespace": key.namespace(),
                    "name": key.name(),
                    "uid": k8s_object::uid(&claim),
                },
                "hostPath": {"path": format!("/playground/{name}")},
            },
        });
        cx.api.create(MANAGER, volume)?;
    }
    if let Some(mut volume) = cx.api.get(VOLUME, "", &name) {
        cx.set_status(MANAGER, &mut volume, json!({"phase": "Bound"}))?;
    }
    if text(&claim, "/spec/volumeName") != name {
        claim["spec"]["volumeName"] = json!(name);
        claim = cx.api.update(MANAGER, &claim)?;
    }
    let mut status = status_of(&claim);
    status.insert("phase".to_owned(), json!("Bound"));
    status.insert("capacity".to_owned(), asked);
    status.insert("accessModes".to_owned(), modes);
    cx.set_status(MANAGER, &mut claim, Value::Object(status))
}

/// The storage class of a claim; an error that says why there is none.
fn class_of(cx: &Cx<'_>, claim: &Value) -> Result<String, String> {
    match claim
        .pointer("/spec/storageClassName")
        .and_then(Value::as_str)
    {
        Some("") => Ok(String::new()),
        Some(name) => match cx.api.get(STORAGE_CLASS, "", name) {
            Some(_) => Ok(name.to_owned()),
            None => Err(format!("storageclass.storage.k8s.io {name:?} not found")),
        },
        // Admission gave it the default class, if there was one.
        None => Err("no default storage class".to_owned()),
    }
}

/// Removes a volume whose claim is gone, as its reclaim policy says.
pub(crate) fn volume(cx: &mut Cx<'_>, key: &Key) -> Result<(), Refusal> {
    let Some(mut volume) = cx.get(key).filter(|volume| !is_leaving(volume)) else {
        return Ok(());
    };
    let claim = cx.api.get(
        VOLUME_CLAIM,
        text(&volume, "/spec/claimRef/namespace"),
        text(&volume, "/spec/claimRef/name"),
    );
    let uid = text(&volume, "/spec/claimRef/uid").to_owned();
    if uid.is_empty() {
        if text(&volume, "/status/phase").is_empty() {
            cx.set_status(MANAGER, &mut volume, json!({"phase": "Available"}))?;
        }
        return Ok(());
    }
    if claim.is_some_and(|claim| k8s_object::uid(&claim) == uid) {
        return Ok(());
    }
    if text(&volume, "/spec/persistentVolumeReclaimPolicy") == "Delete" {
        let uid = k8s_object::uid(&volume).to_owned();
        return cx.api.delete(key, &uid, Propagation::Background, false);
    }
    cx.set_status(MANAGER, &mut volume, json!({"phase": "Released"}))
}

/// The volume that a claim may have left behind.
pub(crate) fn left_by(claim_uid: &str) -> Key {
    Key::new(VOLUME, "", &format!("pvc-{claim_uid}"))
}
