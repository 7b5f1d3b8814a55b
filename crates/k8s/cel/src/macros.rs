//! Macros: `has`, `all`, `exists`, `map`, `filter` and their kin become plain expressions when they are read.

use std::sync::Arc;

use crate::ast::{ACCU, Comprehension, Expr, Kind, Literal};
use crate::parser::Parser;

type Untouched = (Option<Expr>, Vec<Expr>);

/// What is wrong with a macro's arguments, and where.
type Wrong = (u32, String);

struct Maker<'p, 's> {
    parser: &'p mut Parser<'s>,
    offset: usize,
}

/// Expands a macro; gives the parts back where there is none of that name and shape.
pub(crate) fn expand(
    parser: &mut Parser<'_>,
    id: u32,
    name: &str,
    target: Option<Expr>,
    args: Vec<Expr>,
) -> Result<Expr, Untouched> {
    let offset = parser.offset(id);
    let mut maker = Maker { parser, offset };
    let made = match (name, target, args.len()) {
        ("has", None, 1) => maker.has(args),
        ("all" | "exists" | "exists_one", Some(target), 2) => maker
            .one_var(target, args)
            .and_then(|(range, var, body)| maker.quantifier(name, range, var, None, body)),
        ("all" | "exists" | "exists_one" | "existsOne", Some(target), 3) => maker
            .two_vars(target, args)
            .and_then(|(range, var, var2, mut rest)| {
                let body = rest.remove(0);
                maker.quantifier(name, range, var, Some(var2), body)
            }),
        ("map", Some(target), 2 | 3) => maker.map(target, args),
        ("filter", Some(target), 2) => maker.filter(target, args),
        ("transformList" | "transformMap" | "transformMapEntry", Some(target), 3 | 4) => {
            maker.transform(name, target, args)
        }
        ("optMap" | "optFlatMap", Some(target), 2) => maker.optional(name, target, args),
        ("sortBy", Some(target), 2) => maker.sort_by(target, args),
        (_, target, _) => return Err((target, args)),
    };
    Ok(made.unwrap_or_else(|(at, message)| {
        let offset = parser.offset(at);
        parser.wrong(offset, &message)
    }))
}

impl Maker<'_, '_> {
    fn make(&mut self, kind: Kind) -> Expr {
        Expr {
            id: self.parser.id_at(self.offset),
            kind,
        }
    }

    fn literal(&mut self, literal: Literal) -> Expr {
        self.make(Kind::Literal(literal))
    }

    fn ident(&mut self, name: &str) -> Expr {
        self.make(Kind::Ident(name.into()))
    }

    fn accu(&mut self) -> Expr {
        self.ident(ACCU)
    }

    fn call(&mut self, function: &str, args: Vec<Expr>) -> Expr {
        self.make(Kind::Call {
            function: function.into(),
            target: None,
            args,
        })
    }

    fn member(&mut self, function: &str, target: Expr, args: Vec<Expr>) -> Expr {
        self.make(Kind::Call {
            function: function.into(),
            target: Some(Box::new(target)),
            args,
        })
    }

    fn list(&mut self, elements: Vec<Expr>) -> Expr {
        let optionals = vec![false; elements.len()];
        self.make(Kind::List {
            elements,
            optionals,
        })
    }

    fn fold(&mut self, comprehension: Comprehension) -> Expr {
        self.make(Kind::Comprehension(Box::new(comprehension)))
    }

    fn has(&mut self, mut args: Vec<Expr>) -> Result<Expr, Wrong> {
        let arg = args.remove(0);
        match arg.kind {
            Kind::Select { operand, field, .. } => Ok(self.make(Kind::Select {
                operand,
                field,
                test_only: true,
            })),
            _ => Err((arg.id, "invalid argument to has() macro".into())),
        }
    }

    fn variable(arg: &Expr, otherwise: &str) -> Result<Arc<str>, Wrong> {
        let Kind::Ident(name) = &arg.kind else {
            return Err((arg.id, otherwise.into()));
        };
        Ok(name.clone())
    }

