//! `.helmignore`: which files of a folder are no part of the chart.

use super::gomatch;

/// The name of the file.
pub(crate) const FILE: &str = ".helmignore";

/// The rules of one `.helmignore`, in their order.
#[derive(Debug, Default)]
pub(crate) struct Rules(Vec<Rule>);

#[derive(Debug)]
struct Rule {
    pattern: String,
    negated: bool,
    only_folders: bool,
    /// A pattern without a slash looks at the last part of a path.
    base_name: bool,
}

impl Rules {
    /// Reads the rules; the error is Helm's.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut rules = Self::default();
        for line in text.lines() {
            rules.add(line)?;
        }
        Ok(rules)
    }

    /// Adds what holds for every chart: no hidden files in `templates/`.
    pub(crate) fn with_defaults(mut self) -> Self {
        // The default is a valid rule.
        let _ = self.add("templates/.?*");
        self
    }

    fn add(&mut self, line: &str) -> Result<(), String> {
        let rule = line.trim();
        if rule.is_empty() || rule.starts_with('#') {
            return Ok(());
        }
        if rule.contains("**") {
            return Err("double-star (**) syntax is not supported".to_owned());
        }
        gomatch::matches(rule, "abc").map_err(|_| "syntax error in pattern".to_owned())?;
        let (negated, rule) = match rule.strip_prefix('!') {
            Some(rest) => (true, rest),
            None => (false, rule),
        };
        let (only_folders, rule) = match rule.strip_suffix('/') {
            Some(rest) => (true, rest),
            None => (false, rule),
        };
        let (base_name, pattern) = match rule.strip_prefix('/') {
            Some(rest) => (false, rest),
            None => (!rule.contains('/'), rule),
        };
        self.0.push(Rule {
            pattern: pattern.to_owned(),
            negated,
            only_folders,
            base_name,
        });
        Ok(())
    }

    /// Whether a path from the chart's root is left out. A folder that is left out takes all below it along.
    pub(crate) fn ignores(&self, path: &str, is_folder: bool) -> bool {
        for rule in &self.0 {
            let subject = if rule.base_name {
                path.rsplit('/').next().unwrap_or(path)
            } else {
                path
            };
            let matches = || gomatch::matches(&rule.pattern, subject) == Ok(true);
            if rule.negated {
                // Helm leaves out what a negated rule does *not* match.
                if (rule.only_folders && !is_folder) || !matches() {
                    return true;
                }
                continue;
            }
            if (!rule.only_folders || is_folder) && matches() {
                return true;
            }
        }
        false
    }

    /// Whether a file, or a folder that it lies in, is left out.
    pub(crate) fn ignores_file(&self, path: &str) -> bool {
        path.match_indices('/')
            .any(|(at, _)| self.ignores(&path[..at], true))
            || self.ignores(path, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rules: &str, path: &str, ignored: bool) {
        let rules = Rules::parse(rules).unwrap().with_defaults();
        assert_eq!(rules.ignores_file(path), ignored, "{path}");
    }

    #[test]
    fn rules_hold_as_in_helm() {
        check("helm.txt", "helm.txt", true);
        check("helm.*", "helm.txt", true);
        check("helm.*", "rudder.txt", false);
        check("*.txt", "cargo/a.txt", true);
        check("cargo/*.txt", "cargo/a.txt", true);
        check("/cargo/*.txt", "cargo/a.txt", true);
        check("cargo/*.*", "mast/a.txt", false);
        check("[a-c].txt", "a.txt", true);
        check("[^a-c].txt", "a.txt", false);
        check("cargo/", "cargo/a.txt", true);
        check("cargo/", "cargo", false);
        check("a/", "b/a/c", true);
        check("/a/", "b/a/c", false);
        check("# comment\n\n", "comment", false);
        check("!helm.txt", "tiller.txt", true);
        check("!*.txt", "cargo/a.txt", true);
        check("", "templates/.gitignore", true);
        check("", "templates/x/.gitignore", false);
        check("\u{feff}README.md", "README.md", true);
    }

    #[test]
    fn two_stars_are_refused() {
        assert!(Rules::parse("a/**").unwrap_err().contains("double-star"));
        assert!(Rules::parse("[a").is_err());
    }
}
