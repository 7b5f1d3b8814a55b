//! Expressions from text to answers.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value as Json;

use crate::checker::{Checked, Env, Reference, check};
use crate::cost_static::{Range, estimate};
use crate::eval::{Context, Variables};
use crate::parser::parse;
use crate::plan::{Node, plan};
use crate::schema::{Decl, Names, Schema};
use crate::types::Type;
use crate::validators::validate;
use crate::value::{Cancelled, Value};
use crate::views;

/// What expressions of one schema may refer to: `self` and `oldSelf`.
#[derive(Clone, Debug)]
pub struct Environment {
    env: Env,
    decl: Arc<Decl>,
}

/// An expression that can be run.
#[derive(Debug)]
pub struct Program {
    node: Node,
    ty: Type,
    uses_old_self: bool,
    cost: Range,
}

/// What a run said, and what it cost.
#[derive(Clone, Debug)]
pub struct Outcome<'a> {
    /// A value, which may be an error; or why it ended before its time.
    pub result: Result<Value<'a>, Cancelled>,
    /// The cost in cel-go's units.
    pub cost: u64,
}

impl Environment {
    /// The environment of the rules of a schema of this type; `optional` makes `oldSelf` an optional value.
    pub fn new(decl: Arc<Decl>, optional: bool) -> Environment {
        let mut names = Names::new();
        let this = decl.named("selfType", &mut names);
        let old = if optional {
            Type::optional(this.clone())
        } else {
            this.clone()
        };
        Environment {
            env: Env {
                variables: BTreeMap::from([("self".to_owned(), this), ("oldSelf".to_owned(), old)]),
                names: Arc::new(names),
            },
            decl,
        }
    }

    /// The type and sizes that it was made of.
    pub fn decl(&self) -> &Decl {
        &self.decl
    }

    pub(crate) fn check(&self, text: &str) -> Result<Checked, String> {
        let checked = check(parse(text)?, &self.env)?;
        validate(&checked)?;
        Ok(checked)
    }

    /// Compiles an expression; what is wrong with it otherwise, as cel-go shows it.
    pub fn compile(&self, text: &str) -> Result<Program, String> {
        let checked = self.check(text)?;
        Program::estimated(&checked, &self.decl).map_err(|why| format!("program: {why}"))
    }
}

impl Program {
    /// A checked expression as a program, with what it can cost over data of a type.
    pub(crate) fn estimated(checked: &Checked, decl: &Decl) -> Result<Program, String> {
        Ok(Program {
            node: plan(checked)?,
            ty: checked.ty(&checked.expr).clone(),
            cost: estimate(checked, decl),
            uses_old_self: checked.references.iter().flatten().any(
                |reference| matches!(reference, Reference::Ident(name) if &**name == "oldSelf"),
            ),
        })
    }

    /// What it can cost, before any data is seen.
    pub fn cost(&self) -> Range {
        self.cost
    }

    /// The type of what it says.
    pub fn ty(&self) -> &Type {
        &self.ty
    }

    /// Does it look at the value before?
    pub fn uses_old_self(&self) -> bool {
        self.uses_old_self
    }

    /// Runs it on values that were looked up before.
    pub fn run<'a>(
        &self,
        this: Option<Value<'a>>,
        old: Option<Value<'a>>,
        limit: u64,
    ) -> Outcome<'a> {
        let context = Context::new(Variables { this, old }, limit);
        let result = context.run(&self.node);
        Outcome {
            result,
            cost: context.cost.get(),
        }
    }
}

/// JSON as the value that expressions see, by its schema.
pub fn value<'a>(json: &'a Json, schema: &'a Schema) -> Value<'a> {
    views::view(json, schema)
}
