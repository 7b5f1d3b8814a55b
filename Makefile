# Everything here is a thin name for a cargo command; see docs/development.md.

CARGO ?= cargo
TARGET := $(or $(CARGO_TARGET_DIR),target)
# kubectl, where scripts/prepare.sh had to build it
export PATH := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/roadstead/oracle/bin:$(PATH)

.DEFAULT_GOAL := help
.PHONY: help demo test oracle lint clippy fmt generate image e2e bench-rivals fuzz clean

help: ## Say what there is
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

demo: ## Show the whole road on this machine: a hub, 50 simulated clusters, four commits
	@scripts/prepare.sh demo
	$(CARGO) build --package roadstead
	$(TARGET)/debug/roadstead demo $(ARGS)

test: ## Run every test; the last line sums them up
	@scripts/prepare.sh test
	@$(CARGO) xtask test $(ARGS)

oracle: ## Build the real Kubernetes that tests compare us with (minutes, once)
	$(CARGO) xtask oracle build $(ARGS)

lint: ## Check format, lints, structure and generated files
	@scripts/prepare.sh lint
	$(CARGO) fmt --all -- --check
	@$(MAKE) --no-print-directory clippy
	$(CARGO) xtask structure
	$(CARGO) xtask proto --check
	$(CARGO) xtask nouns --check
	$(CARGO) xtask schemas --check
	$(CARGO) xtask manifests --check

# twice, since tests may read files and clocks where what they test may not
clippy: ## Check lints only
	$(CARGO) clippy --workspace --lib --bins -- -D warnings
	$(CARGO) clippy --workspace --all-targets -- -D warnings -A clippy::disallowed_methods

fmt: ## Format the code
	$(CARGO) fmt --all

generate: ## Write the generated files again
	$(CARGO) xtask proto
	$(CARGO) xtask nouns
	$(CARGO) xtask manifests

bench-rivals: ## Measure Flux, Argo CD's engine and the agent beside each other on real API servers
	$(CARGO) xtask oracle build flux-source flux-kustomize gitops-engine
	$(CARGO) build --release --package roadstead
	$(CARGO) xtask bench-rivals $(ARGS)

fuzz: ## Run each fuzz target for ten minutes (nightly Rust); ARGS names some of them
	@scripts/fuzz.sh $(ARGS)

image: ## Build the image, the static binaries and their lists of parts into target/image
	@scripts/prepare.sh image
	$(CARGO) xtask image $(ARGS)

e2e: ## Install the hub in a real cluster, join two more, and go through the demo's story
	@scripts/prepare.sh image-here
	@scripts/prepare.sh node
	$(CARGO) xtask oracle build etcd kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy kubectl helm kwok images
	$(CARGO) xtask e2e $(ARGS)

clean: ## Remove what was built
	$(CARGO) clean
