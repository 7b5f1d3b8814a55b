//go:build tools

// Package helm pins the program that tests run as the real thing; nothing is built from this file.
package helm

import _ "helm.sh/helm/v4/cmd/helm"
