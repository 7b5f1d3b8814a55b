//! Who did what: every write through the API, every command, each join and each revocation, as entries in the store.
//!
//! An entry is durable before its request is answered. It names what was touched, never what was written. Who is refused
//! again and again fills neither the store nor the log: beyond a number a minute refusals are only counted.

use std::cell::RefCell;
use std::future::Future;
use std::sync::Arc;

use base_store::{At, Batch, CommitId, Range, Store};
use http::{Method, StatusCode};
use k8s_apiserver::{
    AuditRecord, Column, ListOptions, ResourceDef, Status, VirtualList, VirtualRequest,
};
use parking_lot::Mutex;
use roadstead_control::{Audit, AuditObject, AuditResult, Command, keys};
use roadstead_model::{GROUP, Time, VERSION};
use roadstead_rollout::By;
use serde_json::{Value, json};

use crate::clock::{commit_id, now};

/// How many refusals are kept a minute.
const REFUSALS: u32 = 120;
/// The header in which a client may say why it writes.
pub(crate) const REASON: &str = "roadstead-reason";
/// How many entries are read at once.
const PAGE: usize = 500;

tokio::task_local! {
    static NOTED: RefCell<Noted>;
}

/// What the API server noted of the request that is being answered.
#[derive(Debug, Default)]
struct Noted {
    actor: String,
    verb: String,
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
    is_write: bool,
    said: String,
}

/// Called by the API server for each answered request.
pub(crate) fn note(record: &AuditRecord<'_>) {
    let reads = ["get", "list", "watch"].contains(&record.verb);
    // questions that are asked by writing, and a hint that changes nothing
    let asks = matches!(
        record.group,
        "authorization.k8s.io" | "authentication.k8s.io"
    ) || (record.group == GROUP && ["plan", "poll"].contains(&record.subresource));
    let actor = match record.impersonated_by {
        Some(real) => format!("{} as {}", real.name, record.user.name),
        None => record.user.name.clone(),
    };
    let _ = NOTED.try_with(|noted| {
        let mut noted = noted.borrow_mut();
        *noted = Noted {
            actor,
            verb: record.verb.to_owned(),
            resource: record.resource.to_owned(),
            subresource: record.subresource.to_owned(),
            namespace: record.namespace.to_owned(),
            name: record.name.to_owned(),
            is_write: !record.resource.is_empty() && !reads && !asks,
            said: std::mem::take(&mut noted.said),
        };
    });
}

/// Says more of the request that is being answered. Never a secret: it is stored.
pub(crate) fn say(text: String) {
    let _ = NOTED.try_with(|noted| noted.borrow_mut().said = text);
}

/// What is known of a request before it is answered.
pub(crate) struct Asked {
    pub(crate) method: Method,
    pub(crate) query: String,
    pub(crate) reason: String,
    pub(crate) body: bytes::Bytes,
    pub(crate) from: String,
}

/// Answers a request and tells what is to be kept of it.
pub(crate) async fn watched<F: Future<Output = http::Response<k8s_apiserver::Body>>>(
    asked: Asked,
    answer: F,
) -> (F::Output, Option<Audit>) {
    NOTED
        .scope(RefCell::default(), async move {
            let response = answer.await;
            let noted = NOTED.with(|noted| std::mem::take(&mut *noted.borrow_mut()));
            let entry = entry(&noted, &asked, &response);
            (response, entry)
        })
        .await
}

