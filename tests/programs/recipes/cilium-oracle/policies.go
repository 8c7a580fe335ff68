package main

import (
	"errors"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	kjson "k8s.io/apimachinery/pkg/util/json"
	policyv1alpha2 "sigs.k8s.io/network-policy-api/apis/v1alpha2"

	cmtypes "github.com/cilium/cilium/pkg/clustermesh/types"
	"github.com/cilium/cilium/pkg/fqdn/dns"
	ipctypes "github.com/cilium/cilium/pkg/ipcache/types"
	"github.com/cilium/cilium/pkg/k8s"
	ciliumv2 "github.com/cilium/cilium/pkg/k8s/apis/cilium.io/v2"
	"github.com/cilium/cilium/pkg/k8s/apis/cilium.io/v2/validator"
	networkingv1 "github.com/cilium/cilium/pkg/k8s/slim/k8s/api/networking/v1"
	"github.com/cilium/cilium/pkg/labels"
	"github.com/cilium/cilium/pkg/policy"
	policyk8s "github.com/cilium/cilium/pkg/policy/k8s"
	policytypes "github.com/cilium/cilium/pkg/policy/types"
	policyutils "github.com/cilium/cilium/pkg/policy/utils"
	"github.com/cilium/cilium/pkg/source"
)

// The kinds of policy that are read.
const (
	networkPolicy        = "NetworkPolicy"
	clusterNetworkPolicy = "ClusterNetworkPolicy"
	ciliumPolicy         = "CiliumNetworkPolicy"
	ciliumClusterPolicy  = "CiliumClusterwideNetworkPolicy"
)

var resourceKinds = map[string]ipctypes.ResourceKind{
	networkPolicy:        ipctypes.ResourceKindNetpol,
	clusterNetworkPolicy: ipctypes.ResourceKindKCNP,
	ciliumPolicy:         ipctypes.ResourceKindCNP,
	ciliumClusterPolicy:  ipctypes.ResourceKindCCNP,
}

// learnPolicy keeps the entries of a policy for the repository, and its prefixes for the address
// cache. A policy that the schema or the agent refuses is left out, as in a cluster.
func (a *agent) learnPolicy(object policyObject) {
	var content unstructured.Unstructured
	err := kjson.Unmarshal(object.text, &content.Object)
	namespace, name := content.GetNamespace(), content.GetName()
	shown := object.kind + " " + name
	if namespace != "" {
		shown = object.kind + " " + namespace + "/" + name
	}
	say := func(err error, applied bool) {
		a.refusals = append(a.refusals, refusal{Object: shown, Error: err.Error(), Applied: applied})
	}
	if err == nil {
		var unknown validator.ErrUnknownFields
		if err = a.checkSchema(object.kind, &content); errors.As(err, &unknown) {
			// The API server drops such fields and keeps the rest.
			say(err, true)
			err = nil
		}
	}
	var entries policytypes.PolicyEntries
	if err == nil {
		entries, err = a.parsed(object)
	}
	if err != nil {
		say(err, false)
		return
	}
	resource := ipctypes.NewResourceID(resourceKinds[object.kind], namespace, name)
	a.rules[resource] = entries
	for _, prefix := range policy.GetCIDRPrefixes(entries) {
		a.label(prefix, source.CustomResource, resource, true, labels.GetCIDRLabels(prefix))
	}
	a.labelNames(entries)
}

// checkSchema does what the API server does with Cilium's own kinds.
func (a *agent) checkSchema(kind string, content *unstructured.Unstructured) error {
	switch kind {
	case ciliumPolicy:
		// The agent tells the two kinds apart by the namespace alone.
		if content.GetNamespace() == "" {
			return errors.New("has no namespace")
		}
		return a.schema.ValidateCNP(content)
	case ciliumClusterPolicy:
		if content.GetNamespace() != "" {
			return errors.New("has a namespace")
		}
		return a.schema.ValidateCCNP(content)
	}
	return nil
}

// parsed is what the agent's parser and its sanitiser make of a policy.
func (a *agent) parsed(object policyObject) (policytypes.PolicyEntries, error) {
	cluster := cmtypes.LocalClusterNameForPolicies(
		cmtypes.DefaultPolicyConfig, a.options.ClusterName)
	switch object.kind {
	case networkPolicy:
		spec, err := decoded[networkingv1.NetworkPolicy](object.text)
		if err != nil {
			return nil, err
		}
		return k8s.ParseNetworkPolicy(a.log, cluster, spec)
	case clusterNetworkPolicy:
		spec, err := decoded[policyv1alpha2.ClusterNetworkPolicy](object.text)
		if err != nil {
			return nil, err
		}
		return k8s.ParseClusterNetworkPolicy(a.log, cluster, spec)
	}
	// One type serves both of Cilium's kinds.
	spec, err := decoded[ciliumv2.CiliumNetworkPolicy](object.text)
	if err != nil {
		return nil, err
	}
	services := &a.services
	policyk8s.ResolveToServices(services.db.ReadTxn(), services.services, services.backends, spec)
	rules, err := spec.Parse(a.log, cluster)
	if err != nil {
		return nil, err
	}
	return policyutils.RulesToPolicyEntries(rules), nil
}

// labelNames labels the addresses of the names that rules select, as the DNS proxy does when a pod
// asks for one.
func (a *agent) labelNames(entries policytypes.PolicyEntries) {
	for _, entry := range entries {
		for _, selected := range entry.L3 {
			names, ok := selected.GetFQDNSelector()
			if !ok {
				continue
			}
			pattern, err := names.ToRegex()
			if err != nil {
				continue
			}
			what := names.IdentityLabel()
			for name, addresses := range a.options.Names {
				if !pattern.MatchString(dns.FQDN(name)) {
					continue
				}
				by := ipctypes.ResourceID("dns/" + name + "/" + what.Key)
				for _, address := range addresses {
					a.labelAddress(address, source.Generated, by, labels.Labels{what.Key: what})
				}
			}
		}
	}
}
