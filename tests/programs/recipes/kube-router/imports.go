//go:build never

// Package imports keeps in go.mod and go.sum what the program needs that lies in kube-router itself.
package imports

import _ "github.com/cloudnativelabs/kube-router/v2/cmd/kube-router"
