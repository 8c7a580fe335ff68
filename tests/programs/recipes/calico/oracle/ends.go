package main

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/projectcalico/calico/felix/proto"
	"github.com/projectcalico/calico/felix/rules"
)

// An end of a connection: the address, and the endpoint that has it where that is a pod which
// Calico manages.
type end struct {
	address  netip.Addr
	endpoint *proto.WorkloadEndpoint
	node     *node
}

// ends finds the ends that probes name.
type ends struct {
	objects   *objects
	byName    map[string]end // of pods, without an address
	byAddress map[netip.Addr][]end
}

func findEnds(all *objects) *ends {
	found := &ends{all, map[string]end{}, map[netip.Addr][]end{}}
	for host := range all.hosts {
		on := compute(host, all.updates)
		for id, endpoint := range on.store.Endpoints {
			one := end{endpoint: enforced(endpoint), node: on}
			found.byName[id.WorkloadId] = one
			for _, text := range slices.Concat(endpoint.Ipv4Nets, endpoint.Ipv6Nets) {
				one.address = netip.MustParsePrefix(text).Addr()
				found.byAddress[one.address] = append(found.byAddress[one.address], one)
			}
		}
	}
	return found
}

// ask answers one probe: a verdict for each end that has policies.
func (e *ends) ask(asked probe) answer {
	number, err := protocolNumber(asked.Protocol, asked.Family)
	if err != nil {
		return answer{Error: err.Error()}
	}
	source, err := e.find(asked.From, asked.Family)
	if err != nil {
		return answer{Error: err.Error()}
	}
	destination, err := e.find(asked.To, asked.Family)
	if err != nil {
		return answer{Error: err.Error()}
	}
	if source.address.Is4() != destination.address.Is4() {
		return answer{Error: fmt.Sprintf("%s and %s are of two families", source.address, destination.address)}
	}
	flow := &flow{
		source:      source.address,
		destination: destination.address,
		port:        asked.Port,
		protocol:    number,
		icmpType:    echoRequest[number],
		icmpCode:    asked.ICMPCode,
	}
	if asked.ICMPType != nil {
		flow.icmpType = *asked.ICMPType
	}
	found := answer{
		Egress:  source.judge(rules.RuleDirEgress, flow),
		Ingress: destination.judge(rules.RuleDirIngress, flow),
	}
	from, known := e.objects.nodeOf[source.address]
	if known && found.Ingress != nil && from == destination.node.name && nodeReachesItsPods()[flow.family()] {
		found.Ingress.decision = decision{allow, "its own node"}
	}
	return found
}

// judge asks both evaluators; nil where the end has no policies.
func (e end) judge(direction rules.RuleDir, flow *flow) *verdict {
	if e.endpoint == nil {
		return nil
	}
	found := &verdict{
		decision: e.node.decide(e.endpoint, direction, flow),
		Checker:  e.node.check(e.endpoint, direction, flow),
	}
	found.Agree = found.Verdict == found.Checker.Verdict
	if !found.Agree {
		found.Blind = e.node.blind(e.endpoint, flow)
	}
	return found
}

// find is the end that "namespace/pod" or an address stands for, in one family.
func (e *ends) find(text string, family int) (end, error) {
	if !strings.Contains(text, "/") {
		return e.at(text, family)
	}
	if one, managed := e.byName[text]; managed {
		return one.in(family, text)
	}
	pod := e.objects.pods[text]
	if pod == nil {
		return end{}, fmt.Errorf("there is no pod %s", text)
	}
	if !pod.Spec.HostNetwork {
		return end{}, fmt.Errorf("pod %s has no endpoint", text)
	}
	for _, one := range pod.Status.PodIPs {
		address, err := netip.ParseAddr(one.IP)
		if err == nil && address.Is6() == (family == 6) {
			return end{address: address}, nil
		}
	}
	return end{}, noAddress(text)
}

func noAddress(text string) error {
	return fmt.Errorf("%s has no address of this family", text)
}

// in is the end with the address that it has in a family.
func (e end) in(family int, text string) (end, error) {
	nets := e.endpoint.Ipv4Nets
	if family == 6 {
		nets = e.endpoint.Ipv6Nets
	}
	if len(nets) == 0 {
		return end{}, noAddress(text)
	}
	e.address = netip.MustParsePrefix(nets[0]).Addr()
	return e, nil
}

func (e *ends) at(text string, family int) (end, error) {
	address, err := netip.ParseAddr(text)
	if err != nil {
		return end{}, fmt.Errorf("%q is neither namespace/pod nor an address", text)
	}
	switch pods := e.byAddress[address]; len(pods) {
	case 0:
		return end{address: address}, nil
	case 1:
		return pods[0].in(family, text)
	default:
		return end{}, fmt.Errorf("%d pods have %s", len(pods), address)
	}
}

var protocols = map[string]int{
	"icmp": 1, "tcp": 6, "udp": 17, "icmpv6": 58, "sctp": 132, "udplite": 136,
}

// The type of an echo request, by protocol.
var echoRequest = map[int]int32{1: 8, 58: 128}

// protocolNumber is that of a name or a number; ICMP is that of the family.
func protocolNumber(text string, family int) (int, error) {
	if number, ok := protocols[strings.ToLower(text)]; ok {
		if number == protocols["icmp"] && family == 6 {
			number = protocols["icmpv6"]
		}
		return number, nil
	}
	number, err := strconv.Atoi(text)
	if err != nil || number < 0 || number > 255 {
		return 0, fmt.Errorf("%q is no protocol", text)
	}
	return number, nil
}
