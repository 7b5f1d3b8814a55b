//! A resource as data: what the server must know to serve it.

use std::fmt;
use std::sync::{Arc, OnceLock};

use jiff::Timestamp;
use k8s_apply::schema::TypeRef;
use serde_json::Value;

use crate::FieldError;

/// Fills in what a caller may leave out.
pub type DefaultFn = Arc<dyn Fn(&mut Value) + Send + Sync>;

/// Checks an object; the second argument is the object as it was, on an update.
pub type ValidateFn = Arc<dyn Fn(&Value, Option<&Value>) -> Vec<FieldError> + Send + Sync>;

/// Computes a cell of a table from an object.
pub type CellFn = Arc<dyn Fn(&Value, Timestamp) -> Value + Send + Sync>;

/// Tells how many seconds an object is given to end when a delete does not say.
pub type GraceFn = fn(&Value) -> i64;

/// Where a table takes a cell from.
#[derive(Clone)]
pub enum Cell {
    /// A JSON path such as `.status.phase`.
    Path(String),
    /// A function.
    Compute(CellFn),
    /// The time since `metadata.creationTimestamp`.
    Age,
    /// `metadata.name`.
    Name,
}

impl fmt::Debug for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => write!(f, "Path({path})"),
            Self::Compute(_) => f.write_str("Compute"),
            Self::Age => f.write_str("Age"),
            Self::Name => f.write_str("Name"),
        }
    }
}

/// A column of the table that a list can be shown as.
#[derive(Debug, Clone)]
pub struct Column {
    /// The heading.
    pub name: String,
    /// `string`, `integer`, `number`, `boolean` or `date`.
    pub kind: String,
    /// The format, such as `name`; mostly empty.
    pub format: String,
    /// 0 is always shown, more only in the wide form.
    pub priority: i32,
    /// What it means.
    pub description: String,
    /// Where the cell comes from.
    pub cell: Cell,
}

impl Column {
    /// The first column of every table.
    pub fn name() -> Self {
        Self {
            name: "Name".to_owned(),
            kind: "string".to_owned(),
            format: "name".to_owned(),
            priority: 0,
            description: "Name must be unique within a namespace.".to_owned(),
            cell: Cell::Name,
        }
    }

    /// How old the object is.
    pub fn age() -> Self {
        Self {
            name: "Age".to_owned(),
            kind: "string".to_owned(),
            format: String::new(),
            priority: 0,
            description: "Time since the object was created.".to_owned(),
            cell: Cell::Age,
        }
    }

    /// A column taken from a path.
    pub fn path(name: &str, kind: &str, path: &str) -> Self {
        Self {
            name: name.to_owned(),
            kind: kind.to_owned(),
            format: String::new(),
            priority: 0,
            description: String::new(),
            cell: Cell::Path(path.to_owned()),
        }
    }

    /// A column that is computed.
    pub fn compute(
        name: &str,
        kind: &str,
        cell: impl Fn(&Value, Timestamp) -> Value + Send + Sync + 'static,
    ) -> Self {
        Self {
            cell: Cell::Compute(Arc::new(cell)),
            ..Self::path(name, kind, "")
        }
    }

    /// Shows it in the wide form only.
    #[must_use]
    pub fn wide(mut self) -> Self {
        self.priority = 1;
        self
    }

    /// Says what it means.
    #[must_use]
    pub fn described(mut self, description: &str) -> Self {
        self.description = description.to_owned();
        self
    }
}

/// Where the schema of a resource comes from.
#[derive(Debug, Clone, Default)]
pub enum Schema {
    /// There is none: everything is kept as it comes.
    #[default]
    None,
    /// The table of Kubernetes' own types.
    Builtin,
    /// An OpenAPI v3 (or JSON) schema of the whole object.
    Json(Arc<Value>),
}

impl Schema {
    /// Takes a JSON schema as generators write it: references, `null` types and alternatives are made structural.
    pub fn from_json_schema(schema: &Value) -> Self {
        Self::Json(Arc::new(crate::structural::from_json_schema(schema)))
    }
}

