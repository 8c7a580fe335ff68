package main

import (
	"bytes"
	"encoding/json"
)

// request is one line of input.
type request struct {
	ID      any               `json:"id"`
	Objects []json.RawMessage `json:"objects"`
	Options options           `json:"options"`
	Probes  []probe           `json:"probes"`
}

// probe is the first packet of a connection. An end is NAMESPACE/NAME of a pod, or an address; the
// address of a pod or a node stands for that pod or node.
type probe struct {
	From     string `json:"from"`
	To       string `json:"to"`
	Protocol string `json:"protocol"` // TCP, UDP, SCTP, ICMP (of the family), or a number
	Port     uint16 `json:"port"`
	ICMPType *uint8 `json:"icmpType"` // left out: echo request
	Family   int    `json:"family"`   // 4 or 6; left out: 4
}

// response is one line of output: an answer for each probe, in order.
type response struct {
	ID      any       `json:"id"`
	Error   string    `json:"error,omitempty"` // nothing could be answered
	Errors  []refusal `json:"errors"`
	Answers []answer  `json:"answers"`
}

// refusal is what the CRD's schema or the agent has against an object, in Cilium's words.
type refusal struct {
	Object  string `json:"object"`
	Error   string `json:"error"`
	Applied bool   `json:"applied"` // the rest of the object is in force
}

// answer has a verdict for each end; nil where that end is no pod and so has no policy.
type answer struct {
	Egress  *verdict `json:"egress"`
	Ingress *verdict `json:"ingress"`
	Error   string   `json:"error,omitempty"`
}

type verdict struct {
	// allow, deny, or redirect: allowed as far as ports go, and a proxy decides about the content.
	Verdict string `json:"verdict"`
	// The policies whose rules made the deciding entry of the policy map, or what else decided.
	By string `json:"by"`
	// The kind of mutual authentication that is asked for, if any.
	Authentication string `json:"authentication,omitempty"`
}

func newResponse() response {
	return response{Errors: []refusal{}, Answers: []answer{}}
}

// readRequest refuses fields that it does not know: a misspelt option would give the answer to
// another question.
func readRequest(line []byte) (request, error) {
	var q request
	decoder := json.NewDecoder(bytes.NewReader(line))
	decoder.DisallowUnknownFields()
	err := decoder.Decode(&q)
	return q, err
}
