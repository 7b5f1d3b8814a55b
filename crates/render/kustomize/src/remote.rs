//! Addresses of remote bases, as kustomize reads them.

/// What has to be fetched before a build.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// A file.
    File {
        /// The address, as the kustomization says it.
        address: String,
    },
    /// A folder of a Git repository.
    Git {
        /// The address, as the kustomization says it.
        address: String,
        /// What to clone: `https://host/org/repo`, `git@host:org/repo`.
        repository: String,
        /// The branch, tag or commit; empty for the repository's own choice.
        reference: String,
        /// The folder in it.
        path: String,
        /// Are submodules wanted?
        submodules: bool,
    },
    /// A chart of a chart repository.
    Chart {
        /// The repository.
        repository: String,
        /// The chart.
        name: String,
        /// Its version or range; empty for the newest.
        version: String,
        /// The folder of the tree where it is looked for.
        path: String,
    },
}

impl Need {
    /// The address that the kustomization says; of a chart the folder where it is looked for.
    pub fn address(&self) -> &str {
        match self {
            Self::File { address } | Self::Git { address, .. } => address,
            Self::Chart { path, .. } => path,
        }
    }

    /// Reads what stands in `resources` or `components`; nothing if it is a path of the tree.
    pub fn read(text: &str) -> Option<Self> {
        let plain = text.split('?').next().unwrap_or_default();
        let http = ["http://", "https://"]
            .iter()
            .any(|scheme| starts(text, scheme));
        let inside = plain.split_once("://").map_or("", |(_, rest)| rest);
        let marked = inside.contains("//") || inside.contains(".git") || inside.contains("_git/");
        let file = [".yaml", ".yml", ".json"]
            .iter()
            .any(|end| plain.ends_with(end));
        if http && file && !marked {
            return Some(Self::File {
                address: text.to_owned(),
            });
        }
        match Self::git(text) {
            None if http => Some(Self::File {
                address: text.to_owned(),
            }),
            found => found,
        }
    }

    fn git(text: &str) -> Option<Self> {
        if text.starts_with('/') {
            return None;
        }
        let (rest, query) = text.split_once('?').unwrap_or((text, ""));
        let rest = cut(rest, "git::");
        let schemes = ["ssh://", "https://", "http://", "file://"];
        let scheme = schemes.into_iter().find(|scheme| starts(rest, scheme));
        let scheme = scheme.unwrap_or("");
        let rest = &rest[scheme.len()..];
        let user = rest.split_once('@').map_or("", |(user, _)| user);
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
        let user = match user {
            user if user.starts_with(|c: char| c.is_ascii_alphabetic())
                && user.chars().all(plain) =>
            {
                &rest[..=user.len()]
            }
            _ => "",
        };
        let rest = &rest[user.len()..];
        let github = starts(rest, "github.com/") || starts(rest, "github.com:");
        let scp = scheme.is_empty() && (!user.is_empty() || github);
        if scheme.is_empty() && !scp || scheme == "file://" {
            return None;
        }
        let slash = rest.find('/');
        let colon = rest.find(':').filter(|at| scp && *at > 0);
        let end = match (slash, colon) {
            (Some(slash), Some(colon)) => Some(slash.min(colon)),
            (slash, colon) => slash.or(colon),
        }?;
        let (mut host, rest) = (format!("{scheme}{user}{}", &rest[..=end]), &rest[end + 1..]);
        if github {
            host = if scheme == "ssh://" || !user.is_empty() {
                format!("{user}github.com:")
            } else {
                "https://github.com/".to_owned()
            };
        }
        let (repository, path) = parts(rest)?;
        let first = path.trim_start_matches('/').split('/').next();
        if repository.is_empty() || first == Some("..") {
            return None;
        }
        let get = |name: &str| {
            let mut all = query.split('&').filter_map(|pair| pair.split_once('='));
            all.find(|(key, _)| *key == name).map(|(_, value)| value)
        };
        let reference = get("ref").filter(|r| !r.is_empty()).or(get("version"));
        Some(Self::Git {
            address: text.to_owned(),
            repository: format!("{host}{repository}"),
            reference: reference.unwrap_or_default().to_owned(),
            path: path.trim_matches('/').to_owned(),
            submodules: !matches!(get("submodules"), Some("false" | "0" | "f" | "F" | "False")),
        })
    }
}

/// The repository and the folder in it.
fn parts(rest: &str) -> Option<(String, String)> {
    if let Some(at) = rest.find("_git/") {
        let (head, tail) = rest.split_at(at + "_git/".len());
        let (name, path) = tail.split_once('/').unwrap_or((tail, ""));
        return Some((format!("{head}{name}"), path.to_owned()));
    }
    if let Some((repository, path)) = rest.split_once("//") {
        return Some((repository.to_owned(), path.to_owned()));
    }
    if let Some(at) = rest.find(".git") {
        let (repository, path) = rest.split_at(at + ".git".len());
        return Some((repository.to_owned(), path.to_owned()));
    }
    let segments: Vec<&str> = rest.split('/').collect();
    if segments.len() < 2 {
        return None;
    }
    Some((segments[..2].join("/"), segments[2..].join("/")))
}

fn starts(text: &str, prefix: &str) -> bool {
    text.get(..prefix.len())
        .is_some_and(|head| head.eq_ignore_ascii_case(prefix))
}

fn cut<'a>(text: &'a str, prefix: &str) -> &'a str {
    if starts(text, prefix) {
        &text[prefix.len()..]
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, wanted: &str) {
        let shown = match Need::read(text) {
            None | Some(Need::Chart { .. }) => "path".to_owned(),
            Some(Need::File { .. }) => "file".to_owned(),
            Some(Need::Git {
                repository,
                reference,
                path,
                ..
            }) => format!("{repository} {path:?} {reference:?}"),
        };
        assert_eq!(shown, wanted, "{text}");
    }

    #[test]
    fn addresses_are_read_as_kustomize_does() {
        check("../base", "path");
        check("base.yaml", "path");
        check("https://h.io/x/y.yaml", "file");
        check(
            "https://github.com/o/r//a/b?ref=v1",
            r#"https://github.com/o/r "a/b" "v1""#,
        );
        check(
            "github.com/o/r/a?ref=v1",
            r#"https://github.com/o/r "a" "v1""#,
        );
        check("git@github.com:o/r//a", r#"git@github.com:o/r "a" """#);
        check(
            "https://h.io/x/y/r.git/a?version=2",
            r#"https://h.io/x/y/r.git "a" "2""#,
        );
        check("ssh://git@h.io/o/r/a", r#"ssh://git@h.io/o/r "a" """#);
    }
}