    fn free(name: &str, id: u32) -> Result<(), Wrong> {
        if name == ACCU || name == "__result__" {
            return Err((
                id,
                "iteration variable overwrites accumulator variable".into(),
            ));
        }
        Ok(())
    }

    fn one_var(
        &mut self,
        target: Expr,
        mut args: Vec<Expr>,
    ) -> Result<(Expr, Arc<str>, Expr), Wrong> {
        let var = Self::variable(&args[0], "argument must be a simple name")?;
        Self::free(&var, args[0].id)?;
        Ok((target, var, args.remove(1)))
    }

    fn two_vars(
        &mut self,
        target: Expr,
        mut args: Vec<Expr>,
    ) -> Result<(Expr, Arc<str>, Arc<str>, Vec<Expr>), Wrong> {
        let var = Self::variable(&args[0], "argument must be a simple name")?;
        let var2 = Self::variable(&args[1], "argument must be a simple name")?;
        if var == var2 {
            return Err((args[1].id, format!("duplicate variable name: {var}")));
        }
        Self::free(&var, args[0].id)?;
        Self::free(&var2, args[1].id)?;
        Ok((target, var, var2, args.split_off(2)))
    }

    fn quantifier(
        &mut self,
        name: &str,
        range: Expr,
        var: Arc<str>,
        var2: Option<Arc<str>>,
        body: Expr,
    ) -> Result<Expr, Wrong> {
        let (init, condition, step, result);
        match name {
            "all" => {
                init = self.literal(Literal::Bool(true));
                let accu = self.accu();
                condition = self.call("@not_strictly_false", vec![accu]);
                let accu = self.accu();
                step = self.call("_&&_", vec![accu, body]);
                result = self.accu();
            }
            "exists" => {
                init = self.literal(Literal::Bool(false));
                let accu = self.accu();
                let not = self.call("!_", vec![accu]);
                condition = self.call("@not_strictly_false", vec![not]);
                let accu = self.accu();
                step = self.call("_||_", vec![accu, body]);
                result = self.accu();
            }
            _ => {
                init = self.literal(Literal::Int(0));
                condition = self.literal(Literal::Bool(true));
                let (accu, one) = (self.accu(), self.literal(Literal::Int(1)));
                let more = self.call("_+_", vec![accu, one]);
                let accu = self.accu();
                step = self.call("_?_:_", vec![body, more, accu]);
                let (accu, one) = (self.accu(), self.literal(Literal::Int(1)));
                result = self.call("_==_", vec![accu, one]);
            }
        }
        Ok(self.fold(Comprehension {
            range,
            var,
            var2,
            accu: ACCU.into(),
            init,
            condition,
            step,
            result,
        }))
    }

    fn collect(
        &mut self,
        range: Expr,
        var: Arc<str>,
        var2: Option<Arc<str>>,
        init: Expr,
        mut step: Expr,
        filter: Option<Expr>,
    ) -> Expr {
        let condition = self.literal(Literal::Bool(true));
        if let Some(filter) = filter {
            let accu = self.accu();
            step = self.call("_?_:_", vec![filter, step, accu]);
        }
        let result = self.accu();
        self.fold(Comprehension {
            range,
            var,
            var2,
            accu: ACCU.into(),
            init,
            condition,
            step,
            result,
        })
    }

    fn append(&mut self, element: Expr) -> Expr {
        let (accu, list) = (self.accu(), self.list(vec![element]));
        self.call("_+_", vec![accu, list])
    }

    fn map(&mut self, target: Expr, mut args: Vec<Expr>) -> Result<Expr, Wrong> {
        let var = Self::variable(&args[0], "argument is not an identifier")?;
        Self::free(&var, args[0].id)?;
        let filter = (args.len() == 3).then(|| args.remove(1));
        let body = args.remove(1);
        let init = self.list(Vec::new());
        let step = self.append(body);
        Ok(self.collect(target, var, None, init, step, filter))
    }

    fn filter(&mut self, target: Expr, mut args: Vec<Expr>) -> Result<Expr, Wrong> {
        let var = Self::variable(&args[0], "argument is not an identifier")?;
        Self::free(&var, args[0].id)?;
        let filter = args.remove(1);
        let element = args.remove(0);
        let init = self.list(Vec::new());
        let step = self.append(element);
        Ok(self.collect(target, var, None, init, step, Some(filter)))
    }

