//go:build tools

// Package e2esuite pins Kubernetes' own end-to-end suite; its test program is built with go test -c, nothing from this file.
package e2esuite

import (
	_ "k8s.io/kubernetes/test/e2e"
)
