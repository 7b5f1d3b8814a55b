//! `cargo xtask conformance apply`: server-side apply and the patches beside Kubernetes' own code, on random cases.

use super::beside::Beside;

pub(super) const APPLY: Beside = Beside {
    name: "apply",
    package: "k8s-apply",
    cases: "K8S_APPLY_CASES",
    seed: "K8S_APPLY_SEED",
    at_once: 8000,
    what: "steps of histories, and patches, of each kind",
    all: "cases of each kind",
};
