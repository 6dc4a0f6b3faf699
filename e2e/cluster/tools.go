//go:build tools

// Package tools names the programs that are built from this module though nothing in it imports them.
package tools

import (
	_ "github.com/coredns/coredns"
	_ "helm.sh/helm/v3/cmd/helm"
)