    fn transform(&mut self, name: &str, target: Expr, args: Vec<Expr>) -> Result<Expr, Wrong> {
        let (range, var, var2, mut rest) = self.two_vars(target, args)?;
        let filter = (rest.len() == 2).then(|| rest.remove(0));
        let body = rest.remove(0);
        let (init, step);
        if name == "transformList" {
            init = self.list(Vec::new());
            step = self.append(body);
        } else {
            init = self.make(Kind::Map(Vec::new()));
            let mut args = vec![self.accu()];
            if name == "transformMap" {
                args.push(self.ident(&var));
            }
            args.push(body);
            step = self.call("cel.@mapInsert", args);
        }
        Ok(self.collect(range, var, Some(var2), init, step, filter))
    }

    fn bind(&mut self, name: Arc<str>, init: Expr, body: Expr) -> Expr {
        let range = self.list(Vec::new());
        let condition = self.literal(Literal::Bool(false));
        let step = self.ident(&name);
        self.fold(Comprehension {
            range,
            var: "#unused".into(),
            var2: None,
            accu: name,
            init,
            condition,
            step,
            result: body,
        })
    }

    fn optional(&mut self, name: &str, target: Expr, mut args: Vec<Expr>) -> Result<Expr, Wrong> {
        let message = format!("{name}() variable name must be a simple identifier");
        let var = Self::variable(&args[0], &message)?;
        let body = args.remove(1);
        let again = self.copy(&target);
        let has = self.member("hasValue", target, Vec::new());
        let value = self.member("value", again, Vec::new());
        let mut bound = self.bind(var, value, body);
        if name == "optMap" {
            bound = self.call("optional.of", vec![bound]);
        }
        let none = self.call("optional.none", Vec::new());
        Ok(self.call("_?_:_", vec![has, bound, none]))
    }

    fn sort_by(&mut self, target: Expr, args: Vec<Expr>) -> Result<Expr, Wrong> {
        const INPUT: &str = "@__sortBy_input__";
        if !matches!(
            target.kind,
            Kind::List { .. }
                | Kind::Select { .. }
                | Kind::Ident(_)
                | Kind::Comprehension(_)
                | Kind::Call { .. }
        ) {
            return Err((
                target.id,
                "sortBy can only be applied to a list, identifier, comprehension, call or select expression"
                    .into(),
            ));
        }
        let input = self.ident(INPUT);
        let keys = self.map(input, args)?;
        let input = self.ident(INPUT);
        let sorted = self.member("@sortByAssociatedKeys", input, vec![keys]);
        Ok(self.bind(INPUT.into(), target, sorted))
    }

    /// The same expression under numbers of its own.
    fn copy(&mut self, expr: &Expr) -> Expr {
        let mut copy = expr.clone();
        self.renumber(&mut copy);
        copy
    }

    fn renumber(&mut self, expr: &mut Expr) {
        let offset = self.parser.offset(expr.id);
        expr.id = self.parser.id_at(offset);
        match &mut expr.kind {
            Kind::Unspecified | Kind::Literal(_) | Kind::Ident(_) => {}
            Kind::Select { operand, .. } => self.renumber(operand),
            Kind::Call { target, args, .. } => {
                args.iter_mut().for_each(|arg| self.renumber(arg));
                if let Some(target) = target {
                    self.renumber(target);
                }
            }
            Kind::List { elements, .. } => elements.iter_mut().for_each(|e| self.renumber(e)),
            Kind::Map(entries) => entries.iter_mut().for_each(|e| {
                self.renumber(&mut e.key);
                self.renumber(&mut e.value);
            }),
            Kind::Struct { fields, .. } => {
                fields.iter_mut().for_each(|f| self.renumber(&mut f.value));
            }
            Kind::Comprehension(c) => {
                self.renumber(&mut c.range);
                self.renumber(&mut c.init);
                self.renumber(&mut c.condition);
                self.renumber(&mut c.step);
                self.renumber(&mut c.result);
            }
        }
    }
}
