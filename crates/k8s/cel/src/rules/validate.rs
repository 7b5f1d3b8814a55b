//! Rules run on an object.

use serde_json::Value as Json;

use super::correlate::{Correlated, correlate};
use super::{
    Compiled, CompiledRule, FieldError, Kind, LONGEST_MESSAGE, Node, PER_CALL_LIMIT, child, keyed,
};
use crate::program::{Outcome, Program};
use crate::schema::Rule;
use crate::value::{Cancelled, Value};
use crate::views;

/// What the rules say of an object.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Validation {
    /// What is wrong.
    pub errors: Vec<FieldError>,
    /// What is wrong and was so before, which is forgiven.
    pub ratcheted: Vec<FieldError>,
    /// What is left of the budget; less than zero where it was not enough.
    pub remaining: i64,
}

/// Runs all rules on an object, and on the one that it replaces.
pub fn validate(compiled: &Compiled, object: &Json, old: Option<&Json>, budget: i64) -> Validation {
    let mut run = Run {
        out: Validation {
            remaining: budget,
            ..Validation::default()
        },
    };
    if let Some(root) = &compiled.root {
        let ratchet = Ratchet {
            current: old.map(|old| Correlated {
                new: object,
                old,
                schema: &compiled.schema,
            }),
            parent: None,
        };
        run.node(root, None, object, old, ratchet);
    }
    run.out
}

#[derive(Clone, Copy)]
struct Ratchet<'a> {
    current: Option<Correlated<'a>>,
    /// The nearest that has a value before.
    parent: Option<Correlated<'a>>,
}

impl<'a> Ratchet<'a> {
    fn forgives(self) -> bool {
        self.current
            .or(self.parent)
            .is_some_and(Correlated::unchanged)
    }

    fn below(self, next: impl FnOnce(Correlated<'a>) -> Option<Correlated<'a>>) -> Ratchet<'a> {
        match self.current {
            None => self,
            Some(current) => Ratchet {
                current: next(current),
                parent: Some(current),
            },
        }
    }

    fn key(self, name: &str) -> Ratchet<'a> {
        if self.current.is_some() && self.parent.is_none() && matches!(name, "apiVersion" | "kind")
        {
            return Ratchet {
                current: None,
                parent: None,
            };
        }
        self.below(|current| current.key(name))
    }
}

struct Run {
    out: Validation,
}

const OUT_OF_BUDGET: &str =
    "validation failed due to running out of cost budget, no further validation rules will be run";

impl Run {
    /// False ends all.
    fn node(
        &mut self,
        node: &Node,
        path: Option<&str>,
        object: &Json,
        old: Option<&Json>,
        ratchet: Ratchet<'_>,
    ) -> bool {
        if object.is_null() {
            return true;
        }
        let old = old.filter(|old| !old.is_null());
        if !self.rules(node, path, object, old, ratchet) {
            return false;
        }
        for all_of in &node.all_of {
            let ratchet = Ratchet {
                current: None,
                parent: ratchet.parent,
            };
            if !self.node(all_of, path, object, old, ratchet) {
                return false;
            }
        }
        match object {
            Json::Array(elements) => {
                let Some(items) = &node.items else {
                    return true;
                };
                let before = old.and_then(Json::as_array);
                for (i, element) in elements.iter().enumerate() {
                    let old = before.and_then(|before| correlate(&node.schema, before, element));
                    let path = keyed(path, &i.to_string());
                    let ratchet = ratchet.below(|current| current.index(i));
                    if !self.node(items, Some(&path), element, old, ratchet) {
                        return false;
                    }
                }
                true
            }
            Json::Object(fields) => {
                let correlatable = matches!(
                    node.schema.map_type.as_deref(),
                    None | Some("granular" | "atomic")
                );
                let before = |name: &str| old.filter(|_| correlatable)?.as_object()?.get(name);
                if let Some(additional) = &node.additional {
                    for (name, value) in fields {
                        let path = keyed(path, name);
                        let old = before(name);
                        if !self.node(additional, Some(&path), value, old, ratchet.key(name)) {
                            return false;
                        }
                    }
                }
                for (name, value) in fields {
                    let Some(below) = node.properties.get(name) else {
                        continue;
                    };
                    let path = child(path, name);
                    if !self.node(below, Some(&path), value, before(name), ratchet.key(name)) {
                        return false;
                    }
                }
                true
            }
            _ => true,
        }
    }

    fn invalid(&mut self, node: &Node, path: Option<&str>, detail: String) {
        self.out.errors.push(FieldError {
            kind: Kind::Invalid,
            field: path.unwrap_or("<nil>").to_owned(),
            value: Some(node.schema.ty.clone().into()),
            detail,
        });
    }

    fn end(&mut self) -> bool {
        self.out.remaining = -1;
        false
    }

    /// Pays for a run; false where there is not enough.
    fn pay(&mut self, cost: u64) -> bool {
        match i64::try_from(cost) {
            Ok(cost) if cost <= self.out.remaining => {
                self.out.remaining -= cost;
                true
            }
            _ => false,
        }
    }

