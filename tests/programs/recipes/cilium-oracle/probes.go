package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/cilium/cilium/pkg/endpoint/regeneration"
	"github.com/cilium/cilium/pkg/identity"
	ciliumio "github.com/cilium/cilium/pkg/k8s/apis/cilium.io"
	"github.com/cilium/cilium/pkg/labels"
	"github.com/cilium/cilium/pkg/policy"
	"github.com/cilium/cilium/pkg/policy/trafficdirection"
	ciliumtypes "github.com/cilium/cilium/pkg/types"
	"github.com/cilium/cilium/pkg/u8proto"
)

// endpoint is a pod as its agent has it. The methods are what the policy code asks of it.
type endpoint struct {
	identity *identity.Identity
	ports    ciliumtypes.NamedPortMap
	rules    *policy.EndpointPolicy // made when something is asked about the pod
}

func (e *endpoint) GetID() uint64                               { return uint64(e.identity.ID) }
func (e *endpoint) IsHost() bool                                { return false }
func (e *endpoint) PolicyDebug(string, ...any)                  {}
func (e *endpoint) PreviousMapStateSizes() policy.MapStateSizes { return policy.MapStateSizes{} }

func (e *endpoint) GetIngressNamedPort(name string, protocol u8proto.U8proto) uint16 {
	port, _ := e.ports.GetNamedPort(name, protocol)
	return port
}

func (e *endpoint) RegenerateIfAlive(*regeneration.ExternalRegenerationMetadata) <-chan bool {
	done := make(chan bool)
	close(done)
	return done
}

// agents are those of the cluster's nodes, each made when it is first asked.
type agents struct {
	*oracle
	cluster *cluster
	options options
	of      map[string]*agent
}

func (all *agents) on(ctx context.Context, node string) (*agent, error) {
	if known := all.of[node]; known != nil {
		return known, nil
	}
	made, err := newAgent(ctx, all.oracle, all.cluster, all.options, node)
	if err != nil {
		return nil, err
	}
	all.of[node] = made
	return made, nil
}

// first is an agent that is there already, if there is one.
func (all *agents) first(ctx context.Context) (*agent, error) {
	for _, one := range all.of {
		return one, nil
	}
	return all.on(ctx, "")
}

func (all *agents) shutdown() {
	for _, one := range all.of {
		_ = one.addresses.Shutdown()
	}
}

// ask judges both ends of a probe, each by the agent of its node.
func (all *agents) ask(ctx context.Context, p probe) (a answer) {
	if p.Family == 0 {
		p.Family = 4
	}
	protocol, port, wrong := p.wanted()
	from, noSource := all.cluster.end(p.From, p.Family)
	to, noDestination := all.cluster.end(p.To, p.Family)
	if err := errors.Join(wrong, noSource, noDestination); err != nil {
		a.Error = err.Error()
		return a
	}
	judge := func(direction trafficdirection.TrafficDirection, subject, other end) *verdict {
		if subject.pod == "" {
			return nil
		}
		agent, err := all.on(ctx, all.cluster.nodeOf(subject.pod))
		if err == nil {
			var found verdict
			if found, err = agent.judge(direction, subject.pod, other, protocol, port); err == nil {
				return &found
			}
		}
		a.Error = err.Error()
		return nil
	}
	a.Egress = judge(trafficdirection.Egress, from, to)
	a.Ingress = judge(trafficdirection.Ingress, to, from)
	return a
}

// wanted is the protocol and the port of a probe in the policy map, where a type of ICMP stands in
// the place of the port.
func (p probe) wanted() (u8proto.U8proto, uint16, error) {
	if p.Family != 4 && p.Family != 6 {
		return 0, 0, fmt.Errorf("no address family: %d", p.Family)
	}
	if p.Protocol == "ICMP" {
		protocol, kind := u8proto.ICMP, uint8(8)
		if p.Family == 6 {
			protocol, kind = u8proto.ICMPv6, 128
		}
		if p.ICMPType != nil {
			kind = *p.ICMPType
		}
		return protocol, uint16(kind), nil
	}
	switch p.Protocol {
	case "TCP":
		return u8proto.TCP, p.Port, nil
	case "UDP":
		return u8proto.UDP, p.Port, nil
	case "SCTP":
		return u8proto.SCTP, p.Port, nil
	}
	number, err := strconv.ParseUint(p.Protocol, 10, 8)
	if err != nil {
		return 0, 0, fmt.Errorf("no protocol: %q", p.Protocol)
	}
	return u8proto.U8proto(number), 0, nil
}

// identityOf is the identity that the datapath finds for the other end of a connection.
func (a *agent) identityOf(other end) identity.NumericIdentity {
	if !other.address.IsValid() {
		return a.endpoints[other.pod].identity.ID
	}
	if found, ok := a.addresses.LookupSecIDByIP(other.address); ok {
		return found.ID
	}
	outside := labels.Labels{}
	outside.AddWorldLabel(other.address)
	return identity.LookupReservedIdentityByLabels(outside).ID
}

// policyOf computes the policy map of a pod.
func (a *agent) policyOf(key string) (*policy.EndpointPolicy, error) {
	subject := a.endpoints[key]
	if subject.rules == nil {
		selected, _, err := a.repository.ComputeSelectorPolicy(subject.identity)
		if err != nil {
			return nil, err
		}
		// Rules for a proxy are left out of the map unless there is a port to redirect to.
		proxies := map[string]uint16{policy.FallbackRedirectID: math.MaxUint16}
		subject.rules = selected.DistillPolicy(a.log, subject, proxies)
		_ = subject.rules.Ready()
		subject.rules.Detach(a.log)
		selected.Supersede()
	}
	return subject.rules, nil
}

func (a *agent) judge(
	direction trafficdirection.TrafficDirection,
	subject string,
	other end,
	protocol u8proto.U8proto,
	port uint16,
) (verdict, error) {
	rules, err := a.policyOf(subject)
	if err != nil {
		return verdict{}, err
	}
	// A whole port, as the datapath has it: WithPort would take 0 for any port.
	key := policy.KeyForDirection(direction).
		WithIdentity(a.identityOf(other)).
		WithProto(protocol).
		WithPortPrefix(port, 16)
	entry, origin, found := rules.Lookup(key)
	switch {
	case !found:
		return verdict{Verdict: "deny", By: "no rule matches"}, nil
	case entry.IsDeny():
		return verdict{Verdict: "deny", By: namesOf(origin.LabelArray())}, nil
	}
	v := verdict{Verdict: "allow", By: namesOf(origin.LabelArray())}
	if entry.IsRedirectEntry() {
		v.Verdict = "redirect"
	}
	if kind := entry.AuthRequirement.AuthType(); kind != 0 {
		v.Authentication = kind.String()
	}
	return v, nil
}

// namesOf names the policies behind an entry; what the agent adds by itself is named by its labels.
func namesOf(rules labels.LabelArrayList) string {
	names := make([]string, 0, len(rules))
	for _, rule := range rules {
		get := func(key string) string { return rule.Get(labels.LabelSourceK8sKeyPrefix + key) }
		name := get(ciliumio.PolicyLabelName)
		if name == "" {
			names = append(names, strings.Join(rule.GetModel(), " "))
			continue
		}
		if namespace := get(ciliumio.PolicyLabelNamespace); namespace != "" {
			name = namespace + "/" + name
		}
		names = append(names, get(ciliumio.PolicyLabelDerivedFrom)+" "+name)
	}
	return strings.Join(names, ", ")
}
