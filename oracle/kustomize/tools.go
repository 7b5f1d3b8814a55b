//go:build tools

// Package kustomize pins the program that tests run as the real thing; nothing is built from this file.
package kustomize

import _ "sigs.k8s.io/kustomize/kustomize/v5"
