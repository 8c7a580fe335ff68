package main

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	api "github.com/projectcalico/api/pkg/apis/projectcalico/v3"

	"github.com/projectcalico/calico/felix/proto"
	"github.com/projectcalico/calico/felix/rules"
	"github.com/projectcalico/calico/felix/types"
)

// The actions of rules, as Felix has them.
const (
	logs = "log"
	pass = "next-tier"
)

// decide evaluates the rules that Felix gives to a dataplane, in the order in which its chains have
// them: tiers, in each the policies, then the profiles. A tier in which an endpoint has no policy is
// no chain; one in which no rule matches ends in its default.
func (n *node) decide(endpoint *proto.WorkloadEndpoint, direction rules.RuleDir, flow *flow) decision {
	for _, tier := range endpoint.Tiers {
		policies := tier.IngressPolicies
		if direction == rules.RuleDirEgress {
			policies = tier.EgressPolicies
		}
		action, by := n.decideTier(tier, policies, direction, flow)
		if action != pass {
			return decision{action, by}
		}
	}
	for _, name := range endpoint.ProfileIds {
		profile := n.store.ProfileByID[types.ProfileID{Name: name}]
		action, index := n.firstMatch(profile.GetInboundRules(), profile.GetOutboundRules(), direction, flow)
		if action == allow {
			return decision{allow, place("profile", name, index)}
		} else if action != "" {
			return decision{deny, place("profile", name, index)}
		}
	}
	return decision{deny, "end of profiles"}
}

func (n *node) decideTier(
	tier *proto.TierInfo, policies []string, direction rules.RuleDir, flow *flow,
) (action, by string) {
	for _, name := range policies {
		policy := n.store.PolicyByID[types.PolicyID{Tier: tier.Name, Name: name}]
		action, index := n.firstMatch(policy.GetInboundRules(), policy.GetOutboundRules(), direction, flow)
		if action != "" {
			return action, place(tier.Name, name, index)
		}
	}
	if len(policies) == 0 || tier.DefaultAction == string(api.Pass) {
		return pass, ""
	}
	return deny, "end of tier " + tier.Name
}

// place says which rule decided; the checker says -1 for the end of a tier.
func place(tier, policy string, index int) string {
	return fmt.Sprintf("%s %s rule %d", tier, policy, index)
}

// firstMatch is the action of the first rule that decides about a flow, and its index; empty where
// none does.
func (n *node) firstMatch(inbound, outbound []*proto.Rule, direction rules.RuleDir, flow *flow) (string, int) {
	list := inbound
	if direction == rules.RuleDirEgress {
		list = outbound
	}
	for index, rule := range list {
		if rule.Action != logs && n.matches(rule, flow) {
			return rule.Action, index
		}
	}
	return "", -1
}

type ruleOfFamily struct {
	rule   *proto.Rule
	family uint8
}

// rendered is a rule as it is written into the chains of a flow's family; nil: it is not.
func (n *node) rendered(rule *proto.Rule, flow *flow) *proto.Rule {
	key := ruleOfFamily{rule, flow.family()}
	found, known := n.inRules[key]
	if !known { // copies the rule, which takes time
		found = rules.FilterRuleToIPVersion(key.family, rule)
		n.inRules[key] = found
	}
	return found
}

