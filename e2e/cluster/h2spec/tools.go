//go:build tools

// Package tools names h2spec, which is built from this module though nothing in it imports it. It is a module of its own
// because its requirements would move versions that Kubernetes has settled.
package tools

import _ "github.com/summerwind/h2spec/cmd/h2spec"
