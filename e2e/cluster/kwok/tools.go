//go:build tools

// Package tools names kwok, which is built from this module though nothing in it imports it. It is a module of its own because it is of
// another version of Kubernetes' libraries than the cluster, and does not compile with that one's.
package tools

import _ "sigs.k8s.io/kwok/cmd/kwok"
