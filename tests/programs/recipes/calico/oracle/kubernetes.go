package main

import (
	"encoding/json"
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	kjson "sigs.k8s.io/json"
	adminv1 "sigs.k8s.io/network-policy-api/apis/v1alpha1"

	"github.com/projectcalico/calico/libcalico-go/lib/backend/k8s/conversion"
	"github.com/projectcalico/calico/libcalico-go/lib/backend/model"
	updates "github.com/projectcalico/calico/libcalico-go/lib/backend/syncersv1/updateprocessors"
	"github.com/projectcalico/calico/libcalico-go/lib/backend/watchersyncer"
)

// Calico's converters refuse some objects that have no UID.
const anyUID = types.UID("00000000-0000-4000-8000-000000000000")

var convert = conversion.NewConverter()

var kubernetesReaders = map[string]reader{
	"v1 Namespace":      kubernetes(convert.NamespaceToProfile, updates.NewProfileUpdateProcessor),
	"v1 ServiceAccount": kubernetes(convert.ServiceAccountToProfile, updates.NewProfileUpdateProcessor),
	"v1 Node":           readNode,
	"v1 Pod":            readPod,
	"v1 Service":        kubernetes(convert.ServiceToKVP, nil),
	"discovery.k8s.io/v1 EndpointSlice": kubernetes(func(one *discoveryv1.EndpointSlice) (*model.KVPair, error) {
		return convert.EndpointSliceToKVP(one)
	}, nil),
	"networking.k8s.io/v1 NetworkPolicy": kubernetes(func(one *networkingv1.NetworkPolicy) (*model.KVPair, error) {
		return convert.K8sNetworkPolicyToCalico(one)
	}, updates.NewNetworkPolicyUpdateProcessor),
	"policy.networking.k8s.io/v1alpha1 AdminNetworkPolicy": kubernetes(func(one *adminv1.AdminNetworkPolicy) (*model.KVPair, error) {
		return convert.K8sAdminNetworkPolicyToCalico(one)
	}, updates.NewGlobalNetworkPolicyUpdateProcessor),
	"policy.networking.k8s.io/v1alpha1 BaselineAdminNetworkPolicy": kubernetes(func(one *adminv1.BaselineAdminNetworkPolicy) (*model.KVPair, error) {
		return convert.K8sBaselineAdminNetworkPolicyToCalico(one)
	}, updates.NewGlobalNetworkPolicyUpdateProcessor),
}

// kubernetes reads a kind of Kubernetes by one of Calico's converters. Of a policy with rules that
// cannot be converted, the converter returns the rest beside the error.
func kubernetes[T any](
	converted func(*T) (*model.KVPair, error), processor func() watchersyncer.SyncerUpdateProcessor,
) reader {
	return func(all *objects, of head, raw json.RawMessage) {
		one := new(T)
		if !all.decode(of, raw, one) {
			return
		}
		pair, err := converted(one)
		if err != nil {
			all.refuse(of, err, pair != nil)
		}
		if pair == nil {
			return
		}
		if processor == nil {
			all.add(of, nil, pair)
		} else {
			all.add(of, processor(), pair)
		}
	}
}

// decode reads an object as the API server does, which would have given it a UID too.
func (all *objects) decode(of head, raw json.RawMessage, into any) bool {
	if err := kjson.UnmarshalCaseSensitivePreserveInts(raw, into); err != nil {
		all.refuse(of, err, false)
		return false
	}
	if named := into.(metav1.Object); named.GetUID() == "" {
		named.SetUID(anyUID)
	}
	return true
}

// readPod reads a pod, which has as many endpoints as Calico finds in it: none where it is on the
// network of its node, or on no node yet.
func readPod(all *objects, of head, raw json.RawMessage) {
	pod := new(corev1.Pod)
	if !all.decode(of, raw, pod) {
		return
	}
	if pod.Spec.ServiceAccountName == "" { // admission does the same
		pod.Spec.ServiceAccountName = "default"
	}
	all.pods[pod.Namespace+"/"+pod.Name] = pod
	if pod.Spec.HostNetwork {
		for _, one := range pod.Status.PodIPs {
			all.addNodeAddress(one.IP, pod.Spec.NodeName)
		}
	}
	if !convert.IsValidCalicoWorkloadEndpoint(pod) {
		return
	}
	pairs, err := convert.PodToWorkloadEndpoints(pod)
	if err != nil {
		all.refuse(of, err, false)
	}
	for _, pair := range pairs {
		all.add(of, updates.NewWorkloadEndpointUpdateProcessor(), pair)
	}
}

// readNode keeps the addresses of a node; policies do not know it.
func readNode(all *objects, of head, raw json.RawMessage) {
	node := new(corev1.Node)
	if all.decode(of, raw, node) {
		for _, one := range node.Status.Addresses {
			all.addNodeAddress(one.Address, node.Name)
		}
	}
}

// addNodeAddress keeps an address; a name is none.
func (all *objects) addNodeAddress(text, node string) {
	if address, err := netip.ParseAddr(text); err == nil {
		all.nodeOf[address] = node
	}
}