    fn rules(
        &mut self,
        node: &Node,
        path: Option<&str>,
        object: &Json,
        old: Option<&Json>,
        ratchet: Ratchet<'_>,
    ) -> bool {
        if node.rules.is_empty() {
            return true;
        }
        if self.out.remaining <= 0 {
            self.invalid(node, path, OUT_OF_BUDGET.into());
            return self.end();
        }
        let schema = if node.root {
            node.schema.rooted()
        } else {
            &node.schema
        };
        let view = |json| views::view(json, schema);
        for rule in &node.rules {
            let program = match &rule.program {
                None => continue,
                Some(Err(why)) => {
                    self.invalid(node, path, format!("rule compile error: {why}"));
                    continue;
                }
                Some(Ok(program)) => program,
            };
            let optional = rule.rule.optional_old_self == Some(true);
            if program.uses_old_self() && old.is_none() && !optional {
                continue;
            }
            let before = match (optional, old) {
                (true, old) => Some(Value::Optional(old.map(|old| view(old).into()))),
                (false, old) => old.map(view),
            };
            let outcome = program.run(Some(view(object)), before, PER_CALL_LIMIT);
            if !self.pay(outcome.cost) {
                self.invalid(node, path, OUT_OF_BUDGET.into());
                return self.end();
            }
            let fault = match outcome.result {
                Ok(Value::Bool(true)) => continue,
                Ok(Value::Error(why)) => Some(why.to_string()),
                Err(cancelled) => Some(cancelled.to_string()),
                Ok(_) => None,
            };
            if let Some(why) = fault {
                let name = rule_name(&rule.rule);
                if why.starts_with("no such overload") {
                    self.invalid(node, path, format!("'{why}': call arguments did not match a supported operator, function or macro signature for rule: {name}"));
                } else if why.starts_with("operation cancelled: actual cost limit exceeded") {
                    self.invalid(node, path, format!("'{why}': no further validation rules will be run due to call cost exceeds limit for rule: {name}"));
                    return self.end();
                } else {
                    self.invalid(node, path, format!("{why} evaluating rule: {name}"));
                }
                continue;
            }
            // a message sees the value before only beside a rule that does
            let sees = node
                .rules
                .iter()
                .any(|rule| matches!(&rule.program, Some(Ok(program)) if program.uses_old_self()));
            let (this, before) = (Some(view(object)), old.filter(|_| sees).map(view));
            if !self.failed(node, rule, program, path, object, this, before, ratchet) {
                return false;
            }
        }
        true
    }

    #[expect(clippy::too_many_arguments, reason = "one rule, seen from all sides")]
    fn failed<'a>(
        &mut self,
        node: &Node,
        rule: &CompiledRule,
        program: &Program,
        path: Option<&str>,
        object: &Json,
        this: Option<Value<'a>>,
        old: Option<Value<'a>>,
        ratchet: Ratchet<'_>,
    ) -> bool {
        let at = if rule.field_path.is_empty() {
            path.map(str::to_owned)
        } else {
            Some(child(path, &rule.field_path))
        };
        let field = at.unwrap_or_else(|| "<nil>".into());
        let forgiven = !program.uses_old_self() && ratchet.forgives();
        let add = |out: &mut Validation, error: FieldError| {
            if forgiven {
                out.ratcheted.push(error);
            } else {
                out.errors.push(error);
            }
        };
        let mut detail = None;
        if let Some(Ok(message)) = &rule.message {
            let outcome = message.run(this, old, PER_CALL_LIMIT);
            match self.message(outcome, &rule.rule.message_expression) {
                Ok(text) => detail = text,
                Err(why) => {
                    let error = FieldError {
                        kind: Kind::Invalid,
                        field,
                        value: Some(node.schema.ty.clone().into()),
                        detail: why,
                    };
                    add(&mut self.out, error);
                    return self.end();
                }
            }
        }
        let detail = detail.unwrap_or_else(|| {
            if rule.rule.message.is_empty() {
                format!("failed rule: {}", rule_name(&rule.rule))
            } else {
                rule.rule.message.trim().to_owned()
            }
        });
        let kind = match rule.rule.reason.as_deref() {
            Some("FieldValueForbidden") => Kind::Forbidden,
            Some("FieldValueRequired") => Kind::Required,
            Some("FieldValueDuplicate") => Kind::Duplicate,
            _ => Kind::Invalid,
        };
        let shown = !matches!(node.schema.ty.as_str(), "object" | "array");
        let error = FieldError {
            value: match kind {
                Kind::Invalid | Kind::Duplicate if shown => Some(object.clone()),
                _ => None,
            },
            detail: if kind == Kind::Duplicate {
                String::new()
            } else {
                detail
            },
            kind,
            field,
        };
        add(&mut self.out, error);
        true
    }

    /// The text of a message, or none where it cannot be told; an error ends all.
    fn message(
        &mut self,
        outcome: Outcome<'_>,
        expression: &str,
    ) -> Result<Option<String>, String> {
        if i64::try_from(outcome.cost).is_ok_and(|cost| cost > self.out.remaining) {
            return Err("messageExpression evaluation failed due to running out of cost budget, no further validation rules will be run".into());
        }
        if matches!(outcome.result, Err(Cancelled::Cost)) {
            return Err(format!(
                "no further validation rules will be run due to call cost exceeds limit for messageExpression: {}",
                crate::show::quote(expression)
            ));
        }
        self.pay(outcome.cost);
        let Ok(Value::String(text)) = outcome.result else {
            return Ok(None);
        };
        let text = text.trim();
        if text.is_empty() || text.contains('\n') || text.len() > LONGEST_MESSAGE {
            return Ok(None);
        }
        Ok(Some(text.to_owned()))
    }
}

fn rule_name(rule: &Rule) -> &str {
    if rule.message.is_empty() {
        rule.rule.trim()
    } else {
        rule.message.trim()
    }
}
