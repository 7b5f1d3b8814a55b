//go:build tools

// Package helm3 pins the program that tests run as the real thing; nothing is built from this file.
package helm3

import _ "helm.sh/helm/v3/cmd/helm"
