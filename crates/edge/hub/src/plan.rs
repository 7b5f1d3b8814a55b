//! `plan` and `desired`: what would change, and what a cluster should have. Neither writes anything.
//!
//! A plan goes the same road as a Release: the files are read, clusters are placed, variants are rendered, all by the
//! code that delivers. Then, instead of being stored, they are compared with what each cluster confirmed last.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use base_json::Digest;
use base_store::Store;
use bytes::Bytes;
use k8s_apiserver::{Status, SubresourceRequest, SubresourceResponse};
use k8s_object::ObjectId;
use roadstead_control::{
    Index, InputFact, Placing, ReleaseRecord, RenderJob, Rendered, VariantOutcome,
};
use roadstead_dispatch::{AppReport, AppState, Variant};
use roadstead_model::{AppKey, AppSpec, ClusterId, Input, Key, ProjectSpec, Time, VariantId};
use roadstead_plan::{ClusterState, Next, Plan, PlanSettings};
use roadstead_render::{Inputs, Reading};
use roadstead_rollout::Assignment;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::{Api, app_of, ending, text};
use crate::clock::now;
use crate::reader::{Files, Loaded, Reader, Wanted, request_of};
use crate::survey::Questions;
use crate::trial::{Asking, Trials};

/// What is asked of a plan. Without files and revision, the newest commit is planned.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Asked {
    /// Files in the place of the App's first input, by their paths from its folder.
    files: Option<BTreeMap<String, String>>,
    /// A branch, a tag or a commit.
    revision: Option<String>,
    /// Asks no API server for a dry-run.
    predict_only: bool,
}

/// The App and what it reads, as it stands.
struct Known {
    spec: AppSpec,
    project: ProjectSpec,
    /// The Source of each input.
    sources: Vec<Option<Wanted>>,
}

fn refuse(message: impl Into<String>) -> Status {
    Status::new(422, "Invalid", message)
}

fn missing_app(app: &AppKey) -> Status {
    Status::new(404, "NotFound", format!("there is no App {app}"))
}

impl Api {
    /// Says what would change.
    pub(crate) async fn plan(
        &self,
        request: &SubresourceRequest,
    ) -> Result<SubresourceResponse, Status> {
        let asked: Asked = serde_json::from_value(request.object()?)
            .map_err(|error| Status::bad_request(format!("not a plan: {error}")))?;
        let app = app_of(request);
        let key = app.clone();
        let known = self
            .brain
            .ask(move |index, _| known(index, &key))
            .await
            .ok_or_else(ending)?;
        let known = Arc::new(known.ok_or_else(|| missing_app(&app))?);

        let (seed, predict_only) = (self.seed, asked.predict_only);
        let (reader, read, key) = (Arc::clone(&self.reader), Arc::clone(&known), app.clone());
        let prepared = blocking(move || prepare(&key, &read, &reader, asked, seed)).await??;

        let (record, key) = (prepared.record.clone(), app.clone());
        let placed = self
            .brain
            .ask(move |index, _| place(index, &key, &record))
            .await
            .ok_or_else(ending)?;
        if let Some(error) = &placed.placing.error {
            return Err(refuse(format!("App {app}: {error}")));
        }

        let (store, key) = (Arc::clone(self.registry.store()), app.clone());
        let Compared {
            mut plan,
            warnings,
            questions,
            trials,
        } = blocking(move || compare(&key, &known, prepared, placed, &*store)).await??;
        let trials = if predict_only { Trials::new() } else { trials };
        let (found, tried) = tokio::join!(
            crate::survey::ask(&self.details, questions),
            crate::trial::ask(&self.details, trials)
        );
        if predict_only {
            plan.checks.clear();
        }
        plan.checked(&tried);
        plan.found(&found);
        let summary = plan.summary();
        let text = roadstead_plan::text(&plan, &|_, text| text.to_owned());
        Ok(SubresourceResponse::Object(json!({
            "plan": plan,
            "summary": summary,
            "exitCode": plan.exit_code(),
            "warnings": warnings,
            "text": text,
        })))
    }

