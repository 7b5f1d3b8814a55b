//! Rules of a definition to programs, with what is wrong with them and what they can cost.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::field_path::valid_field_path;
use super::{
    Compiled, CompiledRule, FieldError, Kind, Node, STATIC_LIMIT, STATIC_TOTAL_LIMIT, child, keyed,
};
use crate::escape::escape;
use crate::program::{Environment, Program};
use crate::schema::{Decl, MAX_REQUEST, Rule, Schema};
use crate::types::Type;

/// Compiles the rules of a CustomResourceDefinition's schema, or says what is wrong with them as the API server does.
/// `path` is where the schema stands, such as `spec.validation.openAPIV3Schema`. The schema must be structural.
pub fn compile(schema: &Json, path: &str) -> Result<Compiled, Vec<FieldError>> {
    let parsed = Arc::new(Schema::new(schema));
    let decl = Decl::of(&parsed, true).map(Arc::new);
    let mut check = Check {
        wrong: Vec::new(),
        costly: Vec::new(),
        total: 0,
        most: Vec::new(),
    };
    let scope = Scope {
        decl,
        cardinality: Some(1),
        uncorrelatable: None,
    };
    check.schema(&parsed, path, &scope);
    let mut errors = check.wrong;
    errors.extend(check.costly);
    if check.total > STATIC_TOTAL_LIMIT {
        for (path, _) in check.most {
            errors.push(forbidden(
                path,
                "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema".into(),
            ));
        }
        errors.push(forbidden(
            path.to_owned(),
            too_costly(
                "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema",
                check.total,
                STATIC_TOTAL_LIMIT,
            ),
        ));
    }
    if errors.is_empty() {
        Ok(compile_stored(schema))
    } else {
        Err(errors)
    }
}

/// Compiles the rules of a definition that was taken before; what does not compile fails each object.
pub fn compile_stored(schema: &Json) -> Compiled {
    let schema = Arc::new(Schema::new(schema));
    let root = if schema.has_rules() {
        let decl = Decl::of(&schema, true).map(Arc::new);
        node(&schema, &schema, true, decl.as_ref())
    } else {
        None
    };
    Compiled { schema, root }
}

/// What one rule can cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleCost {
    /// The schema that has it, from the root.
    pub path: String,
    /// Its place there.
    pub rule: usize,
    /// What is wrong with it, or its cost.
    pub cost: Result<u64, String>,
    /// How often there can be data of its schema, by the smallest that it is.
    pub cardinality: u64,
    /// The cost of its message.
    pub message: u64,
}

/// The estimates of all rules of a schema.
pub fn costs(schema: &Json) -> Vec<RuleCost> {
    let schema = Schema::new(schema);
    let mut out = Vec::new();
    if let Some(decl) = Decl::of(&schema, true) {
        collect(&schema, &Arc::new(decl), "", &mut out);
    }
    out
}

fn collect(schema: &Schema, decl: &Arc<Decl>, path: &str, out: &mut Vec<RuleCost>) {
    for (i, rule) in schema.rules.iter().enumerate() {
        let made = Made::of(rule, schema, decl);
        out.push(RuleCost {
            path: path.to_owned(),
            rule: i,
            cost: match made.program {
                None => Ok(0),
                Some(Ok(program)) => Ok(program.cost().max),
                Some(Err(why)) => Err(why),
            },
            cardinality: cardinality(decl),
            message: match made.message {
                Some(Ok(program)) => program.cost().max,
                _ => 0,
            },
        });
    }
    if let (Some(items), Some(of)) = (&schema.items, decl.step("@items")) {
        collect(items, &Arc::new(of.clone()), &format!("{path}.items"), out);
    }
    let additional = schema.additional.as_ref().and_then(|a| a.schema.as_ref());
    if let (Some(values), Some(of)) = (additional, decl.step("@values")) {
        let path = format!("{path}.additionalProperties");
        collect(values, &Arc::new(of.clone()), &path, out);
    }
    for (name, property) in schema.properties.iter().flatten() {
        if let Some(of) = property_decl(decl, name, property) {
            collect(property, &of, &format!("{path}.{name}"), out);
        }
    }
}

fn property_decl(decl: &Decl, name: &str, property: &Schema) -> Option<Arc<Decl>> {
    match escape(name) {
        Some(escaped) => decl.step(&escaped).map(|of| Arc::new(of.clone())),
        None => Decl::of(property, property.embedded).map(Arc::new),
    }
}

