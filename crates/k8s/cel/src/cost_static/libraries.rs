//! What the functions of libraries can cost.

use super::{Arg, Coster, Estimate, ONE, PATTERN, Range, TEXT, UNKNOWN, ZERO, only, sized};
use crate::ast::{Kind, Literal};
use crate::cost_actual::costs_one;
use crate::types::Type;

impl Coster<'_> {
    /// Lists and sets, by overload.
    pub(super) fn lists(
        &self,
        overload: &str,
        target: Option<&Arg<'_>>,
        args: &[Arg<'_>],
    ) -> Option<Estimate> {
        let allocating = |by: f64, size: Range| sized(size.by(by).add(Range::fixed(11)), size);
        let int = |arg: &Arg<'_>, otherwise: u64| match &arg.expr.kind {
            Kind::Literal(Literal::Int(v)) => u64::try_from(*v).unwrap_or_default(),
            _ => otherwise,
        };
        let sorted = |size: Range, of: &str| {
            let by = if matches!(of, "string" | "bytes") {
                2.1
            } else {
                2.0
            };
            allocating(by, size.times(size))
        };
        match (overload, target, args) {
            (
                "list_sets_contains_list"
                | "list_sets_intersects_list"
                | "list_sets_equivalent_list",
                _,
                [a, b],
            ) => {
                let by = if overload == "list_sets_equivalent_list" {
                    2.0
                } else {
                    1.0
                };
                only(self.estimated(a).times(self.estimated(b)).by(by).add(ONE))
            }
            ("list_slice", Some(target), [start, end]) => {
                let size = self.estimated(target);
                let n = int(end, size.max).wrapping_sub(int(start, 0));
                allocating(1.0, Range::fixed(n))
            }
            ("lists_range", None, [n]) => allocating(1.0, Range::fixed(int(n, u64::MAX))),
            ("list_reverse", Some(target), []) => allocating(1.0, self.estimated(target)),
            ("list_flatten", Some(target), []) => allocating(1.0, self.estimated(target)),
            #[expect(clippy::cast_precision_loss, reason = "costs are rounded so")]
            ("list_flatten_int", Some(target), [depth]) => {
                allocating(int(depth, u64::MAX) as f64, self.estimated(target))
            }
            ("list_distinct", Some(target), []) => {
                let size = self.estimated(target);
                allocating(2.0, size.times(size))
            }
            (id, Some(target), []) => {
                let of = id.strip_prefix("list_")?.strip_suffix("_sort")?;
                sorted(self.estimated(target), of)
            }
            (id, Some(_), [keys]) => {
                let of = id
                    .strip_prefix("list_")?
                    .strip_suffix("_sortByAssociatedKeys")?;
                sorted(self.estimated(keys), of)
            }
            _ => None,
        }
    }

    /// The element of a list: its type, and its size where the schema tells.
    fn element(&self, of: &Arg<'_>) -> Option<(Type, Range)> {
        let ty = (*self.checked.ty(of.expr).parameters().first()?).clone();
        let size = if of.path.is_empty() {
            None
        } else {
            let mut path = of.path.clone();
            path.push("@items".into());
            self.schema_size(&path)
        };
        Some((ty, size.unwrap_or(UNKNOWN)))
    }

    /// The Kubernetes libraries, by function.
    pub(super) fn kubernetes(
        &self,
        function: &str,
        overload: &str,
        target: Option<&Arg<'_>>,
        args: &[Arg<'_>],
    ) -> Option<Estimate> {
        let arg = |i: usize| args.get(i).map(|a| self.estimated(a));
        let of = target.map(|t| self.estimated(t));
        match function {
            "check" => only(Range::fixed(350_000)),
            _ if costs_one(function) => only(ONE),
            "isSorted" | "sum" | "max" | "min" | "indexOf" | "lastIndexOf" => {
                let target = target?;
                match self.element(target) {
                    Some((ty, size)) => {
                        let mut each = ONE;
                        if matches!(ty, Type::String | Type::Bytes) {
                            each = each.add(size.by(TEXT));
                        }
                        only(of?.times(each))
                    }
                    None => only(of?.by(TEXT)),
                }
            }
            "url" if args.len() == 1 => sized(arg(0)?.by(TEXT), arg(0)?),
            "lowerAscii" | "upperAscii" | "substring" | "trim" => sized(of?.by(TEXT), of?),
            "replace" if args.len() >= 2 => {
                sized(of?.by(2.0 * TEXT), replaced(of?, arg(0)?, arg(1)?))
            }
            "split" => {
                let mut max = of?.max;
                if let Some(Kind::Literal(Literal::Int(v))) = args.get(1).map(|a| &a.expr.kind) {
                    max = v.cast_unsigned();
                }
                sized(of?.by(2.0 * TEXT), Range { min: 0, max })
            }
            "join" => {
                let count = of?;
                let mut size = match self.element(target?) {
                    Some((_, each)) => count.times(each),
                    None => ZERO,
                };
                if let Some(separator) = arg(0) {
                    size = size.add(separator.times(Range {
                        min: count.min.saturating_sub(1),
                        max: count.max.saturating_sub(1),
                    }));
                }
                sized(size.by(TEXT), size)
            }
            "find" | "findAll" if !args.is_empty() => {
                let text = of?.add(ONE).by(TEXT);
                sized(
                    text.times(arg(0)?.by(PATTERN)),
                    Range {
                        min: 0,
                        max: of?.max,
                    },
                )
            }
            "ip" if overload == "cidr_ip" => only(ONE),
            "cidr" | "isIP" | "isCIDR" | "ip" | "quantity" | "isQuantity" | "semver"
            | "isSemver" => only(arg(0)?.by(TEXT)),
            "ip.isCanonical" => only(arg(0)?.by(2.0 * TEXT)),
            "containsIP" | "containsCIDR" => {
                let bytes = Range { min: 4, max: 16 };
                let mut cost = bytes.add(bytes).by(TEXT);
                if function == "containsCIDR" {
                    cost = cost.add(bytes.by(TEXT)).add(ONE);
                }
                if overload.ends_with("_string") {
                    cost = cost.add(arg(0)?.by(TEXT));
                }
                only(cost)
            }
            "validate" => only(arg(0)?.by(TEXT).by(128.0 * PATTERN)),
            "_==_" if args.len() == 2 => self.equality(args),
            _ => None,
        }
    }

    fn equality(&self, args: &[Arg<'_>]) -> Option<Estimate> {
        let (a, b) = (self.checked.ty(args[0].expr), self.checked.ty(args[1].expr));
        if a.runtime_name() != b.runtime_name() {
            return None;
        }
        match (a, a.runtime_name()) {
            (Type::Opaque(..), "net.IP" | "net.CIDR")
            | (Type::Struct(_), "kubernetes.Quantity" | "kubernetes.Semver") => only(ONE),
            (Type::Struct(_), "kubernetes.NamedFormat") => only(Range { min: 1, max: 64 }.by(TEXT)),
            (Type::Struct(_), "kubernetes.URL") => {
                let max = args[1].size.map_or(1, |size| size.max);
                only(Range { min: 1, max }.by(TEXT))
            }
            _ => None,
        }
    }
}

/// The size of text after a replacement.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "costs are rounded so"
)]
fn replaced(text: Range, old: Range, new: Range) -> Range {
    let (mut count, mut kept) = (ZERO, ZERO);
    if old.min == 0 {
        count.max = text.max.saturating_add(1);
        kept.max = text.max;
    } else if new.max <= old.min {
        kept.max = text.max;
    } else {
        count.max = (text.max as f64 / old.min as f64).ceil() as u64;
    }
    if old.max == 0 {
        count.min = text.min.saturating_add(1);
        kept.min = text.min;
    } else if old.max <= new.min {
        kept.min = text.min;
    } else {
        count.min = (text.min as f64 / old.max as f64).ceil() as u64;
    }
    count.times(new).add(kept)
}