    /// Says what one cluster should have of an App, object by object; what a Secret holds is masked.
    pub(crate) async fn desired(
        &self,
        request: &SubresourceRequest,
    ) -> Result<SubresourceResponse, Status> {
        let (app, name) = (app_of(request), text(&request.query, "cluster"));
        if name.is_empty() {
            return Err(Status::bad_request("name the cluster: ?cluster=NAME"));
        }
        let (key, cluster) = (app.clone(), name.clone());
        let found = self
            .brain
            .ask(move |index, _| {
                let id = index
                    .cluster_id(&cluster)
                    .ok_or_else(|| format!("there is no cluster {cluster:?}"))?;
                let (assignment, _) = index
                    .assignment(&id, &key)
                    .ok_or_else(|| format!("cluster {cluster} has nothing of {key}"))?;
                let release = index
                    .release(&key, &assignment.release)
                    .map_or(0, |record| record.number);
                let observed = index.observed(&id, &key).cloned();
                let connected = index.is_connected(&id);
                Ok::<_, String>((assignment.variant, release, observed, connected))
            })
            .await
            .ok_or_else(ending)?;
        let (variant, release, observed, connected) =
            found.map_err(|message| Status::new(404, "NotFound", message))?;
        let store = Arc::clone(self.registry.store());
        let objects = blocking(move || desired_objects(&variant, &*store)).await??;
        let current = observed
            .as_ref()
            .is_some_and(|observed| observed.variant == variant);
        Ok(SubresourceResponse::Object(json!({
            "app": app.to_string(),
            "cluster": name,
            "release": release,
            "variant": variant,
            "connected": connected,
            "current": current,
            "drift": observed.map(|observed| observed.drift).unwrap_or_default(),
            "objects": objects,
        })))
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Status> {
    tokio::task::spawn_blocking(work).await.map_err(|_| {
        Status::new(
            500,
            "InternalError",
            "this ended by a bug; see the hub's log",
        )
    })
}

fn known(index: &Index, app: &AppKey) -> Option<Known> {
    let noun = index.app(app)?;
    let project = index.project(&app.project);
    let sources = noun.spec.inputs.iter().map(|input| {
        let key = Key::new(app.project.clone(), input.source.clone());
        request_of(index, &key)
    });
    let sources = sources.collect();
    Some(Known {
        spec: noun.spec.clone(),
        project: project.map(|noun| noun.spec.clone()).unwrap_or_default(),
        sources,
    })
}

/// What would be a Release: its record, as far as it is known before clusters are placed, and its files.
struct Prepared {
    record: ReleaseRecord,
    inputs: Inputs,
    what: String,
}

/// Reads one input at a revision, or as its Source was read last.
fn read(
    app: &AppKey,
    input: &Input,
    source: Option<&Wanted>,
    reader: &Reader,
    (revision, reading): (Option<String>, Reading),
) -> Result<(Files, String), Status> {
    let source = source.ok_or_else(|| {
        refuse(format!(
            "App {app} reads Source {:?}, which does not exist",
            input.source
        ))
    })?;
    if !source.allowed {
        return Err(refuse(format!(
            "project {:?} may not read the repository of Source {:?}",
            app.project, input.source
        )));
    }
    let revision = match (revision, &source.head) {
        (Some(revision), _) => revision,
        (None, Some(head)) => head.commit.clone(),
        (None, None) => {
            return Err(refuse(format!(
                "Source {:?} has not been read yet",
                input.source
            )));
        }
    };
    let files = reader
        .at(source, &revision, &input.path, &reading)
        .map_err(|error| refuse(format!("Source {:?}: {error}", input.source)))?;
    Ok((files, revision))
}

fn fact(input: &Input, files: &Files) -> InputFact {
    InputFact {
        name: input.name.clone(),
        source: input.source.clone(),
        path: input.path.clone(),
        commit: files.revision.clone(),
        digest: files.digest,
        charts: files.charts.clone(),
        bases: files.bases.clone(),
    }
}

fn prepare(
    app: &AppKey,
    known: &Known,
    reader: &Reader,
    asked: Asked,
    seed: [u8; 32],
) -> Result<Prepared, Status> {
    let Some(input) = known.spec.inputs.first() else {
        return Err(refuse(format!("App {app} has no input")));
    };
    let source = known.sources.first().and_then(Option::as_ref);
    let (first, what) = match (asked.files, asked.revision) {
        (Some(_), Some(_)) => {
            return Err(Status::bad_request("either files or a revision, not both"));
        }
        (Some(files), None) => {
            let digest = Digest::of_value(&json!(
                files
                    .iter()
                    .map(|(name, text)| (name.clone(), Digest::of(text.as_bytes()).to_string()))
                    .collect::<BTreeMap<_, _>>()
            ));
            let files = Files {
                revision: String::new(),
                digest,
                loaded: local(files, &input.path)?,
                charts: Vec::new(),
                bases: Vec::new(),
            };
            (files, "a local folder".to_owned())
        }
        (None, revision) => {
            let how = (revision, Reading::of(&known.spec, 0));
            let (files, revision) = read(app, input, source, reader, how)?;
            let what = describe(&files.revision, &revision);
            (files, what)
        }
    };
    let mut facts = vec![fact(input, &first)];
    // as delivery does, but for clocks: a plan says now
    let mut inputs = Inputs {
        seed,
        now_ms: now().0,
        ..Inputs::default()
    };
    // the others are taken as they stand
    for (input, source) in known.spec.inputs.iter().zip(&known.sources).skip(1) {
        let how = (None, Reading::Files);
        let (files, _) = read(app, input, source.as_ref(), reader, how)?;
        facts.push(fact(input, &files));
        inputs.others.insert(input.name.clone(), files.loaded.files);
    }
    let commit = first.revision.clone();
    first.loaded.put(&input.path, &mut inputs);
    let renderer = roadstead_render::RENDERER_VERSION;
    let digests = facts
        .iter()
        .map(|fact| (fact.name.clone(), fact.digest))
        .collect();
    let mut record = ReleaseRecord {
        number: 0,
        id: roadstead_release::release_id(app, &known.spec, &digests, renderer),
        basis: roadstead_release::release_id(app, &known.spec, &digests, ""),
        frozen: roadstead_release::frozen(&known.spec),
        inputs: facts,
        commit,
        author: String::new(),
        message: String::new(),
        committed_at: Time(0),
        created_at: now(),
        renderer: renderer.to_owned(),
        uses: None,
        variants: BTreeMap::new(),
        error: String::new(),
        barred: None,
        warnings: Vec::new(),
    };
    if known.spec.render.plain.substitute {
        let scan = RenderJob {
            app: app.clone(),
            number: 0,
            record: record.clone(),
            needed: BTreeMap::new(),
            scan: true,
            served: BTreeMap::new(),
        };
        let scanned = roadstead_control::render(&scan, &inputs, (&app.project, &known.project));
        if !scanned.error.is_empty() {
            return Err(refuse(scanned.error));
        }
        record.uses = scanned.uses;
    }
    Ok(Prepared {
        record,
        inputs,
        what,
    })
}

/// Files that were sent. One that lies elsewhere in the tree has a path that leads there, such as `../base/web.yaml`.
fn local(files: BTreeMap<String, String>, path: &str) -> Result<Loaded, Status> {
    let mut loaded = Loaded::default();
    for (name, text) in files {
        if !name.split('/').any(|part| part == "..") {
            loaded.files.insert(name, Bytes::from(text));
            continue;
        }
        let whole = roadstead_render::join(path, &name)
            .ok_or_else(|| Status::bad_request(format!("file {name:?} leaves the tree")))?;
        loaded.outside.insert(whole, Bytes::from(text));
    }
    Ok(loaded)
}

/// What is planned, for people: a commit, or a chart's version.
fn describe(found: &str, asked: &str) -> String {
    if let Some((version, _)) = found.split_once('@') {
        return format!("version {version}");
    }
    let short: String = found.chars().take(12).collect();
    if found.starts_with(asked) {
        format!("commit {short}")
    } else {
        format!("{asked} (commit {short})")
    }
}

/// Where clusters are put, and what is known of each.
struct Placed {
    placing: Placing,
    clusters: BTreeMap<ClusterId, Now>,
    /// What clusters serve, as far as the App's charts see it.
    served: roadstead_release::Served,
}

/// What a cluster has now.
struct Now {
    name: String,
    confirmed: Option<VariantId>,
    holds: Option<BTreeSet<ObjectId>>,
    heard: Option<Time>,
    drift: Vec<roadstead_dispatch::DriftItem>,
    connected: bool,
    version: String,
}

fn place(index: &mut Index, app: &AppKey, record: &ReleaseRecord) -> Placed {
    let placing = index.place(app, record);
    let assigned = index.assignments_of(app).map(|(id, _)| id.clone());
    let ids: BTreeSet<ClusterId> = assigned.chain(placing.clusters.keys().cloned()).collect();
    let clusters = ids.into_iter().map(|id| {
        let assignment = index.assignment(&id, app).map(|(found, _)| found);
        let observed = index.observed(&id, app);
        let now = Now {
            name: index.cluster_name(&id).to_owned(),
            confirmed: confirmed(observed, assignment),
            holds: observed.and_then(|observed| {
                let objects = observed.inventory.objects.as_ref()?;
                Some(objects.iter().cloned().collect())
            }),
            heard: index.seen(&id).map(|seen| seen.last),
            drift: observed.map(|o| o.drift.clone()).unwrap_or_default(),
            connected: index.is_connected(&id),
            version: index
                .seen(&id)
                .map_or_else(String::new, |seen| seen.facts.kubernetes_version.clone()),
        };
        (id, now)
    });
    Placed {
        clusters: clusters.collect(),
        placing,
        served: index.served_for(&record.frozen),
    }
}

/// The variant that a cluster confirmed last. What is applied in part counts too: the cluster holds its objects.
fn confirmed(observed: Option<&AppReport>, assignment: Option<&Assignment>) -> Option<VariantId> {
    let observed = observed?;
    let applied = matches!(
        observed.state,
        AppState::Synced | AppState::Healthy | AppState::Degraded | AppState::Held
    );
    let good = assignment.and_then(|assignment| assignment.good.first());
    match observed.state {
        AppState::Gone => None,
        _ if applied => Some(observed.variant),
        _ => good.map(|good| good.variant).or(Some(observed.variant)),
    }
}

/// A plan, and what clusters are to be asked about it.
struct Compared {
    plan: Plan,
    warnings: Vec<String>,
    questions: Questions,
    trials: Trials,
}

fn compare(
    app: &AppKey,
    known: &Known,
    prepared: Prepared,
    placed: Placed,
    store: &dyn Store,
) -> Result<Compared, Status> {
    let Prepared {
        record,
        inputs,
        what,
    } = prepared;
    let needed = placed
        .placing
        .clusters
        .values()
        .filter_map(|placed| placed.input.as_ref().ok())
        .map(|input| (input.digest(), (**input).clone()))
        .collect();
    let job = RenderJob {
        app: app.clone(),
        number: 0,
        record,
        needed,
        scan: false,
        served: placed.served.clone(),
    };
    let Rendered {
        outcomes,
        blobs,
        error,
        mut warnings,
        ..
    } = roadstead_control::render(&job, &inputs, (&app.project, &known.project));
    if !error.is_empty() {
        return Err(refuse(error));
    }
    warnings.splice(0..0, placed.placing.warnings.iter().cloned());
    let states: Vec<(ClusterId, ClusterState)> = placed
        .clusters
        .iter()
        .map(|(id, cluster)| {
            let next = match placed.placing.clusters.get(id).map(|placed| &placed.input) {
                None => Next::Leaves(known.spec.on_leave),
                Some(Err(error)) => Next::Failed(error.clone()),
                Some(Ok(input)) => match outcomes.get(&input.digest()) {
                    Some(VariantOutcome::Variant { id, .. }) => Next::Variant(*id),
                    Some(VariantOutcome::Error(error)) => Next::Failed(error.clone()),
                    None => Next::Failed("it was not rendered".to_owned()),
                },
            };
            let state = ClusterState {
                name: cluster.name.clone(),
                confirmed: cluster.confirmed,
                holds: cluster.holds.clone(),
                heard: cluster.heard,
                drift: cluster.drift.clone(),
                next,
            };
            (id.clone(), state)
        })
        .collect();
    let blobs: BTreeMap<Digest, Bytes> = blobs.into_iter().collect();
    let fetch = |digest: &Digest| -> Option<Bytes> {
        match blobs.get(digest) {
            Some(bytes) => Some(bytes.clone()),
            None => store.get_blob(digest).ok().flatten(),
        }
    };
    let variant = |id: &VariantId| -> Option<Variant> { serde_json::from_slice(&fetch(id)?).ok() };
    let settings = PlanSettings {
        app: app.clone(),
        what,
        sync: known.spec.sync.clone(),
    };
    let all: Vec<ClusterState> = states.iter().map(|(_, state)| state.clone()).collect();
    let mut plan = roadstead_plan::plan(&settings, &all, &variant, &fetch);
    let questions = crate::survey::questions(&plan, app, &known.spec, &states, &variant, &fetch);
    let asking = placed.clusters.into_iter().map(|(id, cluster)| {
        let Now {
            connected, version, ..
        } = cluster;
        (id, Asking { connected, version })
    });
    let trials = crate::trial::trials(
        &mut plan,
        app,
        &known.spec,
        &states,
        &asking.collect(),
        &variant,
        &fetch,
    );
    Ok(Compared {
        plan,
        warnings,
        questions,
        trials,
    })
}

fn desired_objects(variant: &VariantId, store: &dyn Store) -> Result<Vec<Value>, Status> {
    let gone =
        |what: &str| Status::new(500, "InternalError", format!("{what} is not in the store"));
    let fetch = |digest: &Digest| store.get_blob(digest).ok().flatten();
    let bytes = fetch(variant).ok_or_else(|| gone("the variant"))?;
    let list: Variant =
        serde_json::from_slice(&bytes).map_err(|_| gone("a readable list of objects"))?;
    let objects = list.lasting().map(|object| {
        let bytes = fetch(&object.digest).ok_or_else(|| gone(&object.id.readable()))?;
        let mut value: Value =
            serde_json::from_slice(&bytes).map_err(|_| gone(&object.id.readable()))?;
        mask(&mut value);
        Ok(json!({ "id": object.id.to_string(), "once": object.once, "object": value }))
    });
    objects.collect()
}

/// Hides what a Secret holds, as agents do.
pub(crate) fn mask(object: &mut Value) {
    if k8s_object::kind(object) != "Secret" || k8s_object::api_version(object) != "v1" {
        return;
    }
    for field in ["data", "stringData"] {
        let values = object.get_mut(field).and_then(Value::as_object_mut);
        for value in values.into_iter().flat_map(|map| map.values_mut()) {
            *value = Value::from(roadstead_plan::MASK);
        }
    }
}