/// Where the scale subresource finds its numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scale {
    /// The path of the wanted replicas, such as `.spec.replicas`.
    pub spec_replicas: String,
    /// The path of the counted replicas.
    pub status_replicas: String,
    /// The path of the selector, as a text or as a label selector; empty if there is none.
    pub selector: String,
}

/// How names are checked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum NameRule {
    /// A DNS subdomain, up to 253 characters.
    #[default]
    Subdomain,
    /// A DNS label, up to 63 characters.
    Label,
    /// A DNS label that begins with a letter (Services).
    Label1035,
    /// Anything that can stand in a path (RBAC).
    PathSegment,
}

/// A resource: names, scope, columns, schema, rules. Adding a kind adds one of these, never code in the server.
#[derive(Clone)]
pub struct ResourceDef {
    /// The API group; empty for the core group.
    pub group: String,
    /// The version that this entry serves.
    pub version: String,
    /// The kind.
    pub kind: String,
    /// The kind of a list of them.
    pub list_kind: String,
    /// The plural name, as in paths.
    pub plural: String,
    /// The singular name.
    pub singular: String,
    /// Short names.
    pub short_names: Vec<String>,
    /// Categories, such as `all`.
    pub categories: Vec<String>,
    /// Do its objects live in namespaces?
    pub namespaced: bool,
    /// The verbs that are offered.
    pub verbs: Vec<String>,
    /// The table's columns. The name column comes first.
    pub columns: Vec<Column>,
    /// The schema.
    pub schema: Schema,
    /// Is `status` written through its own subresource only?
    pub status_subresource: bool,
    /// May a create come with its status, as Nodes do?
    pub create_with_status: bool,
    /// The scale subresource.
    pub scale: Option<Scale>,
    /// More subresources, which a [`SubresourceHandler`](crate::SubresourceHandler) serves.
    pub subresources: Vec<String>,
    /// Fields (besides name and namespace) that field selectors may name, without the leading dot.
    pub selectable_fields: Vec<String>,
    /// Checks beyond the schema.
    pub validate: Option<ValidateFn>,
    /// Defaults beyond the schema.
    pub default: Option<DefaultFn>,
    /// What it is.
    pub description: String,
    /// May a PUT come without a resourceVersion?
    pub allow_unconditional_update: bool,
    /// May a PUT create?
    pub allow_create_on_update: bool,
    /// Is `metadata.generation` kept?
    pub generation: bool,
    /// The grace period of a delete, for kinds that end gracefully.
    pub grace: Option<GraceFn>,
    /// How names are checked.
    pub names: NameRule,
    /// The version that objects are stored in; the same fields in every version.
    pub storage_version: String,
    /// Is it a custom resource: no strategic merge, defaults and rules from its own schema?
    pub custom: bool,
    /// Is nothing stored, as for reviews? Then a create is all there is.
    pub review: bool,
    /// Fills in what is shown although nobody wrote it; no manager owns it.
    pub(crate) shown: Option<DefaultFn>,
    /// Fills in what only a create sets; no manager owns it.
    pub(crate) born: Option<DefaultFn>,
    /// Is it another form of something that is stored in one form?
    pub(crate) stored_as: Option<StoredAs>,
    /// Another version than the stored one, for discovery's hash of it.
    pub(crate) hashed_version: Option<String>,
    /// Which checks of metadata an update goes through: each tells what is wrong.
    pub(crate) looks: Looks,
    /// Text of a warning that every request gets, for deprecated versions.
    pub warning: Option<String>,
    pub(crate) typed: OnceLock<TypeRef>,
    /// The rules of a custom resource, compiled when the first object comes.
    pub(crate) rules: OnceLock<Arc<k8s_cel::rules::Compiled>>,
    /// What was stored before this revision may be of an older schema.
    pub(crate) settled_since: u64,
    /// Do its versions have different schemas?
    pub(crate) several_forms: bool,
    /// A custom resource's served versions, this one among them, where there are several.
    pub(crate) versions: Arc<[ServedVersion]>,
}

/// One served version of a custom resource.
#[derive(Debug)]
pub(crate) struct ServedVersion {
    pub(crate) api_version: String,
    pub(crate) schema: Schema,
    pub(crate) typed: OnceLock<TypeRef>,
}

