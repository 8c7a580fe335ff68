package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"strings"

	api "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	kresources "github.com/projectcalico/calico/libcalico-go/lib/backend/k8s/resources"
	"github.com/projectcalico/calico/libcalico-go/lib/backend/model"
	updates "github.com/projectcalico/calico/libcalico-go/lib/backend/syncersv1/updateprocessors"
	"github.com/projectcalico/calico/libcalico-go/lib/backend/watchersyncer"
	cerrors "github.com/projectcalico/calico/libcalico-go/lib/errors"
	"github.com/projectcalico/calico/libcalico-go/lib/names"
	"github.com/projectcalico/calico/libcalico-go/lib/resources"
	validator "github.com/projectcalico/calico/libcalico-go/lib/validator/v3"
)

var readers = map[string]reader{
	"calico Tier":                          calico[api.Tier](updates.NewTierUpdateProcessor),
	"calico NetworkPolicy":                 calico[api.NetworkPolicy](updates.NewNetworkPolicyUpdateProcessor),
	"calico GlobalNetworkPolicy":           calico[api.GlobalNetworkPolicy](updates.NewGlobalNetworkPolicyUpdateProcessor),
	"calico StagedNetworkPolicy":           calico[api.StagedNetworkPolicy](updates.NewStagedNetworkPolicyUpdateProcessor),
	"calico StagedGlobalNetworkPolicy":     calico[api.StagedGlobalNetworkPolicy](updates.NewStagedGlobalNetworkPolicyUpdateProcessor),
	"calico StagedKubernetesNetworkPolicy": calico[api.StagedKubernetesNetworkPolicy](updates.NewStagedKubernetesNetworkPolicyUpdateProcessor),
	"calico NetworkSet":                    calico[api.NetworkSet](updates.NewNetworkSetUpdateProcessor),
	"calico GlobalNetworkSet":              calico[api.GlobalNetworkSet](updates.NewGlobalNetworkSetUpdateProcessor),
	"calico HostEndpoint":                  calico[api.HostEndpoint](updates.NewHostEndpointUpdateProcessor),
}

func init() { maps.Copy(readers, kubernetesReaders) }

// calico reads a kind of Calico's own. What comes as projectcalico.org/v3 is treated as Calico's
// API server does on create: defaults, validation, the name's prefix; what fails is not created.
// With the custom resources of crd.projectcalico.org nobody does that: they go on to the validation
// in Felix.
func calico[T any](processor func() watchersyncer.SyncerUpdateProcessor) reader {
	return func(all *objects, of head, raw json.RawMessage) {
		one, created := new(T), strings.HasPrefix(of.APIVersion, "projectcalico.org/")
		strict := json.NewDecoder(bytes.NewReader(raw))
		strict.DisallowUnknownFields()
		if err := strict.Decode(one); err != nil {
			all.refuse(of, err, false)
			return
		}
		problems := []error{}
		if tier, ok := any(one).(*api.Tier); ok {
			resources.DefaultTierFields(tier)
		}
		if !created { // real labels and names are in an annotation
			problems = append(problems, kresources.ConvertK8sResourceToCalicoResource(any(one).(kresources.Resource)))
		}
		name := any(one).(metav1.Object).GetName()
		if policy, ok := tiered(one); ok {
			problems = append(problems, all.checkTier(name, policy.tier))
			if created {
				name = names.TieredPolicyName(name)
				policy.defaultTypes()
			}
		}
		refused := false
		for _, err := range append(problems, validator.Validate(one)) {
			if err != nil {
				all.refuse(of, err, !created)
				refused = true
			}
		}
		if !refused || !created {
			key := model.ResourceKey{Kind: of.Kind, Namespace: of.Metadata.Namespace, Name: name}
			all.add(of, processor(), &model.KVPair{Key: key, Value: one})
		}
	}
}

// A tieredPolicy is what the kinds of policies that are in a tier have in common.
type tieredPolicy struct {
	tier            string
	types           *[]api.PolicyType
	ingress, egress []api.Rule
}

func tiered(object any) (tieredPolicy, bool) {
	switch one := object.(type) {
	case *api.NetworkPolicy:
		return tieredPolicy{one.Spec.Tier, &one.Spec.Types, one.Spec.Ingress, one.Spec.Egress}, true
	case *api.GlobalNetworkPolicy:
		return tieredPolicy{one.Spec.Tier, &one.Spec.Types, one.Spec.Ingress, one.Spec.Egress}, true
	case *api.StagedNetworkPolicy:
		return tieredPolicy{one.Spec.Tier, &one.Spec.Types, one.Spec.Ingress, one.Spec.Egress}, true
	case *api.StagedGlobalNetworkPolicy:
		return tieredPolicy{one.Spec.Tier, &one.Spec.Types, one.Spec.Ingress, one.Spec.Egress}, true
	}
	return tieredPolicy{}, false
}

// defaultTypes fills in the directions that a policy does not name, as Calico's client does (there
// in a function that is not exported).
func (p tieredPolicy) defaultTypes() {
	if len(*p.types) > 0 {
		return
	}
	if len(p.ingress) > 0 || len(p.egress) == 0 {
		*p.types = append(*p.types, api.PolicyTypeIngress)
	}
	if len(p.egress) > 0 {
		*p.types = append(*p.types, api.PolicyTypeEgress)
	}
}

// checkTier says what is wrong with the tier of a policy, and with its name, of which a tier's
// name is a part.
func (all *objects) checkTier(name, tier string) error {
	tier = names.TierOrDefault(tier)
	var missing error
	if !all.tiers[tier] {
		missing = cerrors.ErrorResourceDoesNotExist{
			Identifier: model.ResourceKey{Kind: api.KindTier, Name: tier},
			Err:        errors.New("not among the objects"),
		}
	}
	return errors.Join(missing, names.ValidateTieredPolicyName(name, tier))
}
