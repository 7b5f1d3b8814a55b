//go:build tools

// Package etcd pins the program that tests run as the real thing; nothing is built from this file.
package etcd

import _ "go.etcd.io/etcd/server/v3"
