//! Reading an object's fields with the defaults that rules need.

use serde_json::Value;

/// An object under judgement.
pub(crate) struct View<'a> {
    object: &'a Value,
}

/// One entry of `status.conditions`.
#[derive(Clone, Copy)]
pub(crate) struct Condition<'a> {
    entry: &'a Value,
}

impl<'a> View<'a> {
    pub(crate) fn new(object: &'a Value) -> Self {
        Self { object }
    }

    pub(crate) fn object(&self) -> &'a Value {
        self.object
    }

    /// Finds a value by its JSON pointer; null counts as missing.
    pub(crate) fn at(&self, pointer: &str) -> Option<&'a Value> {
        self.object
            .pointer(pointer)
            .filter(|value| !value.is_null())
    }

    pub(crate) fn text(&self, pointer: &str) -> &'a str {
        self.at(pointer).and_then(Value::as_str).unwrap_or_default()
    }

    pub(crate) fn flag(&self, pointer: &str) -> bool {
        self.at(pointer).and_then(Value::as_bool) == Some(true)
    }

    /// A number; 0 if it is missing, as the types of Kubernetes have it.
    pub(crate) fn count(&self, pointer: &str) -> i64 {
        self.number(pointer).unwrap_or(0)
    }

    pub(crate) fn number(&self, pointer: &str) -> Option<i64> {
        self.at(pointer)?.as_i64()
    }

    pub(crate) fn list(&self, pointer: &str) -> &'a [Value] {
        self.at(pointer)
            .and_then(Value::as_array)
            .map_or(&[], Vec::as_slice)
    }

    pub(crate) fn conditions(&self) -> impl Iterator<Item = Condition<'a>> {
        self.list("/status/conditions")
            .iter()
            .map(|entry| Condition { entry })
    }

    pub(crate) fn condition(&self, kind: &str) -> Option<Condition<'a>> {
        self.conditions().find(|condition| condition.kind() == kind)
    }

    /// The condition, if its status is `True`.
    pub(crate) fn holds(&self, kind: &str) -> Option<Condition<'a>> {
        self.condition(kind)
            .filter(|condition| condition.is("True"))
    }
}

impl<'a> Condition<'a> {
    pub(crate) fn of(entry: &'a Value) -> Self {
        Self { entry }
    }

    fn text(&self, key: &str) -> &'a str {
        self.entry
            .get(key)
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    pub(crate) fn kind(&self) -> &'a str {
        self.text("type")
    }

    pub(crate) fn is(&self, status: &str) -> bool {
        self.text("status") == status
    }

    pub(crate) fn reason(&self) -> &'a str {
        self.text("reason")
    }

    /// The reason, or the condition's own name where it gives none.
    pub(crate) fn reason_or_kind(&self) -> &'a str {
        match self.reason() {
            "" => self.kind(),
            reason => reason,
        }
    }

    pub(crate) fn message(&self) -> &'a str {
        self.text("message")
    }

    /// The generation that it was written for, where it says so.
    pub(crate) fn observed(&self) -> Option<i64> {
        self.entry.get("observedGeneration")?.as_i64()
    }
}
