package main

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"

	kjson "k8s.io/apimachinery/pkg/util/json"

	ciliumv2 "github.com/cilium/cilium/pkg/k8s/apis/cilium.io/v2"
	corev1 "github.com/cilium/cilium/pkg/k8s/slim/k8s/api/core/v1"
	discoveryv1 "github.com/cilium/cilium/pkg/k8s/slim/k8s/api/discovery/v1"
	k8sutils "github.com/cilium/cilium/pkg/k8s/utils"
)

// cluster is what the API server holds, in the types of Cilium's clients.
type cluster struct {
	namespaces map[string]*corev1.Namespace
	nodes      []*corev1.Node
	pods       map[string]*corev1.Pod // by NAMESPACE/NAME
	managed    map[netip.Addr]string  // addresses of pods that have an endpoint of their own
	services   []*corev1.Service
	backends   []*discoveryv1.EndpointSlice
	groups     []*ciliumv2.CiliumCIDRGroup
	policies   []policyObject
}

// policyObject is a policy as it was given, for Cilium's own decoder.
type policyObject struct {
	kind string
	text json.RawMessage
}

func readCluster(objects []json.RawMessage) (*cluster, error) {
	c := &cluster{
		namespaces: map[string]*corev1.Namespace{},
		pods:       map[string]*corev1.Pod{},
		managed:    map[netip.Addr]string{},
	}
	for _, text := range objects {
		var head struct {
			Kind     string `json:"kind"`
			Metadata struct {
				Name string `json:"name"`
			} `json:"metadata"`
		}
		if err := json.Unmarshal(text, &head); err != nil {
			return nil, err
		}
		if err := c.add(head.Kind, text); err != nil {
			return nil, fmt.Errorf("%s %s: %w", head.Kind, head.Metadata.Name, err)
		}
	}
	for key, pod := range c.pods {
		if err := c.place(key, pod); err != nil {
			return nil, fmt.Errorf("Pod %s: %w", key, err)
		}
	}
	return c, nil
}

func (c *cluster) add(kind string, text json.RawMessage) (err error) {
	switch kind {
	case "Namespace":
		namespace, err := decoded[corev1.Namespace](text)
		if err != nil {
			return err
		}
		if namespace.Labels == nil {
			namespace.Labels = map[string]string{}
		}
		// The API server does so.
		namespace.Labels["kubernetes.io/metadata.name"] = namespace.Name
		c.namespaces[namespace.Name] = namespace
	case "Pod":
		pod, err := decoded[corev1.Pod](text)
		if err != nil {
			return err
		}
		c.pods[pod.Namespace+"/"+pod.Name] = pod
	case "Node":
		c.nodes, err = appended(c.nodes, text)
	case "Service":
		c.services, err = appended(c.services, text)
	case "EndpointSlice":
		c.backends, err = appended(c.backends, text)
	case "CiliumCIDRGroup":
		c.groups, err = appended(c.groups, text)
	case networkPolicy, clusterNetworkPolicy, ciliumPolicy, ciliumClusterPolicy:
		c.policies = append(c.policies, policyObject{kind, text})
	default:
		err = fmt.Errorf("objects of this kind are not read")
	}
	return err
}

func decoded[T any](text json.RawMessage) (*T, error) {
	object := new(T)
	return object, kjson.Unmarshal(text, object)
}

func appended[T any](list []*T, text json.RawMessage) ([]*T, error) {
	object, err := decoded[T](text)
	return append(list, object), err
}

// hasEndpoint says whether the agent makes an endpoint for a pod: not on the host's network, where
// its traffic is the node's, and not when it has finished.
func hasEndpoint(pod *corev1.Pod) bool {
	return !pod.Spec.HostNetwork && k8sutils.IsPodRunning(pod.Status)
}

func (c *cluster) place(key string, pod *corev1.Pod) error {
	if c.namespaces[pod.Namespace] == nil {
		return fmt.Errorf("its Namespace is not given")
	}
	if !hasEndpoint(pod) {
		return nil
	}
	for _, text := range k8sutils.ValidIPs(pod.Status) {
		address, err := netip.ParseAddr(text)
		if err != nil {
			return err
		}
		if other, taken := c.managed[address]; taken && other != key {
			return fmt.Errorf("%s has the same address", other)
		}
		c.managed[address] = key
	}
	return nil
}

// end is one side of a probe: the key of a pod with an endpoint, and the address in the probe's
// family. Only such a pod may have no address.
type end struct {
	pod     string
	address netip.Addr
}

func (c *cluster) end(text string, family int) (end, error) {
	if pod := c.pods[text]; pod != nil {
		if !k8sutils.IsPodRunning(pod.Status) {
			return end{}, fmt.Errorf("pod %s has finished", text)
		}
		found := end{}
		for _, ip := range k8sutils.ValidIPs(pod.Status) {
			address, err := netip.ParseAddr(ip)
			if err != nil {
				return end{}, err
			}
			if address.Is4() == (family == 4) {
				found.address = address
			}
		}
		if hasEndpoint(pod) {
			found.pod = text
		} else if !found.address.IsValid() {
			return end{}, fmt.Errorf("pod %s has no address of the family", text)
		}
		return found, nil
	}
	address, err := netip.ParseAddr(text)
	if err != nil {
		return end{}, fmt.Errorf("%q is no pod of the cluster and no address", text)
	}
	address = address.Unmap()
	if key, ok := c.managed[address]; ok {
		return c.end(key, family)
	}
	if address.Is4() != (family == 4) {
		return end{}, fmt.Errorf("%s is not of family %d", text, family)
	}
	return end{address: address}, nil
}

// nodeOf names the node that runs a pod, and is empty where it is not known.
func (c *cluster) nodeOf(key string) string {
	name := c.pods[key].Spec.NodeName
	if !slices.ContainsFunc(c.nodes, func(node *corev1.Node) bool { return node.Name == name }) {
		return ""
	}
	return name
}
