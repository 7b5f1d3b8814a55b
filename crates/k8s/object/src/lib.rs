//! One Kubernetes object: identity, selectors, apply order, normalisation.
