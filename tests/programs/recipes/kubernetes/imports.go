//go:build never

// Package imports keeps in go.mod and go.sum what the programs need that lie in Kubernetes itself.
package imports

import (
	_ "k8s.io/kubernetes/test/e2e"
	_ "k8s.io/kubernetes/test/images/agnhost"
)
