//go:build tools

// Package tools names crane, which is built from this module though nothing in it imports it. It is a module of its own
// because its requirements would move versions that Kubernetes has settled.
package tools

import _ "github.com/google/go-containerregistry/cmd/crane"