fn cardinality(decl: &Decl) -> u64 {
    u64::try_from(MAX_REQUEST / (decl.min_size + 1)).unwrap_or_default()
}

/// A rule compiled.
struct Made {
    program: Option<Result<Program, String>>,
    message: Option<Result<Program, String>>,
    field_path: String,
}

impl Made {
    fn of(rule: &Rule, schema: &Schema, decl: &Arc<Decl>) -> Made {
        let mut made = Made {
            program: None,
            message: None,
            field_path: String::new(),
        };
        if rule.rule.trim().is_empty() {
            return made;
        }
        let env = Environment::new(decl.clone(), rule.optional_old_self == Some(true));
        let program = compile_one(&env, &rule.rule, &Type::Bool, RULE);
        let sound = program.is_ok();
        made.program = Some(program);
        if !sound {
            return made;
        }
        if !rule.message_expression.is_empty() {
            let message = compile_one(&env, &rule.message_expression, &Type::String, MESSAGE);
            let sound = message.is_ok();
            made.message = Some(message);
            if !sound {
                return made;
            }
        }
        if !rule.field_path.is_empty()
            && let Some(path) = valid_field_path(&rule.field_path, schema)
        {
            made.field_path = path;
        }
        made
    }
}

/// The words for what is wrong with an expression.
struct Words {
    compile: &'static str,
    ty: &'static str,
    program: &'static str,
}

const RULE: &Words = &Words {
    compile: "compilation failed: ",
    ty: "cel expression must evaluate to a bool",
    program: "program instantiation failed: ",
};
const MESSAGE: &Words = &Words {
    compile: "messageExpression compilation failed: ",
    ty: "messageExpression must evaluate to a string",
    program: "messageExpression instantiation failed: ",
};

fn compile_one(env: &Environment, text: &str, ty: &Type, words: &Words) -> Result<Program, String> {
    let checked = env
        .check(text)
        .map_err(|why| format!("{}{why}", words.compile))?;
    if checked.ty(&checked.expr) != ty {
        return Err(words.ty.into());
    }
    Program::estimated(&checked, env.decl()).map_err(|why| format!("{}{why}", words.program))
}

fn node(
    rules: &Schema,
    schema: &Arc<Schema>,
    root: bool,
    decl: Option<&Arc<Decl>>,
) -> Option<Node> {
    let compiled: Vec<CompiledRule> = rules
        .rules
        .iter()
        .filter_map(|rule| {
            let made = Made::of(rule, schema, decl?);
            Some(CompiledRule {
                rule: rule.clone(),
                program: made.program,
                message: made.message,
                field_path: made.field_path,
            })
        })
        .collect();
    let element = |step: &str| decl.and_then(|d| d.step(step)).map(|d| Arc::new(d.clone()));
    let items = rules.items.as_ref().zip(schema.items.as_ref());
    let items = items.and_then(|(rules, schema)| {
        node(rules, schema, schema.embedded, element("@items").as_ref())
    });
    let values = |s: &Schema| s.additional.as_ref().and_then(|a| a.schema.clone());
    let additional = values(rules).zip(values(schema));
    let additional = additional.and_then(|(rules, schema)| {
        node(
            &rules,
            &schema,
            schema.embedded,
            element("@values").as_ref(),
        )
    });
    let mut properties = BTreeMap::new();
    for (name, rules) in rules.properties.iter().flatten() {
        let Some(property) = schema.properties.as_ref().and_then(|p| p.get(name)) else {
            continue;
        };
        let Some(of) = decl.and_then(|d| property_decl(d, name, property)) else {
            continue;
        };
        if let Some(made) = node(rules, property, property.embedded, Some(&of)) {
            properties.insert(name.clone(), made);
        }
    }
    let all_of: Vec<Node> = rules
        .all_of
        .iter()
        .filter_map(|rules| node(rules, schema, root, decl))
        .collect();
    let none = compiled.is_empty()
        && items.is_none()
        && additional.is_none()
        && properties.is_empty()
        && all_of.is_empty();
    (!none).then(|| Node {
        schema: schema.clone(),
        root,
        rules: compiled,
        items: items.map(Box::new),
        additional: additional.map(Box::new),
        properties,
        all_of,
    })
}

