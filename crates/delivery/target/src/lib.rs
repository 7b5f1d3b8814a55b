//! Clusters and an App to who gets what.
//!
//! [`placements`] says which clusters an App goes to and which overlays apply there; [`TargetInput`] is everything that
//! can make one cluster's rendering differ from another's, so that clusters with the same input share one variant;
//! [`stage_of`] puts a cluster into a stage. Nothing here renders or acts.

mod expression;
mod input;
mod place;

pub use expression::{
    Expression, ExpressionError, collect, collect_text, substitute, substitute_at, substitute_text,
    substitute_values,
};
pub use input::{MissingValue, TargetInput, Uses, fact_key, target_input};
pub use place::{
    ClusterView, HUB, Placement, Placements, TargetError, Warning, effective_values, placements,
    stage_of,
};
