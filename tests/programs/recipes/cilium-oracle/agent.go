package main

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/cilium/statedb"

	cmtypes "github.com/cilium/cilium/pkg/clustermesh/types"
	"github.com/cilium/cilium/pkg/crypto/certificatemanager"
	envoypolicy "github.com/cilium/cilium/pkg/envoy/policy"
	"github.com/cilium/cilium/pkg/identity"
	"github.com/cilium/cilium/pkg/identity/identitymanager"
	"github.com/cilium/cilium/pkg/ipcache"
	ipctypes "github.com/cilium/cilium/pkg/ipcache/types"
	"github.com/cilium/cilium/pkg/k8s"
	ciliumio "github.com/cilium/cilium/pkg/k8s/apis/cilium.io"
	ciliumv2 "github.com/cilium/cilium/pkg/k8s/apis/cilium.io/v2"
	corev1 "github.com/cilium/cilium/pkg/k8s/slim/k8s/api/core/v1"
	k8sutils "github.com/cilium/cilium/pkg/k8s/utils"
	"github.com/cilium/cilium/pkg/labels"
	"github.com/cilium/cilium/pkg/labelsfilter"
	"github.com/cilium/cilium/pkg/loadbalancer"
	"github.com/cilium/cilium/pkg/policy"
	"github.com/cilium/cilium/pkg/policy/api"
	policytypes "github.com/cilium/cilium/pkg/policy/types"
	"github.com/cilium/cilium/pkg/source"
	fakecerts "github.com/cilium/cilium/pkg/testutils/certificatemanager"
	fakeidentity "github.com/cilium/cilium/pkg/testutils/identity"
)

// agent is what the Cilium agent of one node knows of the cluster.
type agent struct {
	*oracle
	cluster    *cluster
	options    options
	node       string // its own; empty for an agent of which every node is another
	identities *fakeidentity.MockIdentityAllocator
	addresses  *ipcache.IPCache
	repository *policy.Repository
	endpoints  map[string]*endpoint // by the key of the pod
	rules      map[ipctypes.ResourceID]policytypes.PolicyEntries
	refusals   []refusal
	labelled   []ipcache.MU // what is still to be said to the address cache
	services   serviceTables
}

// serviceTables are what toServices is resolved with.
type serviceTables struct {
	db       *statedb.DB
	services statedb.RWTable[*loadbalancer.Service]
	backends statedb.RWTable[*loadbalancer.Backend]
}

// How long the address cache may take to give every address its identity.
const settling = time.Minute

func newAgent(
	ctx context.Context, o *oracle, c *cluster, opts options, node string,
) (*agent, error) {
	a := &agent{
		oracle:     o,
		cluster:    c,
		options:    opts,
		node:       node,
		identities: fakeidentity.NewMockIdentityAllocator(nil),
		endpoints:  map[string]*endpoint{},
		rules:      map[ipctypes.ResourceID]policytypes.PolicyEntries{},
	}
	// What would turn rules for a proxy into the proxy's own form.
	translator := envoypolicy.NewEnvoyL7RulesTranslator(
		o.log, certificatemanager.NewMockSecretManagerInline())
	reserved := identity.ListReservedIdentities()
	a.repository = policy.NewPolicyRepository(
		o.log, reserved, &fakecerts.Fake{}, translator, identitymanager.NewIDManager(o.log), nil)
	a.repository.UpdateIdentities(reserved, nil)
	a.addresses = ipcache.NewIPCache(&ipcache.Configuration{
		Context:           ctx,
		Logger:            o.log,
		IdentityAllocator: a.identities,
		IdentityUpdater:   a,
	})
	// Names of ports at egress are looked up among the addresses.
	a.repository.SetNamedPortsGetter(a.addresses)
	return a, a.learn(ctx)
}

// learn takes in the cluster in the agent's order: rules come last, when each address that they may
// select has its identity.
func (a *agent) learn(ctx context.Context) error {
	for _, node := range a.cluster.nodes {
		a.learnNode(node)
	}
	for _, group := range a.cluster.groups {
		a.learnGroup(group)
	}
	for key, pod := range a.cluster.pods {
		if hasEndpoint(pod) {
			if err := a.learnPod(ctx, key, pod); err != nil {
				return fmt.Errorf("Pod %s: %w", key, err)
			}
		}
	}
	for _, text := range a.options.APIServers {
		a.labelAddress(text, source.KubeAPIServer, "api-server", labels.LabelKubeAPIServer)
	}
	if err := a.learnServices(); err != nil {
		return err
	}
	for _, object := range a.cluster.policies {
		a.learnPolicy(object)
	}
	if len(a.labelled) > 0 {
		limited, cancel := context.WithTimeout(ctx, settling)
		defer cancel()
		revision := a.addresses.UpsertMetadataBatch(a.labelled...)
		if err := a.addresses.WaitForRevision(limited, revision); err != nil {
			return fmt.Errorf("addresses have no identities yet: %w", err)
		}
	}
	for resource, entries := range a.rules {
		a.repository.ReplaceByResource(entries, resource)
	}
	return nil
}

// UpdateIdentities is called by the address cache when identities come and go.
func (a *agent) UpdateIdentities(added, deleted identity.IdentityMap) <-chan struct{} {
	var selectors sync.WaitGroup
	a.repository.GetSelectorCache().UpdateIdentities(added, deleted, &selectors)
	selectors.Wait()
	a.repository.UpdateIdentities(added, deleted)
	done := make(chan struct{})
	close(done)
	return done
}

