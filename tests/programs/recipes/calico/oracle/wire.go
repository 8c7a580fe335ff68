package main

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/sirupsen/logrus"
)

// A request has the objects of a cluster, and connections to ask about.
type request struct {
	ID      int64             `json:"id"`
	Objects []json.RawMessage `json:"objects"`
	Options struct{}          `json:"options"` // there are none
	Probes  []probe           `json:"probes"`
}

// A probe is one connection. An end is "namespace/pod" or an address; an address that a pod has
// stands for that pod.
type probe struct {
	From     string `json:"from"`
	To       string `json:"to"`
	Protocol string `json:"protocol"` // TCP, UDP, SCTP, ICMP, ICMPv6, UDPLite, or a number
	Port     int    `json:"port"`     // of the destination
	ICMPType *int32 `json:"icmpType"` // echo request if it is left out
	ICMPCode int32  `json:"icmpCode"`
	Family   int    `json:"family"` // 4 or 6: which addresses of pods; 4 if it is left out
}

type response struct {
	ID      int64     `json:"id"`
	Error   string    `json:"error,omitempty"` // nothing could be answered
	Errors  []problem `json:"errors"`
	Notes   []string  `json:"notes"` // what Calico warned of
	Answers []answer  `json:"answers"`
}

// A problem is why Calico does not take an object, or not whole.
type problem struct {
	Object  string `json:"object"` // kind and name
	Error   string `json:"error"`
	Applied bool   `json:"applied"` // what is left of it counts all the same
}

// An answer has a verdict for each end that is a pod with policies; the other is null.
type answer struct {
	Egress  *verdict `json:"egress"`
	Ingress *verdict `json:"ingress"`
	Error   string   `json:"error,omitempty"`
}

// A verdict is that of the rules which Felix would give to a dataplane. Calico's own checker is
// asked too: it is the second opinion, and wrong in the ways that Blind names.
type verdict struct {
	decision
	Checker decision `json:"checker"`
	Agree   bool     `json:"agree"`
	Blind   []string `json:"blind,omitempty"` // where they disagree: what the checker leaves out
}

type decision struct {
	Verdict string `json:"verdict"` // allow or deny
	By      string `json:"by"`      // tier, policy and rule; or whose end was reached
}

const (
	allow = "allow"
	deny  = "deny"
)

// notes gathers what Calico logs as a warning or worse, each text once.
type notes struct{ texts []string }

// listen begins a new collection, which replaces the one before.
func listen() *notes {
	found := &notes{texts: []string{}}
	logrus.StandardLogger().ReplaceHooks(logrus.LevelHooks{})
	logrus.AddHook(found)
	return found
}

func (n *notes) Levels() []logrus.Level { return logrus.AllLevels[:logrus.WarnLevel+1] }

func (n *notes) Fire(entry *logrus.Entry) error {
	text := entry.Message
	for _, key := range []string{"key", "error", "ipset", "Resource"} {
		if value, ok := entry.Data[key]; ok {
			text += fmt.Sprintf(" %s=%v", key, value)
		}
	}
	if !slices.Contains(n.texts, text) {
		n.texts = append(n.texts, text)
	}
	return nil
}
