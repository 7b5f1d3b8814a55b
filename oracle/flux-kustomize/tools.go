//go:build tools

// Package fluxkustomize pins the program that we are measured beside; nothing is built from this file.
package fluxkustomize

import _ "github.com/fluxcd/kustomize-controller"
