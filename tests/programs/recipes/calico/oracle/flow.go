package main

import (
	"net"
	"net/netip"
)

// What a probe does not say; no policy that is asked about here looks at it.
const sourcePort = 40000

// A flow is the first packet of a connection, as Calico's checker wants to see it.
type flow struct {
	source, destination netip.Addr
	port, protocol      int
	icmpType, icmpCode  int32
}

func (f *flow) GetSourceIP() net.IP                { return f.source.AsSlice() }
func (f *flow) GetDestIP() net.IP                  { return f.destination.AsSlice() }
func (f *flow) GetSourcePort() int                 { return sourcePort }
func (f *flow) GetDestPort() int                   { return f.port }
func (f *flow) GetProtocol() int                   { return f.protocol }
func (f *flow) GetHttpMethod() *string             { return nil }
func (f *flow) GetHttpPath() *string               { return nil }
func (f *flow) GetSourcePrincipal() *string        { return nil }
func (f *flow) GetDestPrincipal() *string          { return nil }
func (f *flow) GetSourceLabels() map[string]string { return nil }
func (f *flow) GetDestLabels() map[string]string   { return nil }

func (f *flow) family() uint8 {
	if f.source.Is6() {
		return 6
	}
	return 4
}
