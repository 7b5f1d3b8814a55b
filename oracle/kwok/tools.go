//go:build tools

// Package kwok pins the program that tests run as the real thing; nothing is built from this file.
package kwok

import _ "sigs.k8s.io/kwok/cmd/kwok"