struct Check {
    wrong: Vec<FieldError>,
    costly: Vec<FieldError>,
    total: u64,
    most: Vec<(String, u64)>,
}

struct Scope {
    decl: Option<Arc<Decl>>,
    /// How often there can be data of the schema; none is without bound.
    cardinality: Option<u64>,
    /// The list whose elements have no values before.
    uncorrelatable: Option<String>,
}

fn forbidden(field: String, detail: String) -> FieldError {
    FieldError {
        kind: Kind::Forbidden,
        field,
        value: None,
        detail,
    }
}

fn too_costly(what: &str, cost: u64, limit: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "it is said to a digit")]
    let factor = cost as f64 / limit as f64;
    let factor = if factor > 100.0 {
        "more than 100x".to_owned()
    } else if factor < 1.5 {
        format!("{factor:.6}x")
    } else {
        format!("{factor:.1}x")
    };
    format!(
        "{what} exceeds budget by factor of {factor} (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)"
    )
}

const REASONS: &[&str] = &[
    "FieldValueDuplicate",
    "FieldValueForbidden",
    "FieldValueInvalid",
    "FieldValueRequired",
];

impl Check {
    /// Looks at a schema and what is below it; says whether its rules could be compiled.
    fn schema(&mut self, schema: &Schema, path: &str, scope: &Scope) {
        let before = self.wrong.len();
        let grows = match schema.ty.as_str() {
            "object" if schema.additional.is_some() => schema.max_properties,
            "array" => schema.max_items,
            _ => Some(1),
        };
        let below = |decl: Option<Arc<Decl>>, list: bool| Scope {
            decl,
            cardinality: scope
                .cardinality
                .zip(grows)
                .map(|(c, n)| c.saturating_mul(u64::try_from(n).unwrap_or_default())),
            uncorrelatable: scope.uncorrelatable.clone().or_else(|| {
                (list && schema.list_type.as_deref() != Some("map")).then(|| path.to_owned())
            }),
        };
        let step = |name: &str| {
            let decl = scope.decl.as_ref()?;
            decl.step(name).map(|d| Arc::new(d.clone()))
        };
        if let Some(values) = schema.additional.as_ref().and_then(|a| a.schema.as_ref()) {
            let scope = below(step("@values"), false);
            self.schema(values, &format!("{path}.additionalProperties"), &scope);
        }
        for (name, property) in schema.properties.iter().flatten() {
            let decl = scope
                .decl
                .as_ref()
                .and_then(|d| property_decl(d, name, property));
            let path = keyed(Some(&format!("{path}.properties")), name);
            self.schema(property, &path, &below(decl, false));
        }
        if let Some(items) = &schema.items {
            let scope = below(step("@items"), true);
            self.schema(items, &format!("{path}.items"), &scope);
        }
        for (i, rule) in schema.rules.iter().enumerate() {
            let path = format!("{path}.x-kubernetes-validations[{i}]");
            self.form(rule, schema, &path);
        }
        if self.wrong.len() > before {
            return;
        }
        let Some(decl) = &scope.decl else {
            if !schema.rules.is_empty() {
                self.costly.push(FieldError {
                    kind: Kind::Internal,
                    field: format!("{path}.x-kubernetes-validations"),
                    value: None,
                    detail: "internal error: failed to construct type information for x-kubernetes-validations rules: unable to convert structural schema to CEL declarations".into(),
                });
            }
            return;
        };
        for (i, rule) in schema.rules.iter().enumerate() {
            let path = format!("{path}.x-kubernetes-validations[{i}]");
            self.rule(rule, schema, decl, &path, scope);
        }
    }

