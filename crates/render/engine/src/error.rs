//! What can be wrong with a tree.

use std::fmt;

use k8s_object::ObjectId;

/// Where an object was written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Origin {
    /// The file's path in the tree.
    pub file: String,
    /// The line that its document starts in, from 1.
    pub line: usize,
    /// The document's number in the file, from 0.
    pub document: usize,
    /// Its number in a list's `items`, from 0.
    pub item: Option<usize>,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)?;
        match self.item {
            Some(item) => write!(f, " (items[{item}])"),
            None => Ok(()),
        }
    }
}

/// Files that cannot be rendered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    /// Nothing at the path.
    #[error("path {path:?} is not in the tree{}", nearest(.near))]
    NoPath {
        /// The path.
        path: String,
        /// A path that is there and looks alike.
        near: Option<String>,
    },
    /// No manifest below the path. An App that renders to nothing would look like one whose objects all went.
    #[error(
        "no manifest below {path:?}: of {seen} file(s) none ends in .yaml, .yml or .json, passes include and exclude, and holds an object"
    )]
    NoManifests {
        /// The path.
        path: String,
        /// How many files are below it.
        seen: usize,
    },
    /// A glob that cannot be read.
    #[error("spec.render.plain.{field}: {glob:?} is not a glob: {problem}")]
    Glob {
        /// `include` or `exclude`.
        field: &'static str,
        /// The glob.
        glob: String,
        /// What is wrong.
        problem: String,
    },
    /// A folder that another renderer is for.
    #[error("{file}: this is a {what}, which the plain renderer does not render; {hint}")]
    OtherRenderer {
        /// The file.
        file: String,
        /// `Kustomization` or `Helm chart`.
        what: &'static str,
        /// What to do.
        hint: &'static str,
    },
    /// A chart that cannot be loaded, or does not render with these values.
    #[error("{problem}")]
    Chart {
        /// What is wrong, and where.
        problem: String,
        /// The line, where there is one to show.
        excerpt: Option<String>,
    },
    /// No chart where the App says that there is one.
    #[error("path {path:?} holds no Helm chart: there is no Chart.yaml in it")]
    NoChart {
        /// The path.
        path: String,
    },
    /// A kustomization that cannot be built.
    #[error("{problem}")]
    Kustomization {
        /// What is wrong, and where.
        problem: String,
    },
    /// No kustomization where the App says that there is one.
    #[error(
        "path {path:?} holds no kustomization: there is no kustomization.yaml in it; spec.render.kustomize.path names another folder"
    )]
    NoKustomization {
        /// The path.
        path: String,
    },
    /// A kustomization that comes to nothing.
    #[error("the kustomization at {path:?} builds no object")]
    NothingBuilt {
        /// The path.
        path: String,
    },
    /// A folder that two renderers are for.
    #[error(
        "path {path:?} holds a Chart.yaml and a kustomization; say which one counts: spec.render.helm or spec.render.kustomize"
    )]
    Ambiguous {
        /// The path.
        path: String,
    },
    /// Changes for a kustomization, and none is built.
    #[error(
        "overlay {overlay:?} changes a kustomization, and path {path:?} holds none; spec.render.kustomize.path names another folder"
    )]
    NotBuilt {
        /// The overlay.
        overlay: String,
        /// The path.
        path: String,
    },
    /// A chart that renders to nothing. An App that renders to nothing would look like one whose objects all went.
    #[error("chart {chart:?} renders to no object with these values")]
    NoObjects {
        /// The chart.
        chart: String,
    },
    /// A file of values that is not there.
    #[error(
        "{place}: there is no values file {file:?}; name it relative to the chart, or as $input/path, or set ignoreMissingValuesFiles"
    )]
    NoValuesFile {
        /// The field or overlay that names it.
        place: String,
        /// The file.
        file: String,
    },
    /// A file that cannot be read.
    #[error(transparent)]
    Syntax(#[from] base_yaml::YamlError),
    /// A document that is no Kubernetes object.
    #[error("{origin}: {problem}")]
    NotAnObject {
        /// Where.
        origin: Origin,
        /// What is missing or wrong.
        problem: String,
    },
    /// The same object twice.
    #[error("{second}: {} is defined twice; it stands at {first} already", .object.readable())]
    Duplicate {
        /// The object.
        object: Box<ObjectId>,
        /// The first place.
        first: Box<Origin>,
        /// The second place.
        second: Box<Origin>,
    },
    /// A file that is too large.
    #[error(
        "{file}: {size} bytes is more than the {limit} that a manifest may have; leave it out with spec.render.plain.exclude"
    )]
    FileTooLarge {
        /// The file.
        file: String,
        /// Its size.
        size: usize,
        /// The limit.
        limit: usize,
    },
    /// Too much of something.
    #[error("{path:?} holds more than {limit} {what}; split the App")]
    TooMuch {
        /// The path.
        path: String,
        /// Of what.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
}

impl RenderError {
    /// The message, and the excerpt below it where there is one.
    pub fn report(&self) -> String {
        match self.excerpt() {
            Some(excerpt) => format!("{self}\n{excerpt}"),
            None => self.to_string(),
        }
    }

    /// The line with a caret, where there is text to point at.
    pub fn excerpt(&self) -> Option<&str> {
        match self {
            Self::Syntax(error) => Some(&error.excerpt),
            _ => None,
        }
    }
}

fn nearest(near: &Option<String>) -> String {
    match near {
        Some(near) => format!("; is {near:?} meant?"),
        None => String::new(),
    }
}
