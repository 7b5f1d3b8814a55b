//! Join tokens for Clusters that were made first: each waits in the Secret that its Cluster names, until an agent has joined.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use k8s_apiserver::{DeleteOptions, ListOptions, Registry, ResourceDef, Selector, WriteOptions};
use roadstead_control::{Audit, AuditObject, AuditResult};
use roadstead_model::{ClusterId, SecretReference};
use roadstead_wire::token::{JoinToken, TokenFor, TokenRecord};
use serde_json::{Value, json};

use crate::audit::Auditor;
use crate::brain::Brain;
use crate::clock::now;
use crate::events::{Notices, about};
use crate::identity::Identity;
use crate::tasks::About;

/// Keeps the tokens.
pub(crate) const INVITE: About = About {
    name: "keep-join-secrets",
    does: "Keeps a join token in the Secret that a Cluster names, until its agent has joined.",
    period: Some(Duration::from_secs(5)),
    woken_by: "nothing else",
};

/// Which Cluster a Secret is for; a Secret without it is somebody else's, and is left alone.
const LABEL: &str = "roadstead.dev/joins";
/// How long such a token works.
const WORKS_MS: u64 = 24 * 3_600_000;
/// How long before its end it is replaced: who has just read it still gets in.
const REPLACED_MS: i64 = 3_600_000;

/// What keeping them needs.
pub(crate) struct Invitations {
    pub(crate) brain: Brain,
    pub(crate) identity: Arc<Identity>,
    pub(crate) registry: Registry,
    pub(crate) notices: Notices,
    pub(crate) auditor: Arc<Auditor>,
}

/// A Cluster that wants one.
struct Wanted {
    id: ClusterId,
    name: String,
    secret: SecretReference,
}

impl Invitations {
    /// Looks at all Clusters once.
    pub(crate) async fn keep(self: Arc<Self>) -> Result<String, String> {
        let wanted = self.brain.ask(|index, _| {
            let named = index.clusters().filter_map(|(id, cluster)| {
                Some(Wanted {
                    id: id.clone(),
                    name: cluster.metadata.name.clone(),
                    secret: cluster.spec.join_secret.clone()?,
                })
            });
            named.collect::<Vec<_>>()
        });
        let wanted = wanted.await.ok_or("the hub is ending")?;
        tokio::task::spawn_blocking(move || self.settle(&wanted))
            .await
            .map_err(|_| "the hub is ending")?
    }

    fn settle(&self, wanted: &[Wanted]) -> Result<String, String> {
        let def = self.registry.resource("", "secrets").map_err(told)?;
        let (mut waiting, mut problems) = (Vec::new(), Vec::new());
        for one in wanted {
            match self.one(&def, one) {
                Ok(true) => waiting.push(one),
                Ok(false) => {}
                Err(problem) => {
                    let Wanted { name, secret, .. } = one;
                    let text = format!(
                        "no join token in Secret {}/{}: {problem}",
                        secret.namespace, secret.name
                    );
                    let noun = ("Cluster", "clusters", ("", name.as_str()));
                    let said = (true, "JoinSecretFailed", text.as_str());
                    self.notices.tell(about(noun.0, noun.1, noun.2, said));
                    problems.push(format!("cluster {name}: {text}"));
                }
            }
        }
        let removed = self.tidy(&def, &waiting)?;
        if !problems.is_empty() {
            return Err(problems.join("; "));
        }
        Ok(format!(
            "{} clusters wait for their agents; {removed} Secrets removed",
            waiting.len()
        ))
    }

    /// Sees to one Cluster's Secret; false if no Secret is needed, since its agent has joined.
    fn one(&self, def: &ResourceDef, wanted: &Wanted) -> Result<bool, String> {
        let Wanted { id, name, secret } = wanted;
        if self
            .identity
            .has_agent(id)
            .map_err(|error| error.to_string())?
        {
            return Ok(false);
        }
        let found = self
            .registry
            .find(def, &secret.namespace, &secret.name)
            .map_err(told)?;
        if let Some(found) = &found {
            if found["metadata"]["labels"][LABEL] != json!(name) {
                return Err(format!(
                    "such a Secret exists and is not for this cluster (it lacks the label {LABEL}: {name}); remove it, or name another"
                ));
            }
            if self.works(found, id)? {
                return Ok(true);
            }
        }
        let token = self.token(id, name)?;
        let object = json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                "name": secret.name,
                "namespace": secret.namespace,
                "labels": { LABEL: name },
            },
            "type": "Opaque",
            "data": { "token": BASE64.encode(token.to_string()) },
        });
        let mut options = WriteOptions::manager("roadstead");
        options.force = true;
        self.registry
            .apply(def, &secret.namespace, &secret.name, object, &options)
            .map_err(told)?;
        let by = roadstead_rollout::By {
            actor: "roadstead".to_owned(),
            at: now(),
            reason: "the Cluster asks for it".to_owned(),
        };
        let object = AuditObject {
            resource: "clusters".to_owned(),
            name: name.clone(),
            ..AuditObject::default()
        };
        let said = format!(
            "token {} for 1 use, in Secret {}/{}",
            token.id(),
            secret.namespace,
            secret.name
        );
        let entry = Audit::new(&by, "join", object, AuditResult::Done).saying(&said);
        self.auditor.keep_now(entry);
        Ok(true)
    }

    /// Would the token in a Secret let this cluster in for a while yet?
    fn works(&self, found: &Value, id: &ClusterId) -> Result<bool, String> {
        let text = found["data"]["token"]
            .as_str()
            .and_then(|text| BASE64.decode(text).ok())
            .and_then(|bytes| String::from_utf8(bytes).ok());
        let Some(token) = text.and_then(|text| text.parse::<JoinToken>().ok()) else {
            return Ok(false);
        };
        let kept = self
            .identity
            .token(&token)
            .map_err(|error| error.to_string())?;
        Ok(kept.is_some_and(|(record, _)| {
            let is_for =
                matches!(&record.target, TokenFor::Cluster { id: target, .. } if target == id);
            let left = record.expires_at.0 - now().0;
            is_for && record.hash == token.hash() && record.uses_left > 0 && left > REPLACED_MS
        }))
    }

    fn token(&self, id: &ClusterId, name: &str) -> Result<JoinToken, String> {
        let target = TokenFor::Cluster {
            id: id.clone(),
            name: name.to_owned(),
        };
        let made = self.identity.make_token(|id, hash| TokenRecord {
            id,
            hash,
            target,
            labels: Default::default(),
            uses_left: 1,
            expires_at: now().plus_ms(WORKS_MS),
            created_by: "roadstead".to_owned(),
        });
        made.map_err(|error| error.to_string())
    }

    /// Removes the Secrets of clusters that have joined, are no more, or name another.
    fn tidy(&self, def: &ResourceDef, waiting: &[&Wanted]) -> Result<usize, String> {
        let ours = ListOptions::select(Selector::parse(LABEL, "").map_err(told)?);
        let list = self.registry.list(def, "", &ours).map_err(told)?;
        let mut removed = 0;
        for secret in list.values() {
            let (namespace, name) = (k8s_object::namespace(&secret), k8s_object::name(&secret));
            let still = waiting.iter().any(|one| {
                one.secret.namespace == namespace
                    && one.secret.name == name
                    && secret["metadata"]["labels"][LABEL] == json!(one.name)
            });
            if !still {
                self.registry
                    .delete(def, namespace, name, &DeleteOptions::default())
                    .map_err(told)?;
                removed += 1;
            }
        }
        Ok(removed)
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn told(status: k8s_apiserver::Status) -> String {
    status.message.clone()
}
