//! What an apply would answer, without a server: the same defaults, rules and merge, over one object.

use std::sync::Arc;

use base_store::memory::MemoryStore;
use base_store::{Batch, CommitId, Expect, Op};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    Catalog, Config, FieldValidation, NamespacePolicy, Registry, Sleep, Status, UserInfo,
    WriteOptions, codec,
};

/// Predicts what applies answer. Cheap to clone and to share; it keeps no objects.
#[derive(Clone)]
pub struct Predictor {
    empty: Registry,
}

/// An apply that is not made.
#[derive(Debug, Clone, Copy)]
pub struct Apply<'a> {
    /// The field manager.
    pub manager: &'a str,
    /// Take over fields of others?
    pub force: bool,
    /// What to do with unknown fields; apply refuses them for built-in kinds whatever this says.
    pub field_validation: FieldValidation,
}

impl Predictor {
    /// Makes one for the kinds of a catalogue, with custom ones among them. `now` is the time that stands in what it predicts.
    pub fn new(catalog: Arc<Catalog>, now: Timestamp) -> Result<Self, Status> {
        let mut config = Config::new(
            move || now,
            |_| -> Sleep { Box::pin(std::future::pending()) },
            |buffer: &mut [u8]| buffer.fill(0),
        );
        // which namespaces there are is not known here
        config.namespaces = NamespacePolicy::Open;
        let store = Arc::new(MemoryStore::new());
        Ok(Self {
            empty: Registry::open(store, "", catalog, Arc::new(config))?,
        })
    }

    /// The same, with the kinds of CustomResourceDefinitions among those that it knows. A definition that the server would
    /// not take is left out.
    pub fn with_definitions<'d>(
        &self,
        definitions: impl IntoIterator<Item = &'d Value>,
    ) -> Result<Self, Status> {
        let registry = self.empty.fork(Arc::new(MemoryStore::new()));
        let options = WriteOptions {
            field_manager: "predictor".to_owned(),
            force: true,
            user: UserInfo::admin(),
            ..WriteOptions::default()
        };
        for definition in definitions {
            let def = registry.resource_of(definition)?;
            let name = k8s_object::name(definition);
            // what is wrong with it is said where the definition itself is predicted
            let _ = registry.apply(&def, "", name, definition.clone(), &options);
        }
        Ok(Self { empty: registry })
    }

    /// Says what `dryRun=All` would answer to an apply of `manifest` where `live` stands: the object, or the refusal.
    ///
    /// What only the cluster knows is left as it is: webhooks, quota, free addresses and ports of a new Service.
    pub fn apply(
        &self,
        live: Option<&Value>,
        manifest: &Value,
        apply: Apply<'_>,
    ) -> Result<Value, Status> {
        let registry = self.empty.fork(Arc::new(MemoryStore::new()));
        let def = registry.resource_of(manifest)?;
        let namespace = match k8s_object::namespace(manifest) {
            "" if def.namespaced => live.map_or("default", |live| k8s_object::namespace(live)),
            own => own,
        };
        // what is there is what the path names
        let name = live.map_or_else(|| k8s_object::name(manifest), |live| k8s_object::name(live));
        let mut revision = None;
        if let Some(live) = live {
            revision = live["metadata"]["resourceVersion"]
                .as_str()
                .map(str::to_owned);
            let key = registry.key(&def, namespace, name);
            let value = codec::encode(&def, live)?;
            let expect = Expect::Absent;
            let batch = Batch::new(CommitId(1), vec![Op::Put { key, value, expect }]);
            registry.store().commit(batch).map_err(Status::internal)?;
        }
        let mut manifest = manifest.clone();
        // a stale one is refused as a server does, the present one is that of the copy here
        if let Some(meta) = k8s_object::meta_mut(&mut manifest)
            && let Some(asked) = meta.get("resourceVersion").and_then(Value::as_str)
        {
            if revision.as_deref().is_some_and(|known| known != asked) {
                return Err(Status::modified(&def, name));
            }
            meta.remove("resourceVersion");
        }
        let options = WriteOptions {
            field_manager: apply.manager.to_owned(),
            dry_run: true,
            field_validation: apply.field_validation,
            force: apply.force,
            user: UserInfo::admin(),
        };
        let mut object = registry
            .apply(&def, namespace, name, manifest, &options)?
            .object;
        if let Some(meta) = k8s_object::meta_mut(&mut object) {
            match revision {
                Some(revision) => meta.insert("resourceVersion".to_owned(), json!(revision)),
                None => meta.remove("resourceVersion"),
            };
        }
        Ok(object)
    }
}