fn entry(
    noted: &Noted,
    asked: &Asked,
    response: &http::Response<k8s_apiserver::Body>,
) -> Option<Audit> {
    let code = response.status();
    let shut_out = matches!(code, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
    // who only looks is not written down, unless it was refused
    let refused_look = shut_out && !noted.resource.is_empty();
    if !noted.is_write && !refused_look {
        return None;
    }
    let result = match code.as_u16() {
        _ if shut_out => AuditResult::Forbidden,
        200..300 => AuditResult::Done,
        500.. => AuditResult::Failed,
        _ => AuditResult::Refused,
    };
    let body: Value = if asked.method == Method::GET {
        Value::Null
    } else {
        serde_json::from_slice(&asked.body).unwrap_or_default()
    };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let command: Option<Command> = match noted.subresource.as_str() {
        "actions" => serde_json::from_value(body["command"].clone()).ok(),
        _ => None,
    };
    let verb = match (&command, noted.subresource.as_str()) {
        (Some(command), _) => command.verb().to_owned(),
        (None, "" | "status" | "scale") => noted.verb.clone(),
        (None, "join") => "makeToken".to_owned(),
        (None, "rotate-key") => "rotateKey".to_owned(),
        (None, subresource) => subresource.to_owned(),
    };
    let resource = match noted.subresource.as_str() {
        part @ ("status" | "scale") => format!("{}/{part}", noted.resource),
        _ => noted.resource.clone(),
    };
    let reasons = [
        asked.reason.clone(),
        text(&body["reason"]),
        text(&body["spec"]["hold"]["reason"]),
    ];
    let by = By {
        actor: noted.actor.clone(),
        at: now(),
        reason: reasons
            .into_iter()
            .find(|reason| !reason.is_empty())
            .unwrap_or_default(),
    };
    let answered: Value = match response.body().full() {
        Some(bytes) if result != AuditResult::Done || command.is_some() => {
            serde_json::from_slice(bytes).unwrap_or_default()
        }
        _ => Value::Null,
    };
    // an answer to a write may hold what was written; a refusal names fields, and the hub's own sentence what was done
    let mut said = match noted.said.as_str() {
        "" => text(&answered["message"]),
        said => said.to_owned(),
    };
    let is_secret = noted.resource == "secrets";
    if is_secret && result == AuditResult::Refused {
        "refused".clone_into(&mut said);
    }
    if asked.query.contains("dryRun=All") {
        said = format!("dry run, nothing was changed. {said}")
            .trim_end()
            .to_owned();
    }
    let name = match noted.name.as_str() {
        "" => text(&body["metadata"]["name"]),
        name => name.to_owned(),
    };
    let object = AuditObject {
        resource,
        project: noted.namespace.clone(),
        name,
        clusters: command
            .map(|command| command.clusters())
            .unwrap_or_default(),
    };
    Some(
        Audit::new(&by, &verb, object, result)
            .saying(&said)
            .from(&asked.from),
    )
}

/// Keeps entries, and shows them.
pub(crate) struct Auditor {
    store: Arc<dyn Store>,
    refused: Mutex<Refusals>,
}

#[derive(Default)]
struct Refusals {
    minute: i64,
    kept: u32,
    left_out: u64,
}

impl Auditor {
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        Self {
            store,
            refused: Mutex::default(),
        }
    }

    /// Keeps an entry; it is durable when this returns, unless the store cannot be written.
    pub(crate) async fn keep(self: &Arc<Self>, entry: Audit) {
        let this = Arc::clone(self);
        let kept = tokio::task::spawn_blocking(move || this.keep_now(entry));
        let _ = kept.await;
    }

    /// The same, on a thread that may block.
    pub(crate) fn keep_now(&self, mut entry: Audit) {
        if !self.admits(&mut entry) {
            return;
        }
        tracing::info!(
            target: "audit",
            actor = %entry.actor,
            verb = %entry.verb,
            resource = %entry.object.resource,
            project = %entry.object.project,
            name = %entry.object.name,
            result = ?entry.result,
            from = %entry.from,
            "{}", entry.message
        );
        let op = entry.keep(commit_id());
        if let Err(error) = self
            .store
            .commit(Batch::new(CommitId(commit_id()), vec![op]))
        {
            tracing::error!(%error, actor = %entry.actor, verb = %entry.verb, name = %entry.object.name, "failed to keep an audit entry");
        }
    }

    /// Is there room for this one? Says in the next one how many were left out.
    fn admits(&self, entry: &mut Audit) -> bool {
        let mut refused = self.refused.lock();
        let minute = entry.at.0.div_euclid(60_000);
        if refused.minute != minute {
            refused.minute = minute;
            refused.kept = 0;
        }
        if entry.result != AuditResult::Done {
            if refused.kept >= REFUSALS {
                refused.left_out += 1;
                return false;
            }
            refused.kept += 1;
            let left_out = std::mem::take(&mut refused.left_out);
            if left_out > 0 {
                entry.message = format!(
                    "{} (and {left_out} refusals before it that were only counted)",
                    entry.message
                );
            }
        }
        true
    }

    fn range(&self, after: Option<String>, limit: usize) -> Result<base_store::Page, Status> {
        let range = Range {
            prefix: keys::AUDIT.to_owned(),
            after,
            limit,
            at: At::Newest,
        };
        self.store
            .range(&range)
            .map_err(|error| Status::new(500, "InternalError", error.to_string()))
    }

    /// Entries behind `after` and before `end`, in the order of their happening.
    fn between(&self, after: Option<String>, end: &str) -> Result<Vec<(String, Audit)>, Status> {
        let mut out = Vec::new();
        let mut after = after;
        loop {
            let page = self.range(after.take(), PAGE)?;
            let last = page.entries.last().map(|entry| entry.key.clone());
            for entry in page.entries {
                if entry.key.as_str() >= end {
                    return Ok(out);
                }
                match serde_json::from_slice(&entry.value) {
                    Ok(audit) => out.push((entry.key, audit)),
                    Err(error) => {
                        tracing::error!(key = %entry.key, %error, "an audit entry cannot be read");
                    }
                }
            }
            match last {
                Some(last) if page.remaining > 0 => after = Some(last),
                _ => return Ok(out),
            }
        }
    }

    /// The newest entries before `end` that are selected, at most `limit`, newest first.
    fn newest(&self, end: &str, options: &ListOptions) -> Result<(Vec<Value>, bool), Status> {
        let wanted = match options.limit {
            0 => usize::MAX,
            limit => limit,
        };
        let mut out: Vec<Value> = Vec::new();
        let mut end = end.to_owned();
        let mut window: i64 = 60_000;
        loop {
            // back in time by windows that grow: most lists want what was a moment ago
            let from = time_of(&end).unwrap_or_else(|| now().0.saturating_add(window)) - window;
            let whole = from <= 0;
            let after = (!whole).then(|| keys::audit(Time(from), 0));
            let found = self.between(after.clone(), &end)?;
            for (key, audit) in found.iter().rev() {
                let value = shown(key, audit);
                if !options.selector.matches(&value) {
                    continue;
                }
                if out.len() == wanted {
                    return Ok((out, true));
                }
                out.push(value);
            }
            match after {
                None => return Ok((out, false)),
                Some(after) => end = after,
            }
            window = window.saturating_mul(8);
        }
    }
}

