"""Kinds that make pods from templates: where the templates are, and what a controller adds.

One literal table by API group and kind. The kinds of Kubernetes itself have a decoder of their
own, see :mod:`kubeverdict.manifests.loading`; here are only the labels of their pods.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import prod
from typing import Any, NamedTuple

from kubeverdict.manifests.resources import Resource, group_of, kind_name
from kubeverdict.model.sources import FieldPath

EACH = "*"
"""In a path: every item of a list, or every entry of a map."""

Path = tuple[str, ...]


class TemplatePlace(NamedTuple):
    """Pod templates of a kind: at ``path`` of the object, as many pods as the product of the
    numbers at ``replicas`` (1 where one is absent).

    ``labels`` are those that the controller writes, with ``{name}``, ``{namespace}`` and
    ``{part}`` (the name of what ``EACH`` stands for) filled in. ``unknown`` are labels of which
    only the keys are known before the pods run. ``ports`` are those of a container that is added.
    Where the object has something at ``but_one``, one pod of each group is made from that.
    """

    path: Path
    replicas: tuple[Path, ...] = (("spec", "replicas"),)
    labels: Mapping[str, str] = {}
    unknown: tuple[str, ...] = ()
    ports: tuple[int, ...] = ()
    but_one: Path = ()


_PLAIN = ("spec", "template")
_JOB = (*_PLAIN, "spec", "template")
_JOB_UNKNOWN = (
    "batch.kubernetes.io/controller-uid",
    "batch.kubernetes.io/job-name",
    "controller-uid",
    "job-name",
)

# Beside ordinals and names of Jobs, which are known.
UNKNOWN_LABELS: dict[str, tuple[str, ...]] = {
    "Deployment": ("pod-template-hash",),
    "StatefulSet": ("controller-revision-hash",),
    "DaemonSet": ("controller-revision-hash", "pod-template-generation"),
    "Job": ("batch.kubernetes.io/controller-uid", "controller-uid"),
    "CronJob": _JOB_UNKNOWN,
}

_ROLLOUT = ("argoproj.io", "Rollout")
_KRUISE = "apps.kruise.io"
_KNATIVE = "serving.knative.dev"
# Traffic arrives at the first three of these, and not to the port that the user names.
_QUEUE_PROXY = (8012, 8013, 8112, 8022, 9090, 9091)
_KNATIVE_UNKNOWN = (
    "app",
    *(
        f"{_KNATIVE}/{name}"
        for name in (
            "configuration",
            "configurationGeneration",
            "configurationUID",
            "revision",
            "revisionUID",
            "service",
            "serviceUID",
        )
    ),
)
_KUBEVIRT_LABELS = {"kubevirt.io": "virt-launcher"}
_KUBEVIRT_UNKNOWN = ("kubevirt.io/created-by", "vmi.kubevirt.io/id")
_VM = TemplatePlace(
    _PLAIN, (), {**_KUBEVIRT_LABELS, "vm.kubevirt.io/name": "{name}"}, _KUBEVIRT_UNKNOWN
)
_LWS = "leaderworkerset.sigs.k8s.io"
_LWS_UNKNOWN = tuple(
    f"{_LWS}/{name}" for name in ("group-index", "group-key", "template-revision-hash")
)
_JOBSET = "jobset.sigs.k8s.io"
_JOBSET_UNKNOWN = (
    *(
        f"{_JOBSET}/{name}"
        for name in (
            "global-replicas",
            "group-name",
            "job-global-index",
            "job-index",
            "job-key",
            "jobset-uid",
            "replicatedjob-replicas",
        )
    ),
    *_JOB_UNKNOWN,
)
_VOLCANO_LABELS = {
    "volcano.sh/job-name": "{name}",
    "volcano.sh/job-namespace": "{namespace}",
    "volcano.sh/task-spec": "{part}",
}
_VOLCANO_UNKNOWN = ("volcano.sh/queue-name", "volcano.sh/task-index")


def _ray(*at: str, cluster: str = "") -> tuple[TemplatePlace, ...]:
    """The head and the workers of a Ray cluster whose spec is at a path. The name of a cluster
    that another object makes is not known."""
    labels = {"ray.io/is-ray-node": "yes", **({"ray.io/cluster": cluster} if cluster else {})}
    unknown: tuple[str, ...] = (
        "app.kubernetes.io/created-by",
        "app.kubernetes.io/name",
        "ray.io/identifier",
    )
    if not cluster:
        unknown += ("ray.io/cluster",)
    workers = (*at, "workerGroupSpecs", EACH)
    return (
        TemplatePlace(
            (*at, "headGroupSpec", "template"),
            (),
            {**labels, "ray.io/node-type": "head"},
            (*unknown, "ray.io/group"),
        ),
        TemplatePlace(
            (*workers, "template"),
            ((*workers, "replicas"),),
            {**labels, "ray.io/node-type": "worker", "ray.io/group": "{part}"},
            unknown,
        ),
    )


def _united(kind: str) -> TemplatePlace:
    path = ("spec", "template", f"{kind}Template", "spec", "template")
    return TemplatePlace(path, unknown=("apps.kruise.io/subset-name",))


def _kubeflow(framework: str) -> tuple[TemplatePlace, ...]:
    roles = ("spec", f"{framework}ReplicaSpecs", EACH)
    return (TemplatePlace((*roles, "template"), ((*roles, "replicas"),)),)


TEMPLATES: dict[Resource, tuple[TemplatePlace, ...]] = {
    ("apps.openshift.io", "DeploymentConfig"): (
        TemplatePlace(_PLAIN, labels={"deploymentconfig": "{name}"}, unknown=("deployment",)),
    ),
    # Argo
    _ROLLOUT: (TemplatePlace(_PLAIN, unknown=("rollouts-pod-template-hash",)),),
    ("argoproj.io", "Experiment"): (
        TemplatePlace(
            ("spec", "templates", EACH, "template"),
            (("spec", "templates", EACH, "replicas"),),
            unknown=("rollouts-pod-template-hash",),
        ),
    ),
    # OpenKruise
    (_KRUISE, "CloneSet"): (
        TemplatePlace(
            _PLAIN, unknown=("apps.kruise.io/cloneset-instance-id", "controller-revision-hash")
        ),
    ),
    (_KRUISE, "StatefulSet"): (TemplatePlace(_PLAIN),),
    (_KRUISE, "DaemonSet"): (TemplatePlace(_PLAIN, ()),),
    (_KRUISE, "BroadcastJob"): (TemplatePlace(_PLAIN, ()),),
    (_KRUISE, "AdvancedCronJob"): (
        TemplatePlace(
            ("spec", "template", "jobTemplate", "spec", "template"), (), {}, _JOB_UNKNOWN
        ),
        TemplatePlace(("spec", "template", "broadcastJobTemplate", "spec", "template"), ()),
    ),
    (_KRUISE, "UnitedDeployment"): tuple(
        map(_united, ("statefulSet", "advancedStatefulSet", "cloneSet", "deployment"))
    ),
    # Knative
    (_KNATIVE, "Service"): (
        TemplatePlace(
            _PLAIN,
            (),
            {f"{_KNATIVE}/service": "{name}", f"{_KNATIVE}/configuration": "{name}"},
            _KNATIVE_UNKNOWN,
            _QUEUE_PROXY,
        ),
    ),
    (_KNATIVE, "Configuration"): (
        TemplatePlace(
            _PLAIN, (), {f"{_KNATIVE}/configuration": "{name}"}, _KNATIVE_UNKNOWN, _QUEUE_PROXY
        ),
    ),
    (_KNATIVE, "Revision"): (
        TemplatePlace((), (), {f"{_KNATIVE}/revision": "{name}"}, _KNATIVE_UNKNOWN, _QUEUE_PROXY),
    ),
    # KubeVirt: the ports of the guest are none of the container's.
    ("kubevirt.io", "VirtualMachine"): (_VM,),
    ("kubevirt.io", "VirtualMachineInstance"): (_VM._replace(path=()),),
    ("kubevirt.io", "VirtualMachineInstanceReplicaSet"): (
        TemplatePlace(
            _PLAIN,
            labels=_KUBEVIRT_LABELS,
            unknown=("vm.kubevirt.io/name", *_KUBEVIRT_UNKNOWN),
        ),
    ),
    # Groups of pods and Jobs
    ("leaderworkerset.x-k8s.io", "LeaderWorkerSet"): (
        TemplatePlace(
            ("spec", "leaderWorkerTemplate", "leaderTemplate"),
            labels={f"{_LWS}/name": "{name}", f"{_LWS}/worker-index": "0"},
            unknown=_LWS_UNKNOWN,
        ),
        TemplatePlace(
            ("spec", "leaderWorkerTemplate", "workerTemplate"),
            (("spec", "replicas"), ("spec", "leaderWorkerTemplate", "size")),
            {f"{_LWS}/name": "{name}"},
            (f"{_LWS}/worker-index", *_LWS_UNKNOWN),
            but_one=("spec", "leaderWorkerTemplate", "leaderTemplate"),
        ),
    ),
    ("jobset.x-k8s.io", "JobSet"): (
        TemplatePlace(
            ("spec", "replicatedJobs", EACH, *_JOB[1:]),
            (
                ("spec", "replicatedJobs", EACH, "replicas"),
                ("spec", "replicatedJobs", EACH, *_JOB[1:-1], "parallelism"),
            ),
            {f"{_JOBSET}/jobset-name": "{name}", f"{_JOBSET}/replicatedjob-name": "{part}"},
            _JOBSET_UNKNOWN,
        ),
    ),
    ("batch.volcano.sh", "Job"): (
        TemplatePlace(
            ("spec", "tasks", EACH, "template"),
            (("spec", "tasks", EACH, "replicas"),),
            _VOLCANO_LABELS,
            _VOLCANO_UNKNOWN,
        ),
    ),
    ("batch.volcano.sh", "CronJob"): (
        TemplatePlace(
            ("spec", "jobTemplate", "spec", "tasks", EACH, "template"),
            (("spec", "jobTemplate", "spec", "tasks", EACH, "replicas"),),
            {key: text for key, text in _VOLCANO_LABELS.items() if text != "{name}"},
            ("volcano.sh/job-name", *_VOLCANO_UNKNOWN),
        ),
    ),
    # Ray and Kubeflow
    ("ray.io", "RayCluster"): _ray("spec", cluster="{name}"),
    ("ray.io", "RayJob"): (
        *_ray("spec", "rayClusterSpec"),
        TemplatePlace(("spec", "submitterPodTemplate"), ()),
    ),
    ("ray.io", "RayService"): _ray("spec", "rayClusterConfig"),
    ("kubeflow.org", "PyTorchJob"): _kubeflow("pytorch"),
    ("kubeflow.org", "TFJob"): _kubeflow("tf"),
    ("kubeflow.org", "MPIJob"): _kubeflow("mpi"),
}


class FoundTemplate(NamedTuple):
    """A pod template in an object: where it is, what ``EACH`` stood for, and how many pods.

    ``of`` are the kind and name of another workload whose template is meant.
    """

    path: FieldPath
    part: str
    template: dict[str, Any]
    replicas: int
    scaled: bool
    row: TemplatePlace
    of: tuple[str, str] | None = None


def found_in(resource: Resource, value: Any) -> list[FoundTemplate]:
    """The pod templates of an object: at the places that the table has for its kind, or, where
    the kind is not known, whatever looks like one."""
    rows = TEMPLATES.get(resource)
    if rows is None:
        return _looking_so(value)
    found = [one for row in rows for one in _templates_at(value, row)]
    if not found and resource == _ROLLOUT:
        found = list(_referenced(value, rows[0]))
    return found


def _referenced(value: Any, row: TemplatePlace) -> Iterator[FoundTemplate]:
    """The template that a Rollout takes from another workload."""
    spec = value.get("spec")
    reference = spec.get("workloadRef") if isinstance(spec, dict) else None
    if not isinstance(reference, dict):
        return
    version, kind, name = (reference.get(key) for key in ("apiVersion", "kind", "name"))
    if isinstance(version, str) and isinstance(kind, str) and isinstance(name, str):
        replicas = _number(value, ("spec", "replicas"), ())
        of = (kind_name(group_of(version), kind), name)
        count = 1 if replicas is None else replicas
        yield FoundTemplate(("spec", "workloadRef"), "", {}, count, replicas is not None, row, of)


def _templates_at(value: Any, row: TemplatePlace) -> Iterator[FoundTemplate]:
    """The templates that a row of the table finds in an object."""
    for path, part, template in _walk(value, row.path, (), ""):
        if not isinstance(template, dict):
            continue
        given = [_number(value, wanted, path) for wanted in row.replicas]
        factors = [1 if number is None else number for number in given]
        if row.but_one and any(_walk(value, row.but_one, (), "")):
            factors[-1] -= 1
        replicas = prod(factors)
        scaled = any(number is not None for number in given)
        yield FoundTemplate(path, part, template, replicas, scaled, row)


def _walk(
    value: Any, path: Path, done: FieldPath, part: str
) -> Iterator[tuple[FieldPath, str, Any]]:
    if not path:
        yield done, part, value
        return
    step, *rest = path
    if step != EACH:
        if isinstance(value, dict) and step in value:
            yield from _walk(value[step], tuple(rest), (*done, step), part)
        return
    entries: list[tuple[str | int, Any]] = []
    if isinstance(value, dict):
        entries = list(value.items())
    elif isinstance(value, list):
        entries = list(enumerate(value))
    for key, entry in entries:
        name = entry.get("name") or entry.get("groupName") if isinstance(entry, dict) else None
        inner = name if isinstance(name, str) else str(key)
        yield from _walk(entry, tuple(rest), (*done, key), inner)


def _number(value: Any, wanted: Path, at: FieldPath) -> int | None:
    """The number at a path, which takes the same entries as the template at ``at``."""
    for place, step in enumerate(wanted):
        key = at[place] if step == EACH else step
        if isinstance(value, dict):
            value = value.get(key)
        elif isinstance(value, list) and isinstance(key, int):
            value = value[key]
        else:
            return None
    return value if isinstance(value, int) and not isinstance(value, bool) else None


_ANY = TemplatePlace(())


def _looking_so(value: Any) -> list[FoundTemplate]:
    """What looks like a pod template in the spec of an object of an unknown kind: a map with a
    ``spec`` that has a list of containers with names."""
    found = list(_shaped(value.get("spec"), ("spec",), value))
    replicas = _number(value, ("spec", "replicas"), ())
    if len(found) == 1 and not found[0].scaled and replicas is not None:
        found = [found[0]._replace(replicas=replicas, scaled=True)]
    return found


def _shaped(value: Any, path: FieldPath, around: Any) -> Iterator[FoundTemplate]:
    if isinstance(value, list):
        for number, entry in enumerate(value):
            yield from _shaped(entry, (*path, number), value)
    if not isinstance(value, dict):
        return
    if path[-1] == "spec" and _has_containers(value) and isinstance(around, dict):
        names = [str(step) for step in path[1:-1] if step not in ("spec", "template")]
        yield FoundTemplate(path[:-1], "-".join(names).lower(), around, 1, False, _ANY)
        return
    for key, entry in value.items():
        for one in _shaped(entry, (*path, key), value):
            given = value.get("replicas")
            if isinstance(given, int) and one.path == (*path, key):
                one = one._replace(replicas=given, scaled=True)
            yield one


def _has_containers(spec: dict[str, Any]) -> bool:
    containers = spec.get("containers")
    return (
        isinstance(containers, list)
        and bool(containers)
        and all(isinstance(one, dict) and isinstance(one.get("name"), str) for one in containers)
    )
