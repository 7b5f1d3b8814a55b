//go:build tools

// Package gitopsengine pins the program that we are measured beside; nothing is built from this file.
package gitopsengine

import _ "github.com/argoproj/gitops-engine/agent"
