//go:build tools

// Package fluxsource pins the program that we are measured beside; nothing is built from this file.
package fluxsource

import _ "github.com/fluxcd/source-controller"