impl fmt::Debug for ResourceDef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ResourceDef({}/{})", self.group_resource(), self.version)
    }
}

/// The form in which a resource is stored that has several.
#[derive(Clone, Copy)]
pub(crate) struct StoredAs {
    /// The API group of the stored form.
    pub(crate) group: &'static str,
    /// Its version.
    pub(crate) version: &'static str,
    /// Makes the stored form.
    pub(crate) to: fn(&mut Value),
    /// Makes the served form.
    pub(crate) from: fn(&mut Value),
}

/// What every stored resource offers.
pub const ALL_VERBS: [&str; 8] = [
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "update",
    "watch",
];

impl ResourceDef {
    /// Makes one with all verbs and the columns Name and Age.
    pub fn new(group: &str, version: &str, kind: &str, plural: &str, namespaced: bool) -> Self {
        Self {
            group: group.to_owned(),
            version: version.to_owned(),
            kind: kind.to_owned(),
            list_kind: format!("{kind}List"),
            plural: plural.to_owned(),
            singular: kind.to_lowercase(),
            short_names: Vec::new(),
            categories: Vec::new(),
            namespaced,
            verbs: ALL_VERBS.map(str::to_owned).to_vec(),
            columns: vec![Column::name(), Column::age()],
            schema: Schema::None,
            status_subresource: false,
            create_with_status: false,
            scale: None,
            subresources: Vec::new(),
            selectable_fields: Vec::new(),
            validate: None,
            default: None,
            description: String::new(),
            allow_unconditional_update: false,
            allow_create_on_update: false,
            generation: true,
            grace: None,
            names: NameRule::Subdomain,
            storage_version: version.to_owned(),
            custom: false,
            review: false,
            shown: None,
            born: None,
            stored_as: None,
            hashed_version: None,
            looks: Looks::default(),
            warning: None,
            typed: OnceLock::new(),
            rules: OnceLock::new(),
            settled_since: 0,
            several_forms: false,
            versions: Arc::new([]),
        }
    }

    /// Returns `apps/v1`, or `v1` for the core group.
    pub fn api_version(&self) -> String {
        group_version(&self.group, &self.version)
    }

    /// Returns the `apiVersion` of the stored form.
    pub fn storage_api_version(&self) -> String {
        match self.stored_as {
            Some(form) => group_version(form.group, form.version),
            None => group_version(&self.group, &self.storage_version),
        }
    }

    /// Returns `deployments.apps`, or `pods` for the core group.
    pub fn group_resource(&self) -> String {
        if self.group.is_empty() {
            self.plural.clone()
        } else {
            format!("{}.{}", self.plural, self.group)
        }
    }

    /// Was an object of this revision stored in the form that this resource has?
    pub(crate) fn is_settled(&self, written: u64) -> bool {
        !self.custom || (written > self.settled_since && !self.several_forms)
    }

    /// Is this verb offered?
    pub fn offers(&self, verb: &str) -> bool {
        self.verbs.iter().any(|offered| offered == verb)
    }

    /// Returns where its objects are stored, behind the server's prefix: `apps/deployments/`.
    pub fn key_prefix(&self) -> String {
        let group = self
            .stored_as
            .map_or(self.group.as_str(), |form| form.group);
        let group = if group.is_empty() { "core" } else { group };
        format!("{group}/{}/", self.plural)
    }
}

/// Joins group and version.
pub fn group_version(group: &str, version: &str) -> String {
    if group.is_empty() {
        version.to_owned()
    } else {
        format!("{group}/{version}")
    }
}

/// The checks of metadata that an update goes through beside those of all kinds, which look twice.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Looks {
    /// The kind's own check of a whole object.
    pub(crate) whole: bool,
    /// The kind's own check of an update.
    pub(crate) update: bool,
    /// Do the kind's own checks know which finalizers there are?
    pub(crate) finalizers: bool,
}

impl Default for Looks {
    fn default() -> Self {
        Self {
            whole: false,
            update: true,
            finalizers: true,
        }
    }
}

impl Looks {
    /// How often labels, annotations and owners are looked at.
    pub(crate) fn all(self) -> usize {
        2 + usize::from(self.whole) + usize::from(self.update)
    }
}