/// When an entry happened, by its key.
fn time_of(key: &str) -> Option<i64> {
    let rest = key.strip_prefix(keys::AUDIT)?;
    rest.split('-').next()?.parse().ok()
}

fn shown(key: &str, audit: &Audit) -> Value {
    let name = key.strip_prefix(keys::AUDIT).unwrap_or(key);
    let mut spec = serde_json::to_value(audit).unwrap_or_default();
    spec["what"] = json!(what(&audit.object));
    json!({
        "apiVersion": format!("{GROUP}/{VERSION}"),
        "kind": "AuditRecord",
        "metadata": { "name": name, "creationTimestamp": audit.at.seconds() },
        "spec": spec,
    })
}

/// `apps default/shop on eu-1`.
fn what(object: &AuditObject) -> String {
    let mut text = object.resource.clone();
    for (before, part) in [
        (" ", &object.project),
        (
            if object.project.is_empty() { " " } else { "/" },
            &object.name,
        ),
    ] {
        if !part.is_empty() {
            text.push_str(before);
            text.push_str(part);
        }
    }
    if !object.clusters.is_empty() {
        text.push_str(" on ");
        text.push_str(&object.clusters.join(", "));
    }
    text
}

/// The resource `auditrecords`.
pub(crate) fn resource() -> ResourceDef {
    let mut def = ResourceDef::new(GROUP, VERSION, "AuditRecord", "auditrecords", false);
    "auditrecord".clone_into(&mut def.singular);
    def.short_names = vec!["audit".to_owned()];
    def.verbs = vec!["get".to_owned(), "list".to_owned()];
    "What somebody did, or was refused: who, when, to what, why, and with which result. The newest comes first; nobody can change it."
        .clone_into(&mut def.description);
    def.columns = vec![
        Column::path("When", "string", ".metadata.creationTimestamp"),
        Column::path("Who", "string", ".spec.actor"),
        Column::path("Did", "string", ".spec.verb"),
        Column::path("To", "string", ".spec.what"),
        Column::path("Result", "string", ".spec.result"),
        Column::path("Reason", "string", ".spec.reason"),
        Column::path("Message", "string", ".spec.message"),
        Column::path("From", "string", ".spec.from").wide(),
        Column::name().wide(),
    ];
    def.selectable_fields = [
        "spec.actor",
        "spec.verb",
        "spec.result",
        "spec.object.resource",
        "spec.object.project",
        "spec.object.name",
    ]
    .map(str::to_owned)
    .to_vec();
    def
}

#[async_trait::async_trait]
impl k8s_apiserver::VirtualResource for Auditor {
    async fn get(&self, request: &VirtualRequest) -> Result<Value, Status> {
        let missing = || Status::not_found(&resource(), &request.name);
        let key = format!("{}{}", keys::AUDIT, request.name);
        let store = Arc::clone(&self.store);
        let asked = key.clone();
        let read = tokio::task::spawn_blocking(move || store.get(&asked, At::Newest));
        let entry = read
            .await
            .map_err(|_| crate::api::ending())?
            .map_err(|error| Status::new(500, "InternalError", error.to_string()))?
            .ok_or_else(missing)?;
        let audit = serde_json::from_slice(&entry.value)
            .map_err(|error| Status::new(500, "InternalError", error.to_string()))?;
        Ok(shown(&key, &audit))
    }

