//go:build never

// Package imports keeps in go.mod and go.sum what the conformance tests need.
package imports

import (
	_ "sigs.k8s.io/network-policy-api/conformance"
)
