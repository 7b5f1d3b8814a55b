//! `cargo xtask conformance cel`: expressions beside Kubernetes' own code, recorded ones and random ones.

use super::beside::Beside;

pub(super) const CEL: Beside = Beside {
    name: "cel",
    package: "k8s-cel",
    cases: "K8S_CEL_CASES",
    seed: "K8S_CEL_SEED",
    at_once: 20_000,
    what: "random expressions",
    all: "random expressions",
};
