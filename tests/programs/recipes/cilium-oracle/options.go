package main

import (
	"fmt"

	"github.com/cilium/cilium/pkg/identity"
	"github.com/cilium/cilium/pkg/labels"
	"github.com/cilium/cilium/pkg/option"
	"github.com/cilium/cilium/pkg/policy"
	"github.com/cilium/cilium/pkg/policy/api"
)

// options are the agent's settings that change verdicts. Left out, each is the agent's default.
type options struct {
	Enforcement    string              `json:"enforcement"` // default, always, never
	ClusterName    string              `json:"clusterName"`
	CIDRMatchMode  []string            `json:"cidrMatchMode"`      // nodes: a CIDR selects nodes too
	NodeLabels     bool                `json:"nodeSelectorLabels"` // for fromNodes and toNodes
	AllowLocalhost string              `json:"allowLocalhost"`     // always, policy
	APIServers     []string            `json:"apiServers"`         // addresses of the API server
	Names          map[string][]string `json:"fqdns"`              // what the DNS proxy has seen
}

// apply makes the settings those of the process, because Cilium's code reads them from global
// variables. So one request is answered after the other.
func (o *options) apply() error {
	if o.Enforcement == "" {
		o.Enforcement = option.DefaultEnforcement
	}
	if o.ClusterName == "" {
		o.ClusterName = "default"
	}
	// The agent's own default is "auto", which is this in a Kubernetes cluster.
	if o.AllowLocalhost == "" {
		o.AllowLocalhost = option.AllowLocalhostAlways
	}
	switch o.Enforcement {
	case option.DefaultEnforcement, option.AlwaysEnforce, option.NeverEnforce:
	default:
		return fmt.Errorf("no enforcement mode: %q", o.Enforcement)
	}
	config := option.Config
	config.EnableIPv4, config.EnableIPv6, config.EnableSCTP = true, true, true
	config.ClusterName = o.ClusterName
	config.EnableNodeSelectorLabels = o.NodeLabels
	config.PolicyCIDRMatchMode = o.CIDRMatchMode
	config.UnsafeDaemonConfigOption.AllowLocalhost = o.AllowLocalhost
	policy.SetPolicyEnabled(o.Enforcement)
	// Without it the entity "cluster" selects nothing.
	api.InitEntities(o.ClusterName)
	// The address cache of an earlier request may have given more labels to this identity.
	identity.AddReservedIdentityWithLabels(identity.ReservedIdentityHost, labels.LabelHost)
	return nil
}