    /// What is wrong with a rule before it is compiled.
    fn form(&mut self, rule: &Rule, schema: &Schema, path: &str) {
        let mut wrong = |kind: Kind, field: &str, value: &str, detail: &str| {
            self.wrong.push(FieldError {
                kind,
                field: child(Some(path), field),
                value: Some(json!(value)),
                detail: detail.into(),
            });
        };
        let lines = |text: &str| text.contains(['\n', '\r']);
        let (text, message) = (rule.rule.trim(), rule.message.trim());
        if text.is_empty() {
            wrong(Kind::Required, "rule", "", "rule is not specified");
        } else if !rule.message.is_empty() && message.is_empty() {
            let detail = "must be non-empty if specified";
            wrong(Kind::Invalid, "message", &rule.message, detail);
        } else if lines(message) {
            let detail = "must not contain line breaks";
            wrong(Kind::Invalid, "message", &rule.message, detail);
        } else if lines(text) && message.is_empty() {
            let detail = "message must be specified if rule contains line breaks";
            wrong(Kind::Required, "message", "", detail);
        }
        if !rule.message_expression.is_empty() && rule.message_expression.trim().is_empty() {
            let detail = "messageExpression must be non-empty if specified";
            wrong(Kind::Required, "messageExpression", "", detail);
        }
        if let Some(reason) = &rule.reason
            && !REASONS.contains(&reason.as_str())
        {
            let known: Vec<String> = REASONS.iter().map(|r| crate::show::quote(r)).collect();
            let detail = format!("supported values: {}", known.join(", "));
            wrong(Kind::NotSupported, "reason", reason, &detail);
        }
        if rule.field_path.is_empty() {
            return;
        }
        if rule.field_path.trim().is_empty() {
            let detail = "must be non-empty if specified";
            wrong(Kind::Invalid, "fieldPath", &rule.field_path, detail);
        }
        if lines(&rule.field_path) {
            let detail = "must not contain line breaks";
            wrong(Kind::Invalid, "fieldPath", &rule.field_path, detail);
        }
        if valid_field_path(&rule.field_path, schema).is_none() {
            let detail = "must be a valid path";
            wrong(Kind::Invalid, "fieldPath", &rule.field_path, detail);
        }
    }

    fn observe(&mut self, path: String, cost: u64) {
        self.total = self.total.saturating_add(cost);
        if cost < STATIC_TOTAL_LIMIT / 100 {
            return;
        }
        self.most.push((path, cost));
        self.most.sort_by_key(|(_, cost)| std::cmp::Reverse(*cost));
        self.most.truncate(4);
    }

    fn rule(&mut self, rule: &Rule, schema: &Schema, decl: &Arc<Decl>, path: &str, scope: &Scope) {
        let made = Made::of(rule, schema, decl);
        let whole = || Some(rule_json(rule));
        let invalid = |field: &str, value: Option<Json>, detail: String| FieldError {
            kind: Kind::Invalid,
            field: child(Some(path), field),
            value,
            detail,
        };
        let cost = match &made.program {
            Some(Ok(program)) => program
                .cost()
                .max
                .saturating_mul(scope.cardinality.unwrap_or_else(|| cardinality(decl))),
            _ => 0,
        };
        let place = child(Some(path), "rule");
        if cost > STATIC_LIMIT {
            let detail = too_costly("estimated rule cost", cost, STATIC_LIMIT);
            self.costly.push(forbidden(place.clone(), detail));
        }
        self.observe(place, cost);
        let uses_old = match &made.program {
            Some(Ok(program)) => program.uses_old_self(),
            Some(Err(why)) => {
                self.costly.push(invalid("rule", whole(), why.clone()));
                false
            }
            None => false,
        };
        match &made.message {
            Some(Err(why)) => {
                self.costly
                    .push(invalid("messageExpression", whole(), why.clone()));
            }
            Some(Ok(program)) => {
                let (cost, place) = (program.cost().max, child(Some(path), "messageExpression"));
                if cost > STATIC_LIMIT {
                    let detail = too_costly("estimated messageExpression cost", cost, STATIC_LIMIT);
                    self.costly.push(forbidden(place.clone(), detail));
                }
                self.observe(place, cost);
            }
            None => {}
        }
        if uses_old {
            if let Some(list) = &scope.uncorrelatable {
                let detail = format!(
                    "oldSelf cannot be used on the uncorrelatable portion of the schema within {list}"
                );
                self.costly
                    .push(invalid("rule", Some(json!(rule.rule)), detail));
            }
        } else if let Some(optional) = rule.optional_old_self {
            let detail = "may not be set if oldSelf is not used in rule".to_owned();
            self.costly
                .push(invalid("optionalOldSelf", Some(json!(optional)), detail));
        }
    }
}

/// A rule as it stands in an error.
fn rule_json(rule: &Rule) -> Json {
    json!({
        "Rule": rule.rule,
        "Message": rule.message,
        "MessageExpression": rule.message_expression,
        "Reason": rule.reason,
        "FieldPath": rule.field_path,
        "OptionalOldSelf": rule.optional_old_self,
    })
}
