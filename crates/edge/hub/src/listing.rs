//! Pages of what is made up on the spot.

use k8s_apiserver::{ListOptions, VirtualList};
use serde_json::Value;

/// Where an item stands in a list: by namespace, then by name.
pub(crate) fn place(item: &Value) -> String {
    format!("{}/{}", k8s_object::namespace(item), k8s_object::name(item))
}

/// Takes the page that was asked for out of all items.
pub(crate) fn page(
    mut items: Vec<Value>,
    options: &ListOptions,
    resource_version: String,
) -> VirtualList {
    let after = options.continue_token.as_str();
    items.retain(|item| options.selector.matches(item));
    items.sort_by_cached_key(place);
    items.retain(|item| place(item).as_str() > after);
    let left = match options.limit {
        0 => 0,
        limit => items.len().saturating_sub(limit),
    };
    if options.limit > 0 {
        items.truncate(options.limit);
    }
    let last = items.last().filter(|_| left > 0);
    VirtualList {
        continue_token: last.map(place).unwrap_or_default(),
        items,
        resource_version,
        remaining: (left > 0).then_some(left),
    }
}
