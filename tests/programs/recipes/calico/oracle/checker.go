package main

import (
	"slices"
	"strings"

	"github.com/projectcalico/calico/app-policy/checker"
	"github.com/projectcalico/calico/felix/proto"
	"github.com/projectcalico/calico/felix/rules"
	"github.com/projectcalico/calico/felix/types"
)

// check asks the checker that Calico uses itself for flow logs.
func (n *node) check(endpoint *proto.WorkloadEndpoint, direction rules.RuleDir, flow *flow) decision {
	found := decision{deny, "no trace"}
	for _, rule := range checker.Evaluate(direction, n.store, endpoint, flow) {
		if rule == nil {
			continue
		}
		name := strings.TrimPrefix(rule.Namespace+"/"+rule.Name, "/")
		found.By = place(rule.Tier, name, rule.Index)
		found.Verdict = deny
		if strings.EqualFold(rule.Action.String(), allow) {
			found.Verdict = allow
		}
	}
	return found
}

// blind names what the checker does not look at, among the rules of an endpoint: a rule like that
// is there, which does not mean that it is the cause of a difference.
func (n *node) blind(endpoint *proto.WorkloadEndpoint, flow *flow) []string {
	found := map[string]bool{}
	for _, tier := range endpoint.Tiers {
		found["a tier that does not exist"] = found["a tier that does not exist"] || tier.DefaultAction == ""
		for _, name := range slices.Concat(tier.IngressPolicies, tier.EgressPolicies) {
			policy := n.store.PolicyByID[types.PolicyID{Tier: tier.Name, Name: name}]
			for _, rule := range slices.Concat(policy.GetInboundRules(), policy.GetOutboundRules()) {
				for what, is := range map[string]bool{
					"named ports": len(rule.SrcNamedPortIpSetIds)+len(rule.DstNamedPortIpSetIds)+
						len(rule.NotSrcNamedPortIpSetIds)+len(rule.NotDstNamedPortIpSetIds) > 0,
					"types of ICMP":             rule.Icmp != nil || rule.NotIcmp != nil,
					"the family":                n.rendered(rule, flow) == nil,
					"ports of Services of SCTP": len(rule.DstIpPortSetIds) > 0 && flow.protocol == protocols["sctp"],
				} {
					found[what] = found[what] || is
				}
			}
		}
	}
	texts := []string{}
	for what, is := range found {
		if is {
			texts = append(texts, what)
		}
	}
	slices.Sort(texts)
	return texts
}
