package main

import (
	"slices"

	"github.com/projectcalico/calico/app-policy/policystore"
	"github.com/projectcalico/calico/felix/calc"
	"github.com/projectcalico/calico/felix/config"
	"github.com/projectcalico/calico/felix/dataplane/external"
	"github.com/projectcalico/calico/felix/proto"
	bapi "github.com/projectcalico/calico/libcalico-go/lib/backend/api"
	"github.com/projectcalico/calico/libcalico-go/lib/backend/model"
)

// A node has what Felix on one node would send to its dataplane: endpoints of pods, policies,
// profiles, and the sets of addresses that rules refer to.
type node struct {
	name    string
	store   *policystore.PolicyStore
	inRules map[ruleOfFamily]*proto.Rule // rules as they are rendered
}

// compute runs Felix's calculation graph over everything that its syncer would report.
func compute(host string, updates []bapi.Update) *node {
	found := &node{host, policystore.NewPolicyStore(), map[ruleOfFamily]*proto.Rule{}}
	settings := config.New()
	settings.FelixHostname = host
	sequencer := calc.NewEventSequencer(settings)
	sequencer.Callback = func(message any) {
		// What has no envelope is nothing that the store keeps.
		if envelope, err := extdataplane.WrapPayloadWithEnvelope(message, 0); err == nil {
			found.store.ProcessUpdate("per-host-policies", envelope, true)
		}
	}
	graph := calc.NewCalculationGraph(sequencer, nil, settings, func() {})
	filter := calc.NewValidationFilter(graph, settings)
	filter.OnStatusUpdated(bapi.ResyncInProgress)
	filter.OnUpdates(updates)
	filter.OnStatusUpdated(bapi.InSync)
	graph.Flush()
	sequencer.Flush()
	return found
}

// enforced is an endpoint without its staged policies, which a dataplane leaves out. (The checker
// would take one that it finds for an enforced one, and goes wrong on one that it does not find.)
func enforced(endpoint *proto.WorkloadEndpoint) *proto.WorkloadEndpoint {
	real := func(policies []string) []string {
		return slices.DeleteFunc(slices.Clone(policies), model.PolicyIsStaged)
	}
	kept := &proto.WorkloadEndpoint{
		ProfileIds: endpoint.ProfileIds,
		Ipv4Nets:   endpoint.Ipv4Nets,
		Ipv6Nets:   endpoint.Ipv6Nets,
	}
	for _, tier := range endpoint.Tiers {
		kept.Tiers = append(kept.Tiers, &proto.TierInfo{
			Name:            tier.Name,
			DefaultAction:   tier.DefaultAction,
			IngressPolicies: real(tier.IngressPolicies),
			EgressPolicies:  real(tier.EgressPolicies),
		})
	}
	return kept
}
