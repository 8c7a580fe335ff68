package main

import (
	"sync"

	"github.com/projectcalico/calico/felix/iptables"
	"github.com/projectcalico/calico/felix/rules"
)

// What a node sends to its own pods does not come to their policies: Felix's chain for the packets
// of processes on the node returns before. Which chain that is, is read from Felix's renderer.
// By address family.
var nodeReachesItsPods = sync.OnceValue(func() map[uint8]bool {
	return map[uint8]bool{4: skipsPolicies(4), 6: skipsPolicies(6)}
})

const podInterfaces = "cali"

// skipsPolicies says whether what goes to the interface of a pod is returned before any rule but
// those for packets that were accepted already.
func skipsPolicies(family uint8) bool {
	renderer := rules.NewRenderer(rules.Config{
		WorkloadIfacePrefixes: []string{podInterfaces},
		// Any bits; a renderer wants them all.
		MarkAccept: 1 << 3, MarkPass: 1 << 4, MarkDrop: 1 << 5, MarkScratch0: 1 << 6, MarkScratch1: 1 << 7,
		MarkEndpoint: 0xff00, MarkNonCaliEndpoint: 0x0100,
	})
	for _, chain := range renderer.StaticFilterTableChains(family) {
		if chain.Name != rules.ChainFilterOutput {
			continue
		}
		for _, rule := range chain.Rules {
			if _, accepts := rule.Action.(iptables.AcceptAction); accepts {
				continue
			}
			_, returns := rule.Action.(iptables.ReturnAction)
			return returns && rule.Match.Render() == "--out-interface "+podInterfaces+"+"
		}
	}
	return false
}