    async fn list(&self, _: &VirtualRequest, options: &ListOptions) -> Result<VirtualList, Status> {
        let end = match options.continue_token.as_str() {
            // behind every key of the prefix
            "" => format!("{}~", keys::AUDIT),
            token if time_of(&format!("{}{token}", keys::AUDIT)).is_some() => {
                format!("{}{token}", keys::AUDIT)
            }
            token => {
                return Err(Status::bad_request(format!(
                    "{token:?} is no continue token of this list"
                )));
            }
        };
        let this = Self::new(Arc::clone(&self.store));
        let options = options.clone();
        let read = tokio::task::spawn_blocking(move || {
            let (items, more) = this.newest(&end, &options)?;
            let last = items.last().filter(|_| more).map(k8s_object::name);
            let remaining = match last {
                // a selection is not counted: that would read everything
                Some(last) if options.selector == Default::default() => {
                    let behind = this.range(Some(format!("{}{last}", keys::AUDIT)), 1)?;
                    let newer = behind.entries.len() + behind.remaining;
                    let all = this.range(None, 1)?;
                    Some((all.entries.len() + all.remaining).saturating_sub(newer + 1))
                }
                _ => None,
            };
            Ok::<_, Status>(VirtualList {
                continue_token: last.unwrap_or_default().to_owned(),
                items,
                resource_version: this.store.revision().to_string(),
                remaining,
            })
        });
        read.await.map_err(|_| crate::api::ending())?
    }
}

#[cfg(test)]
mod tests {
    use base_store::memory::MemoryStore;

    use super::*;

    fn audit(at: i64, actor: &str, result: AuditResult) -> Audit {
        let by = By {
            actor: actor.to_owned(),
            at: Time(at),
            reason: String::new(),
        };
        Audit::new(&by, "patch", AuditObject::default(), result)
    }

    fn actors(items: &[Value]) -> Vec<String> {
        let actor = |item: &Value| item["spec"]["actor"].as_str().map(str::to_owned);
        items.iter().filter_map(actor).collect()
    }

    #[tokio::test]
    async fn pages_go_back_in_time_and_are_counted() {
        let auditor = Arc::new(Auditor::new(Arc::new(MemoryStore::new())));
        // minutes, hours and months apart: the windows that are read grow
        let start = 1_700_000_000_000;
        let gaps = [0, 5, 5, 60_000, 3_600_000, 86_400_000, 40 * 86_400_000, 1];
        let mut at = start;
        for (n, gap) in gaps.into_iter().enumerate() {
            at += gap;
            auditor.keep_now(audit(at, &format!("u{n}"), AuditResult::Done));
        }
        let request = VirtualRequest {
            user: k8s_apiserver::UserInfo::admin(),
            namespace: String::new(),
            name: String::new(),
        };
        let mut options = ListOptions {
            limit: 3,
            ..ListOptions::default()
        };
        let mut seen = Vec::new();
        let mut left = Vec::new();
        loop {
            use k8s_apiserver::VirtualResource as _;
            let page = auditor.list(&request, &options).await.expect("a page");
            seen.extend(actors(&page.items));
            left.push(page.remaining);
            if page.continue_token.is_empty() {
                break;
            }
            options.continue_token = page.continue_token;
        }
        assert_eq!(seen, ["u7", "u6", "u5", "u4", "u3", "u2", "u1", "u0"]);
        assert_eq!(left, [Some(5), Some(2), None]);
        use k8s_apiserver::VirtualResource as _;
        options.limit = 0;
        options.continue_token.clear();
        options.selector = k8s_apiserver::Selector::parse("", "spec.actor=u2").expect("a selector");
        let page = auditor.list(&request, &options).await.expect("a page");
        assert_eq!(actors(&page.items), ["u2"]);
        options.continue_token = "nonsense".to_owned();
        let said = auditor.list(&request, &options).await.expect_err("refused");
        assert!(said.message.contains("nonsense"), "{}", said.message);
    }

    #[test]
    fn a_flood_of_refusals_is_counted_and_not_kept() {
        let store = Arc::new(MemoryStore::new());
        let auditor = Auditor::new(Arc::clone(&store) as Arc<dyn Store>);
        for _ in 0..1000 {
            auditor.keep_now(audit(60_000, "eve", AuditResult::Forbidden));
        }
        auditor.keep_now(audit(60_000, "ada", AuditResult::Done));
        auditor.keep_now(audit(120_000, "eve", AuditResult::Forbidden));
        let page = auditor.range(None, 0).expect("a page");
        assert_eq!(page.entries.len(), REFUSALS as usize + 2);
        let last: Audit =
            serde_json::from_slice(&page.entries.last().expect("one").value).expect("an entry");
        assert!(last.message.contains("880 refusals"), "{}", last.message);
    }
}
