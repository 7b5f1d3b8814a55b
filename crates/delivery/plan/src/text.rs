//! A plan for people.

use std::fmt::Write as _;

use roadstead_dispatch::{DriftKind, Existing};
use roadstead_model::{ImmutablePolicy, OnLeave};
use serde_json::Value;

use crate::{Changed, Changes, Check, FieldChange, Group, Plan, Removed, Why};

/// What a piece of text is, for whoever colours it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// A heading.
    Heading,
    /// Something new.
    Added,
    /// Something that goes.
    Removed,
    /// Something that changes.
    Changed,
    /// Something that needs a decision or failed.
    Alert,
    /// What is said beside.
    Note,
}

/// How many names of clusters are written out.
const NAMES: usize = 8;
/// How many lines of a new object or a long text are shown.
const LINES: usize = 20;

/// Writes a plan. `paint` colours each piece; without colours it hands the text back.
pub fn text(plan: &Plan, paint: &dyn Fn(Mark, &str) -> String) -> String {
    let mut out = Writer {
        out: String::new(),
        paint,
    };
    out.line(Mark::Heading, &format!("App {}: {}", plan.app, plan.what));
    out.line(Mark::Note, &plan.basis);
    for group in plan.groups.iter().filter(|group| !group.is_empty()) {
        out.out.push('\n');
        out.group(group);
    }
    let same: usize = plan
        .groups
        .iter()
        .filter(|group| group.is_empty())
        .map(|group| group.clusters.len())
        .sum();
    if same > 0 {
        out.out.push('\n');
        out.line(
            Mark::Note,
            &format!("{}: nothing changes", count(same, "cluster")),
        );
    }
    if !plan.failures.is_empty() {
        out.out.push('\n');
        let failed = count(plan.failures.len(), "cluster");
        out.line(Mark::Alert, &format!("{failed} without an answer:"));
        for failure in &plan.failures {
            out.line(
                Mark::Alert,
                &format!("  {}: {}", failure.cluster, failure.message),
            );
        }
    }
    out.checks(&plan.checks);
    out.out.push('\n');
    out.line(Mark::Heading, &summary(plan));
    out.out
}

/// The clusters of a check, for people.
fn of_check(check: &Check) -> String {
    let names: Vec<&str> = check
        .clusters
        .iter()
        .take(NAMES)
        .map(String::as_str)
        .collect();
    let mut text = names.join(", ");
    if check.clusters.len() > NAMES {
        let _ = write!(text, " and {} more", check.clusters.len() - NAMES);
    }
    if !check.minor.is_empty() {
        let _ = write!(text, " (Kubernetes {})", check.minor);
    }
    text
}

fn summary(plan: &Plan) -> String {
    let numbers = plan.summary();
    if numbers.changing == 0 && numbers.failed == 0 {
        return format!("nothing changes on {}", count(numbers.clusters, "cluster"));
    }
    let mut text = format!(
        "{} of {} change",
        numbers.changing,
        count(numbers.clusters, "cluster")
    );
    if numbers.waiting > 0 {
        let _ = write!(text, "; removals on {} wait for approval", numbers.waiting);
    }
    if numbers.adopting > 0 {
        let _ = write!(
            text,
            "; objects of others are taken over on {}",
            numbers.adopting
        );
    }
    if numbers.refused > 0 {
        let _ = write!(text, "; {} would refuse objects", numbers.refused);
    }
    if numbers.failed > 0 {
        let _ = write!(text, "; {} without an answer", numbers.failed);
    }
    text
}

fn count(number: usize, what: &str) -> String {
    let s = if number == 1 { "" } else { "s" };
    format!("{number} {what}{s}")
}

struct Writer<'p> {
    out: String,
    paint: &'p dyn Fn(Mark, &str) -> String,
}