// label says labels of a prefix; the address cache puts together what several sources say.
func (a *agent) label(
	prefix netip.Prefix, from source.Source, by ipctypes.ResourceID, cidr bool, what labels.Labels,
) {
	a.labelled = append(a.labelled, ipcache.MU{
		Prefix:   cmtypes.NewLocalPrefixCluster(prefix),
		Source:   from,
		Resource: by,
		Metadata: []ipcache.IPMetadata{what},
		IsCIDR:   cidr,
	})
}

// labelAddress leaves out what is no address: nodes list their host names beside.
func (a *agent) labelAddress(
	text string, from source.Source, by ipctypes.ResourceID, what labels.Labels,
) {
	if address, err := netip.ParseAddr(text); err == nil {
		a.label(netip.PrefixFrom(address, address.BitLen()), from, by, false, what)
	}
}

func (a *agent) learnNode(node *corev1.Node) {
	what := labels.NewFrom(labels.LabelRemoteNode)
	if node.Name == a.node {
		what = labels.NewFrom(labels.LabelHost)
	}
	if a.options.NodeLabels {
		own, _ := labelsfilter.FilterNodeLabels(
			labels.Map2Labels(node.Labels, labels.LabelSourceNode))
		what.MergeLabels(own)
		cluster := map[string]string{ciliumio.PolicyLabelCluster: a.options.ClusterName}
		what.MergeLabels(labels.Map2Labels(cluster, labels.LabelSourceK8s))
	}
	by := ipctypes.NewResourceID(ipctypes.ResourceKindNode, "", node.Name)
	for _, address := range node.Status.Addresses {
		a.labelAddress(address.Address, source.CustomResource, by, what)
	}
}

func (a *agent) learnGroup(group *ciliumv2.CiliumCIDRGroup) {
	by := ipctypes.NewResourceID(ipctypes.ResourceKindCIDRGroup, "", group.Name)
	own := []labels.Label{api.LabelForCIDRGroupRef(group.Name)}
	for key, value := range k8sutils.RemoveCiliumLabels(group.Labels) {
		own = append(own,
			labels.NewLabel(key, value, labels.LabelSourceCIDRGroup),
			labels.EncodedCIDRGroupLabel(key, value, labels.LabelSourceCIDRGroup))
	}
	for _, text := range group.Spec.ExternalCIDRs {
		// The agent goes on without what is no prefix.
		if prefix, err := netip.ParsePrefix(string(text)); err == nil {
			what := labels.FromSlice(own)
			what.AddWorldLabel(prefix.Addr())
			a.label(prefix, source.Generated, by, false, what)
		}
	}
}

func (a *agent) learnPod(ctx context.Context, key string, pod *corev1.Pod) error {
	ports, all := k8s.GetPodMetadata(a.log, a.cluster.namespaces[pod.Namespace], pod)
	what, _ := labelsfilter.Filter(labels.Map2Labels(all, labels.LabelSourceK8s))
	what.MergeLabels(k8s.NamedPortsIdentityLabels(ports).Labels())
	id, isNew, err := a.identities.AllocateIdentity(ctx, what, false, identity.IdentityUnknown)
	if err != nil {
		return err
	}
	if isNew {
		a.UpdateIdentities(identity.IdentityMap{id.ID: id.LabelArray}, nil)
	}
	a.endpoints[key] = &endpoint{identity: id, ports: ports}
	about := &ipcache.K8sMetadata{Namespace: pod.Namespace, PodName: pod.Name, NamedPorts: ports}
	known := ipcache.Identity{ID: id.ID, Source: source.CustomResource}
	for _, address := range k8sutils.ValidIPs(pod.Status) {
		if _, err := a.addresses.Upsert(address, nil, 0, about, known); err != nil {
			return err
		}
	}
	return nil
}

// learnServices fills the tables of Services and their backends.
func (a *agent) learnServices() (err error) {
	t := &a.services
	t.db = statedb.New()
	if t.services, err = loadbalancer.NewServicesTable(loadbalancer.DefaultConfig, t.db); err != nil {
		return err
	}
	if t.backends, err = loadbalancer.NewBackendsTable(t.db); err != nil {
		return err
	}
	txn := t.db.WriteTxn(t.services, t.backends)
	defer txn.Commit()
	for _, one := range a.cluster.services {
		if _, _, err := t.services.Insert(txn, &loadbalancer.Service{
			Name:     loadbalancer.NewServiceName(one.Namespace, one.Name),
			Source:   source.Kubernetes,
			Labels:   labels.Map2Labels(one.Labels, labels.LabelSourceK8s),
			Selector: one.Spec.Selector,
		}); err != nil {
			return err
		}
	}
	for _, slice := range a.cluster.backends {
		name := loadbalancer.NewServiceName(
			slice.Namespace, slice.Labels["kubernetes.io/service-name"])
		for _, backend := range slice.Endpoints {
			for _, text := range backend.Addresses {
				address, err := netip.ParseAddr(text)
				if err != nil {
					return fmt.Errorf("EndpointSlice %s: %w", slice.Name, err)
				}
				// Policies look at the address alone; the table wants a port.
				place := loadbalancer.NewL3n4Addr(loadbalancer.TCP,
					cmtypes.AddrClusterFrom(address, 0), 1, loadbalancer.ScopeExternal)
				entry := &loadbalancer.Backend{ServiceName: name, Address: place}
				if _, _, err := t.backends.Insert(txn, entry); err != nil {
					return err
				}
			}
		}
	}
	return nil
}
