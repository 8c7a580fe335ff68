package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	api "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	bapi "github.com/projectcalico/calico/libcalico-go/lib/backend/api"
	"github.com/projectcalico/calico/libcalico-go/lib/backend/model"
	updates "github.com/projectcalico/calico/libcalico-go/lib/backend/syncersv1/updateprocessors"
	"github.com/projectcalico/calico/libcalico-go/lib/backend/watchersyncer"
	cerrors "github.com/projectcalico/calico/libcalico-go/lib/errors"
	"github.com/projectcalico/calico/libcalico-go/lib/names"
)

// objects is what Felix's syncer would report of a cluster.
type objects struct {
	updates  []bapi.Update
	hosts    map[string]bool // with endpoints
	tiers    map[string]bool // by name
	pods     map[string]*corev1.Pod
	nodeOf   map[netip.Addr]string
	problems []problem
}

// A head is what all objects begin with.
type head struct {
	metav1.TypeMeta `json:",inline"`
	Metadata        metav1.ObjectMeta `json:"metadata"`
}

func (h head) String() string {
	return h.Kind + " " + strings.TrimPrefix(h.Metadata.Namespace+"/"+h.Metadata.Name, "/")
}

// A reader takes one kind of object; it reports what is wrong with it to the objects.
type reader func(all *objects, of head, raw json.RawMessage)

// The tiers that Calico makes by itself.
var ownTiers = []struct {
	name   string
	order  float64
	action api.Action
}{
	{names.DefaultTierName, api.DefaultTierOrder, api.Deny},
	{names.AdminNetworkPolicyTierName, api.AdminNetworkPolicyTierOrder, api.Pass},
	{names.BaselineAdminNetworkPolicyTierName, api.BaselineAdminNetworkPolicyTierOrder, api.Pass},
}

func readObjects(raw []json.RawMessage) *objects {
	all := &objects{
		hosts:    map[string]bool{},
		tiers:    map[string]bool{},
		pods:     map[string]*corev1.Pod{},
		nodeOf:   map[netip.Addr]string{},
		problems: []problem{},
	}
	heads := make([]head, len(raw))
	for i, one := range raw {
		if err := json.Unmarshal(one, &heads[i]); err != nil {
			all.refuse(heads[i], err, false)
		} else if heads[i].Kind == api.KindTier {
			all.tiers[heads[i].Metadata.Name] = true
		}
	}
	for _, own := range ownTiers {
		if !all.tiers[own.name] {
			all.addTier(own.name, own.order, own.action)
		}
	}
	for i, one := range raw {
		if read := readers[kindOf(heads[i])]; read != nil {
			read(all, heads[i], one)
		} else {
			all.refuse(heads[i], fmt.Errorf("%s is not read here", kindOf(heads[i])), false)
		}
	}
	return all
}

// kindOf is how readers has a kind. Calico's own have two API groups: that of its API server, and
// that of the custom resources in which this one keeps them.
func kindOf(of head) string {
	group, _, _ := strings.Cut(of.APIVersion, "/")
	if group == "projectcalico.org" || group == "crd.projectcalico.org" {
		return "calico " + of.Kind
	}
	return of.APIVersion + " " + of.Kind
}

func (all *objects) addTier(name string, order float64, action api.Action) {
	all.tiers[name] = true
	all.add(head{}, updates.NewTierUpdateProcessor(), &model.KVPair{
		Key: model.ResourceKey{Kind: api.KindTier, Name: name},
		Value: &api.Tier{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			Spec:       api.TierSpec{Order: &order, DefaultAction: &action},
		},
	})
}

// add hands one resource on, through the processor that its kind has.
func (all *objects) add(of head, processor watchersyncer.SyncerUpdateProcessor, pair *model.KVPair) {
	pairs := []*model.KVPair{pair}
	if processor != nil {
		var err error
		if pairs, err = processor.Process(pair); err != nil {
			all.refuse(of, err, false)
		}
	}
	for _, one := range pairs {
		if key, ok := one.Key.(model.WorkloadEndpointKey); ok {
			all.hosts[key.Hostname] = true
		}
		if one.Value != nil {
			all.updates = append(all.updates, bapi.Update{KVPair: *one, UpdateType: bapi.UpdateTypeKVNew})
		}
	}
}

// refuse reports an object that is not taken or, where it is applied, not whole.
func (all *objects) refuse(of head, err error, applied bool) {
	text := err.Error()
	var invalid cerrors.ErrorValidation
	if errors.As(err, &invalid) {
		// Its own text prints values, some of them pointers.
		fields := make([]string, len(invalid.ErroredFields))
		for i, field := range invalid.ErroredFields {
			fields[i] = strings.TrimSuffix(field.Name+": "+field.Reason, ": ")
		}
		text = strings.Join(fields, "; ")
	}
	all.problems = append(all.problems, problem{of.String(), text, applied})
}