impl Writer<'_> {
    /// What API servers said to the plan.
    fn checks(&mut self, checks: &[Check]) {
        if checks.is_empty() {
            return;
        }
        self.out.push('\n');
        let confirmed = checks.iter().filter(|check| check.is_confirmed()).count();
        let text = format!(
            "confirmed {confirmed} of {} by dry-runs of API servers",
            count(checks.len(), "group")
        );
        self.line(Mark::Note, &text);
        for check in checks.iter().filter(|check| !check.is_confirmed()) {
            let whose = of_check(check);
            if !check.unknown.is_empty() {
                let text = format!("  ? predicted for {whose}: {}", check.unknown);
                self.line(Mark::Note, &text);
            }
            for refused in &check.refused {
                let name = refused.object.readable();
                let text = format!("  ! {whose} would refuse {name}: {}", refused.message);
                self.line(Mark::Alert, &text);
            }
            for object in &check.taken {
                let name = object.readable();
                let text = format!("  · {whose} would take {name}, against what is predicted");
                self.line(Mark::Note, &text);
            }
            for beyond in &check.beyond {
                let name = beyond.object.readable();
                let fields = beyond.fields.join(", ");
                let text = format!("  ! on {whose} more of {name} changes: {fields}");
                self.line(Mark::Alert, &text);
            }
        }
    }

    fn line(&mut self, mark: Mark, text: &str) {
        self.out.push_str(&(self.paint)(mark, text));
        self.out.push('\n');
    }

    fn group(&mut self, group: &Group) {
        let names: Vec<&str> = group
            .clusters
            .iter()
            .take(NAMES)
            .map(String::as_str)
            .collect();
        let mut heading = format!(
            "{}: {}",
            count(group.clusters.len(), "cluster"),
            names.join(", ")
        );
        if group.clusters.len() > NAMES {
            let _ = write!(heading, " and {} more", group.clusters.len() - NAMES);
        }
        self.line(Mark::Heading, &heading);
        match group.leaves {
            Some(OnLeave::Keep) => {
                self.line(
                    Mark::Alert,
                    "  no target any more: the objects stay and are nobody's",
                );
            }
            Some(OnLeave::Remove) => {
                self.line(Mark::Alert, "  no target any more: the objects are removed");
            }
            None if group.first => self.line(Mark::Note, "  has nothing of this App yet"),
            None => {}
        }
        self.changes(&group.changes, &group.existing);
        if !group.unasked.is_empty() {
            let text = format!(
                "  ? whether some of the new objects exist already is not known: {}",
                group.unasked
            );
            self.line(Mark::Note, &text);
        }
        for item in &group.drift {
            let what = match item.kind {
                DriftKind::Changed if item.fields.is_empty() => "was changed by hand".to_owned(),
                DriftKind::Changed => format!("was changed by hand ({})", item.fields.join(", ")),
                DriftKind::Removed => "was removed by hand".to_owned(),
            };
            let text = format!("  ! {} {what}: a sync puts it back", item.object.readable());
            self.line(Mark::Alert, &text);
        }
    }

    /// An object that is new to the App and exists already.
    fn existing(&mut self, found: &Existing) {
        let name = found.object.readable();
        if !found.refused.is_empty() {
            self.line(Mark::Alert, &format!("  ! {}", found.refused));
            return;
        }
        let managers = found.managers.join(", ");
        let whose = match (found.owner.as_str(), managers.as_str()) {
            ("", "") => "nobody".to_owned(),
            ("", managers) => format!("nobody (written by {managers})"),
            (owner, "") => owner.to_owned(),
            (owner, managers) => format!("{owner} (written by {managers})"),
        };
        let secret = found.object.kind == "Secret" && found.object.group.is_empty();
        let what = match (found.unknown.is_empty(), found.fields.is_empty()) {
            (false, true) => format!("; what changes is not known: {}", found.unknown),
            (false, false) => format!("; this may change ({}):", found.unknown),
            (true, true) if secret => {
                "; its keys stay as they are, its values are not compared".to_owned()
            }
            (true, true) => "; nothing of it changes".to_owned(),
            (true, false) => "; this changes:".to_owned(),
        };
        let mark = if found.fields.is_empty() {
            Mark::Note
        } else {
            Mark::Changed
        };
        self.line(
            mark,
            &format!("  ^ {name} exists and is taken over from {whose}{what}"),
        );
        for field in &found.fields {
            self.line(Mark::Changed, &format!("      {field}"));
        }
    }

    fn changes(&mut self, changes: &Changes, existing: &[Existing]) {
        for namespace in &changes.namespaces {
            self.line(
                Mark::Added,
                &format!("  + Namespace {namespace} (made if it is missing, and never removed)"),
            );
        }
        for created in &changes.created {
            if let Some(found) = existing.iter().find(|found| found.object == created.id) {
                self.existing(found);
                continue;
            }
            self.line(Mark::Added, &format!("  + {}", created.id.readable()));
            self.lines(Mark::Added, "      + ", &shown(&created.object));
        }
        for changed in &changes.changed {
            self.changed(changed);
        }
        for removed in &changes.removed {
            self.removed(removed);
        }
        for refused in &changes.refused {
            let name = refused.object.readable();
            let text = format!("  ! {name} would be refused: {}", refused.message);
            self.line(Mark::Alert, &text);
        }
        for hook in &changes.hooks {
            self.line(
                Mark::Note,
                &format!("  > {} runs as a hook", hook.readable()),
            );
        }
        if changes.unchanged > 0 {
            self.line(
                Mark::Note,
                &format!("  = {} unchanged", count(changes.unchanged, "object")),
            );
        }
        let verdict = &changes.verdict;
        if verdict.counted > verdict.allowed {
            let text = format!(
                "  ! removes {}, and {} may go without approval",
                count(verdict.counted, "object"),
                verdict.allowed
            );
            self.line(Mark::Alert, &text);
        }
    }

    fn changed(&mut self, changed: &Changed) {
        self.line(Mark::Changed, &format!("  ~ {}", changed.id.readable()));
        if let Some(immutable) = &changed.immutable {
            let what = match immutable.path.as_str() {
                "" => "what changes",
                path => path,
            };
            let text = match immutable.policy {
                ImmutablePolicy::Fail => format!(
                    "      ! {what} cannot change in place: the sync fails (spec.sync.onImmutable)"
                ),
                ImmutablePolicy::Replace => format!(
                    "      ! {what} cannot change in place: the object is removed and made again"
                ),
            };
            self.line(Mark::Alert, &text);
        }
        if changed.as_written {
            let text = "      as it is written: what the API server makes of it is not known here";
            self.line(Mark::Note, text);
        }
        if changed.fields.is_empty() {
            self.line(Mark::Note, "      nothing but who set its fields");
        }
        for field in &changed.fields {
            self.field(field);
        }
    }

    fn field(&mut self, field: &FieldChange) {
        self.line(Mark::Note, &format!("      {}", field.path));
        if let (Some(Value::String(old)), Some(Value::String(new))) = (&field.old, &field.new)
            && (old.contains('\n') || new.contains('\n'))
        {
            let (old, new) = differing(old, new);
            self.lines(Mark::Removed, "        - ", &old);
            self.lines(Mark::Added, "        + ", &new);
            return;
        }
        if let Some(old) = &field.old {
            self.lines(Mark::Removed, "        - ", &value(old));
        }
        if let Some(new) = &field.new {
            self.lines(Mark::Added, "        + ", &value(new));
        }
    }

    fn removed(&mut self, removed: &Removed) {
        let name = removed.id.readable();
        let (mark, text) = match removed.why {
            Why::Removed => (Mark::Removed, format!("  - {name}")),
            Why::Protected => (
                Mark::Alert,
                format!(
                    "  - {name} (waits for approval: a {} is protected)",
                    removed.id.kind
                ),
            ),
            Why::OverBudget => (
                Mark::Alert,
                format!("  - {name} (waits for approval: over the removal budget)"),
            ),
            Why::Keep => (Mark::Note, format!("  · {name} stays: it says so itself")),
            Why::PruneOff => (
                Mark::Note,
                format!("  · {name} stays: the App does not prune"),
            ),
        };
        self.line(mark, &text);
    }

    fn lines(&mut self, mark: Mark, start: &str, lines: &[String]) {
        for line in lines.iter().take(LINES) {
            self.line(mark, format!("{start}{line}").trim_end());
        }
        if lines.len() > LINES {
            let rest = count(lines.len() - LINES, "more line");
            self.line(Mark::Note, &format!("{}{rest}", " ".repeat(start.len())));
        }
    }
}

/// A new object without what its heading says already.
fn shown(object: &Value) -> Vec<String> {
    let mut object = object.clone();
    if let Some(map) = object.as_object_mut() {
        for field in ["apiVersion", "kind", "metadata"] {
            map.remove(field);
        }
        if map.is_empty() {
            return Vec::new();
        }
    }
    yaml(&object)
}

fn value(value: &Value) -> Vec<String> {
    yaml(value)
}

fn yaml(value: &Value) -> Vec<String> {
    base_yaml::to_string(value)
        .lines()
        .map(str::to_owned)
        .collect()
}

/// The lines that differ, without those that are the same at the beginning and the end.
fn differing(old: &str, new: &str) -> (Vec<String>, Vec<String>) {
    let (old, new): (Vec<&str>, Vec<&str>) = (old.split('\n').collect(), new.split('\n').collect());
    let first = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let (old, new) = (&old[first..], &new[first..]);
    let last = old
        .iter()
        .rev()
        .zip(new.iter().rev())
        .take_while(|(a, b)| a == b)
        .count();
    let cut = |lines: &[&str]| {
        lines[..lines.len() - last]
            .iter()
            .map(|l| (*l).to_owned())
            .collect()
    };
    (cut(old), cut(new))
}
