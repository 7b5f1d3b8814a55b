//! Where objects come from, for `buildMetadata`.

use base_yaml::go::Writer;

/// An object's file, or who made or changed it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Origin {
    pub(crate) path: String,
    pub(crate) repo: String,
    pub(crate) reference: String,
    pub(crate) configured_in: String,
    /// apiVersion, kind, name and namespace.
    pub(crate) configured_by: [String; 4],
}

impl Origin {
    /// A path below this one.
    pub(crate) fn join(&self, path: &str) -> Self {
        if let Some(crate::Need::Git {
            repository,
            reference,
            path,
            ..
        }) = crate::Need::read(path)
        {
            return Self {
                path,
                repo: repository,
                reference,
                ..Self::default()
            };
        }
        Self {
            path: clean(&format!("{}/{path}", self.path)),
            ..self.clone()
        }
    }

    /// Who a built-in generator or transformer of a file is.
    pub(crate) fn built_in(&self, file: &str, kind: &str) -> Self {
        Self {
            path: String::new(),
            configured_in: clean(&format!("{}/{file}", self.path)),
            configured_by: [
                "builtin".to_owned(),
                kind.to_owned(),
                String::new(),
                String::new(),
            ],
            ..self.clone()
        }
    }

    fn fields(&self) -> Vec<(&'static str, &str)> {
        [
            ("path", &self.path),
            ("repo", &self.repo),
            ("ref", &self.reference),
            ("configuredIn", &self.configured_in),
        ]
        .into_iter()
        .filter(|(_, text)| !text.is_empty())
        .map(|(name, text)| (name, text.as_str()))
        .collect()
    }

    fn write(&self, writer: &mut Writer) {
        let fields = self.fields();
        let by: Vec<_> = ["apiVersion", "kind", "name", "namespace"]
            .into_iter()
            .zip(&self.configured_by)
            .filter(|(_, text)| !text.is_empty())
            .collect();
        writer.begin_map(fields.len() + usize::from(!by.is_empty()));
        for (name, text) in fields {
            writer.str(name);
            writer.str(text);
        }
        if !by.is_empty() {
            writer.str("configuredBy");
            writer.begin_map(by.len());
            for (name, text) in by {
                writer.str(name);
                writer.str(text);
            }
            writer.end();
        }
        writer.end();
    }

    pub(crate) fn to_text(&self) -> String {
        let mut writer = Writer::v3(2);
        self.write(&mut writer);
        writer.finish().unwrap_or_default()
    }

    /// Adds itself to a list of changes.
    pub(crate) fn added_to(&self, known: &str) -> String {
        let mut writer = Writer::v3(2);
        writer.begin_seq(1);
        self.write(&mut writer);
        writer.end();
        let own = writer.finish().unwrap_or_default();
        format!("{known}{own}")
    }
}

fn clean(path: &str) -> String {
    let mut out: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if out.last().is_some_and(|last| *last != "..") => {
                out.pop();
            }
            part => out.push(part),
        }
    }
    out.join("/")
}
