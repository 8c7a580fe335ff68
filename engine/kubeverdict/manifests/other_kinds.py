"""Kinds that are not read: those on which no verdict depends, and those on which one may.

Literal tables by API group and kind. What is in none of them is reported as not known.
"""

from __future__ import annotations

from kubeverdict.manifests.policies import POLICIES, policy_gap
from kubeverdict.manifests.resources import Resource
from kubeverdict.model.unevaluated import Gap

# Every kind of these groups.
_IRRELEVANT_GROUPS = frozenset(
    {
        "acme.cert-manager.io",
        "admissionregistration.k8s.io",
        "apiextensions.k8s.io",
        "apiregistration.k8s.io",
        "authentication.k8s.io",
        "authorization.k8s.io",
        "autoscaling",
        "autoscaling.k8s.io",
        "bitnami.com",
        "cert-manager.io",
        "certificates.k8s.io",
        "coordination.k8s.io",
        "discovery.k8s.io",
        "events.k8s.io",
        "external-secrets.io",
        "flowcontrol.apiserver.k8s.io",
        "gateway.networking.k8s.io",
        "keda.sh",
        "metrics.k8s.io",
        "node.k8s.io",
        "policy",
        "rbac.authorization.k8s.io",
        "resource.k8s.io",
        "route.openshift.io",
        "scheduling.k8s.io",
        "secrets-store.csi.x-k8s.io",
        "security.openshift.io",
        "snapshot.storage.k8s.io",
        "storage.k8s.io",
        "storagemigration.k8s.io",
        "telemetry.istio.io",
        "traefik.io",
        "user.openshift.io",
        "wgpolicyk8s.io",
    }
)
_IRRELEVANT_KINDS: dict[str, tuple[str, ...]] = {
    "": (
        "Binding",
        "ComponentStatus",
        "ConfigMap",
        "Event",
        "LimitRange",
        "PersistentVolume",
        "PersistentVolumeClaim",
        "PodTemplate",
        "ResourceQuota",
        "Secret",
        "ServiceAccount",
    ),
    "apps": ("ControllerRevision",),
    "argoproj.io": (
        "AnalysisTemplate",
        "AppProject",
        "ClusterAnalysisTemplate",
        "ClusterWorkflowTemplate",
        "WorkflowTemplate",
    ),
    "cilium.io": (
        "CiliumBGPAdvertisement",
        "CiliumBGPClusterConfig",
        "CiliumBGPNodeConfig",
        "CiliumBGPPeerConfig",
        "CiliumBGPPeeringPolicy",
        "CiliumEgressGatewayPolicy",
        "CiliumEndpoint",
        "CiliumEndpointSlice",
        "CiliumIdentity",
        "CiliumL2AnnouncementPolicy",
        "CiliumLoadBalancerIPPool",
        "CiliumNode",
        "CiliumNodeConfig",
        "CiliumPodIPPool",
    ),
    "extensions": ("Ingress",),
    "k8s.ovn.org": ("AdminPolicyBasedExternalRoute", "EgressIP", "EgressQoS", "EgressService"),
    "monitoring.coreos.com": (
        "AlertmanagerConfig",
        "PodMonitor",
        "Probe",
        "PrometheusRule",
        "ScrapeConfig",
        "ServiceMonitor",
    ),
    "networking.istio.io": (
        "DestinationRule",
        "EnvoyFilter",
        "Gateway",
        "ProxyConfig",
        "ServiceEntry",
        "VirtualService",
        "WorkloadEntry",
        "WorkloadGroup",
    ),
    "networking.k8s.aws": ("ClusterPolicyEndpoint", "PolicyEndpoint"),
    "networking.k8s.io": ("IPAddress", "Ingress", "IngressClass", "ServiceCIDR"),
    **dict.fromkeys(
        ("projectcalico.org", "crd.projectcalico.org"),
        (
            "BGPConfiguration",
            "BGPFilter",
            "BGPPeer",
            "BlockAffinity",
            "CalicoNodeStatus",
            "ClusterInformation",
            "FelixConfiguration",
            "IPAMBlock",
            "IPAMConfig",
            "IPAMConfiguration",
            "IPAMHandle",
            "IPPool",
            "IPReservation",
            "KubeControllersConfiguration",
        ),
    ),
}

# Operators' kinds that become pods by what the operator's code says, not by a template.
_MAKES_PODS: dict[str, tuple[str, ...]] = {
    "argoproj.io": ("AnalysisRun", "CronWorkflow", "Workflow"),
    "cassandra.datastax.com": ("CassandraDatacenter",),
    "clickhouse.altinity.com": ("ClickHouseInstallation",),
    "databases.spotahome.com": ("RedisFailover",),
    "elasticsearch.k8s.elastic.co": ("Elasticsearch",),
    "flink.apache.org": ("FlinkDeployment", "FlinkSessionJob"),
    "jaegertracing.io": ("Jaeger",),
    "kafka.strimzi.io": (
        "Kafka",
        "KafkaBridge",
        "KafkaConnect",
        "KafkaMirrorMaker",
        "KafkaMirrorMaker2",
        "KafkaNodePool",
    ),
    "keycloak.org": ("Keycloak",),
    "k8s.keycloak.org": ("Keycloak",),
    "kibana.k8s.elastic.co": ("Kibana",),
    "minio.min.io": ("Tenant",),
    "monitoring.coreos.com": ("Alertmanager", "Prometheus", "PrometheusAgent", "ThanosRuler"),
    "mysql.oracle.com": ("InnoDBCluster",),
    "mongodbcommunity.mongodb.com": ("MongoDBCommunity",),
    "opentelemetry.io": ("OpenTelemetryCollector",),
    "postgres-operator.crunchydata.com": ("PostgresCluster",),
    "postgresql.cnpg.io": ("Cluster", "Pooler"),
    "acid.zalan.do": ("postgresql",),
    "rabbitmq.com": ("RabbitmqCluster",),
    "sparkoperator.k8s.io": ("ScheduledSparkApplication", "SparkApplication"),
    "tekton.dev": ("PipelineRun", "Run", "TaskRun"),
    "vault.banzaicloud.com": ("Vault",),
}
_CHANGES_PODS: dict[str, tuple[str, ...]] = {
    "apps.kruise.io": ("SidecarSet", "WorkloadSpread"),
    "kyverno.io": ("ClusterPolicy", "Policy"),
    "mutations.gatekeeper.sh": ("Assign", "AssignMetadata", "ModifySet"),
    "opentelemetry.io": ("Instrumentation",),
}


def _by_resource(table: dict[str, tuple[str, ...]], gap: Gap | None) -> dict[Resource, Gap | None]:
    return {(group, kind): gap for group, kinds in table.items() for kind in kinds}


_GAPS: dict[Resource, Gap | None] = {
    **_by_resource(_IRRELEVANT_KINDS, None),
    **_by_resource(_MAKES_PODS, Gap.PODS),
    **_by_resource(_CHANGES_PODS, Gap.POD_CHANGES),
}


def gap_of(group: str, kind: str) -> Gap | None:
    """What verdicts miss without an object of a kind that is not read; None for nothing."""
    if (group, kind) in _GAPS:
        return _GAPS[group, kind]
    found = policy_gap(group, kind)
    if found is not None or (group, kind) in POLICIES:
        return found
    return None if group in _IRRELEVANT_GROUPS else Gap.NOT_READ


def is_known(group: str, kind: str) -> bool:
    """Whether anything is known of a kind that is not read."""
    return gap_of(group, kind) is not Gap.NOT_READ