func (n *node) matches(written *proto.Rule, flow *flow) bool {
	rule := n.rendered(written, flow)
	return rule != nil &&
		(rule.Protocol == nil || isProtocol(rule.Protocol, flow)) &&
		(rule.NotProtocol == nil || !isProtocol(rule.NotProtocol, flow)) &&
		matchesICMP(rule, flow) &&
		n.matchesEnd(flow, &criteria{
			address: flow.source, port: sourcePort,
			nets: rule.SrcNet, notNets: rule.NotSrcNet,
			sets: rule.SrcIpSetIds, notSets: rule.NotSrcIpSetIds,
			ports: rule.SrcPorts, notPorts: rule.NotSrcPorts,
			named: rule.SrcNamedPortIpSetIds, notNamed: rule.NotSrcNamedPortIpSetIds,
		}) &&
		n.matchesEnd(flow, &criteria{
			address: flow.destination, port: flow.port,
			nets: rule.DstNet, notNets: rule.NotDstNet,
			sets: rule.DstIpSetIds, notSets: rule.NotDstIpSetIds,
			ports: rule.DstPorts, notPorts: rule.NotDstPorts,
			named: rule.DstNamedPortIpSetIds, notNamed: rule.NotDstNamedPortIpSetIds,
			services: rule.DstIpPortSetIds,
		})
}

func isProtocol(wanted *proto.Protocol, flow *flow) bool {
	if name := wanted.GetName(); name != "" {
		return protocols[strings.ToLower(name)] == flow.protocol
	}
	return int(wanted.GetNumber()) == flow.protocol
}

func matchesICMP(rule *proto.Rule, flow *flow) bool {
	switch wanted := rule.Icmp.(type) {
	case *proto.Rule_IcmpType:
		if wanted.IcmpType != flow.icmpType {
			return false
		}
	case *proto.Rule_IcmpTypeCode:
		if wanted.IcmpTypeCode.Type != flow.icmpType || wanted.IcmpTypeCode.Code != flow.icmpCode {
			return false
		}
	}
	switch other := rule.NotIcmp.(type) {
	case *proto.Rule_NotIcmpType:
		return other.NotIcmpType != flow.icmpType
	case *proto.Rule_NotIcmpTypeCode:
		return other.NotIcmpTypeCode.Type != flow.icmpType || other.NotIcmpTypeCode.Code != flow.icmpCode
	}
	return true
}

// criteria are what a rule asks of one end; what is empty is not asked.
type criteria struct {
	address       netip.Addr
	port          int
	nets, notNets []string // one of them; none of them
	sets, notSets []string // all of them; none of them
	ports         []*proto.PortRange
	notPorts      []*proto.PortRange
	named         []string // one of them or of ports
	notNamed      []string
	services      []string // all of them
}

func (n *node) matchesEnd(flow *flow, asked *criteria) bool {
	inNet := func(text string) bool {
		prefix, err := netip.ParsePrefix(text)
		return err == nil && prefix.Contains(asked.address)
	}
	inSet := func(id string) bool { return n.setHas(id, asked.address.String()) }
	member := fmt.Sprintf("%s,%s:%d", asked.address, transport[flow.protocol], asked.port)
	inPortSet := func(id string) bool { return n.setHas(id, member) }
	inRange := func(ports *proto.PortRange) bool {
		return int(ports.First) <= asked.port && asked.port <= int(ports.Last)
	}
	anyPort := len(asked.ports)+len(asked.named) == 0
	return (len(asked.nets) == 0 || slices.ContainsFunc(asked.nets, inNet)) &&
		!slices.ContainsFunc(asked.notNets, inNet) &&
		(anyPort || slices.ContainsFunc(asked.ports, inRange) || slices.ContainsFunc(asked.named, inPortSet)) &&
		!slices.ContainsFunc(asked.notPorts, inRange) &&
		!slices.ContainsFunc(asked.notNamed, inPortSet) &&
		inAll(asked.sets, inSet) &&
		!slices.ContainsFunc(asked.notSets, inSet) &&
		inAll(asked.services, inPortSet)
}

// How the members of sets of ports are written.
var transport = map[int]string{6: "tcp", 17: "udp", 132: "sctp"}

func (n *node) setHas(id, member string) bool {
	set := n.store.IPSetByID[id]
	return set != nil && set.Contains(member)
}

func inAll(sets []string, inside func(string) bool) bool {
	return !slices.ContainsFunc(sets, func(id string) bool { return !inside(id) })
}
