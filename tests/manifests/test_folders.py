"""Folders: which files are read, what is passed over, and what has to be rendered first."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from kubeverdict.errors import InputError
from kubeverdict.manifests import Loaded, load
from kubeverdict.manifests.folders import HIDDEN, IGNORED, PACKAGES, SPECIAL

POD = "{apiVersion: v1, kind: Pod, metadata: {name: %s, labels: {app: web}}}"
TEMPLATE = """\
# a policy
{{- if .Values.policy.enabled }}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: {{ include "c.fullname" . }}
spec:
  podSelector:
    matchLabels: {{- include "c.labels" . | nindent 6 }}
  ingress:
    - from:
        - podSelector:
            matchLabels:
              {{- toYaml .Values.labels | nindent 14 }}
{{- end }}
"""


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_yaml", ".yaml")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def pods(*paths: Path) -> list[str]:
    return [pod.name for pod in load([str(path) for path in paths]).cluster.pods]


def errors(*paths: Path) -> list[str]:
    with pytest.raises(InputError) as caught:
        load([str(path) for path in paths])
    return [str(problem) for problem in caught.value.problems]


def passed_over(loaded: Loaded, folder: Path) -> dict[str, list[str]]:
    return {
        reason: [os.path.relpath(path, folder) for path in paths]
        for reason, paths in loaded.passed_over.items()
    }


# --- passed over -------------------------------------------------------------------------------


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    if shutil.which("git") is None:
        pytest.skip("there is no git")
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    (tmp_path / ".gitignore").write_text("build/\n*.dump.yaml\n!kept.dump.yaml\n")
    write(tmp_path, a_yaml=POD % "a", build__big_yaml=POD % "built", below__b_yaml=POD % "b")
    (tmp_path / "x.dump.yaml").write_text(POD % "dumped")
    (tmp_path / "kept.dump.yaml").write_text(POD % "kept")
    return tmp_path


def test_what_git_ignores_is_passed_over_and_said(checkout: Path) -> None:
    loaded = load([str(checkout)])
    assert [pod.name for pod in loaded.cluster.pods] == ["a", "kept", "b"]
    assert passed_over(loaded, checkout) == {IGNORED: ["build", "x.dump.yaml"]}


def test_what_is_named_is_read_though_git_ignores_it(checkout: Path) -> None:
    assert pods(checkout / "x.dump.yaml") == ["dumped"]
    assert pods(checkout / "build") == ["built"]
    assert pods(checkout / "below") == ["b"]


def test_files_that_git_knows_are_read(checkout: Path) -> None:
    subprocess.run(["git", "-C", checkout, "add", "-f", "x.dump.yaml"], check=True)
    assert pods(checkout) == ["a", "kept", "dumped", "b"]


def test_without_git_everything_is_read(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(checkout))
    assert sorted(pods(checkout)) == ["a", "b", "built", "dumped", "kept"]


def test_variables_of_a_hook_are_about_another_checkout(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    assert pods(checkout) == ["a", "kept", "b"]


def test_hidden_and_packages_are_passed_over_and_said(tmp_path: Path) -> None:
    write(
        tmp_path,
        a_yaml=POD % "a",
        node_modules__m__b_yaml="not: [yaml",
    )
    for name in (".terraform/x.yaml", ".git/y.yaml", ".z.yaml"):
        write(tmp_path, **{name.replace("/", "__").replace(".yaml", "_yaml"): "not: [yaml"})
    loaded = load([str(tmp_path)])
    assert [pod.name for pod in loaded.cluster.pods] == ["a"]
    assert passed_over(loaded, tmp_path) == {
        HIDDEN: [".terraform", ".z.yaml"],
        PACKAGES: ["node_modules"],
    }


def test_a_pipe_in_a_folder_is_not_waited_for(tmp_path: Path) -> None:
    write(tmp_path, a_yaml=POD % "a")
    os.mkfifo(tmp_path / "b.yaml")
    loaded = load([str(tmp_path)])
    assert passed_over(loaded, tmp_path) == {SPECIAL: ["b.yaml"]}


def test_a_folder_of_nothing_else_says_what_was_passed_over(tmp_path: Path) -> None:
    write(tmp_path, node_modules__a_yaml=POD % "a")
    (problem,) = errors(tmp_path)
    assert problem.endswith(f"; passed over: {tmp_path}/node_modules (packages)")


# --- Helm --------------------------------------------------------------------------------------


@pytest.fixture
def chart(tmp_path: Path) -> Path:
    chart = tmp_path / "charts-of-ours" / "web"
    write(
        chart,
        Chart_yaml="name: web",
        values_yaml="port: 80",
        templates__np_yaml=TEMPLATE,
        templates__more__np2_yaml=TEMPLATE,
        templates__plain_yaml=POD % "plain",
        charts__sub__Chart_yaml="name: sub",
        charts__sub__templates__np_yaml=TEMPLATE,
        crds__crd_yaml=POD % "crd",
    )
    return chart


def test_a_chart_is_one_error(chart: Path) -> None:
    message = (
        f"{chart}/charts/sub/templates/np.yaml:2: is a template of the Helm chart {chart}, as are "
        f"2 more of its files: helm template {chart} | kubeverdict … -f -"
    )
    assert errors(chart) == [message]
    assert errors(chart.parent.parent) == [message]


def test_a_part_of_a_chart_is_known_as_one(chart: Path) -> None:
    render = f"helm template {chart} | kubeverdict … -f -"
    for path in (chart / "templates", chart / "templates/np.yaml", chart / "charts/sub"):
        (problem,) = errors(path)
        assert problem.startswith(str(chart))
        assert problem.endswith(render)


def test_without_a_chart_what_is_beside_it_is_left(chart: Path) -> None:
    write(chart.parent.parent, a_yaml=POD % "a")
    loaded = load([str(chart.parent.parent)], skip_invalid=True)
    assert [pod.name for pod in loaded.cluster.pods] == ["a", "crd"]
    assert len(loaded.skipped) == 1


def test_a_chart_without_actions_is_read(tmp_path: Path) -> None:
    write(tmp_path, Chart_yaml="name: web", templates__plain_yaml=POD % "plain")
    assert pods(tmp_path) == ["plain"]


# --- other templates ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (TEMPLATE, 2),
        (f"{POD % 'a'}\n---\n{TEMPLATE}---\n{TEMPLATE}", 4),
        ("kind: Pod\nmetadata: {name: {{ name }}, labels: {{ labels }}}\n", 2),
        ("kind: Pod\n{% if x %}\nmetadata: {name: a}\n{% endif %}\n", 2),
        ("kind: Pod\nmetadata:\n  name: {{ name | default('}') }}-x\n", 3),
    ],
)
def test_a_template_is_one_error(tmp_path: Path, text: str, line: int) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(text)
    expected = f"{path}:{line}: is a template, not a manifest: render it first"
    assert errors(path) == [expected]
    assert errors(tmp_path) == [expected]


def test_a_template_of_something_else_in_a_manifest_is_none(tmp_path: Path) -> None:
    config = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata:\n  t: |\n    {{ x }}\n"
    write(tmp_path, a_yaml=f"{config}---\n{POD % 'a'}\n")
    assert pods(tmp_path) == ["a"]
    write(tmp_path, a_yaml=f"{config}---\na: [\n")
    (problem,) = errors(tmp_path)
    assert "not YAML" in problem


def test_an_action_in_quotes_is_no_name(tmp_path: Path) -> None:
    for field, text in (
        ("name", 'name: "{{ .n }}"'),
        ("namespace", 'name: a, namespace: "{{ .n }}"'),
        ("labels", 'name: a, labels: {app: "{{ .n }}"}'),
    ):
        write(tmp_path, a_yaml=f"{{apiVersion: v1, kind: Pod, metadata: {{{text}}}}}")
        (problem,) = errors(tmp_path)
        assert f"metadata.{field}: holds the action of a template: render it first" in problem


# --- Kustomize ---------------------------------------------------------------------------------


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    write(
        tmp_path,
        base__kustomization_yaml="resources: [pod.yaml]\nimages: [{name: a, newTag: b}]\n",
        base__pod_yaml=POD % "web",
        overlays__prod__kustomization_yaml="resources: [../../base]\n\npatches: [{path: p.yaml}]\n",
        overlays__prod__p_yaml=POD % "web",
        overlays__test__Kustomization="namePrefix: test-\nresources: [../../base]\n",
    )
    return tmp_path


def test_a_kustomization_that_changes_nothing_is_read_as_files(tree: Path) -> None:
    assert pods(tree / "base") == ["web"]
    write(tree, kustomization_yaml="resources: [base, more]", more__x_yaml=POD % "x")
    shutil.rmtree(tree / "overlays")
    assert pods(tree) == ["web", "x"]


def test_kustomizations_that_change_something_are_one_error(tree: Path) -> None:
    assert errors(tree) == [
        f"{tree}/overlays/prod/kustomization.yaml:3: this kustomization changes what its files say "
        f"(patches), and so do those in {tree}/overlays/test: kustomize build {tree}/overlays/prod "
        "| kubeverdict … -f -"
    ]
    assert errors(tree / "overlays/test") == [
        f"{tree}/overlays/test/Kustomization:1: this kustomization changes what its files say "
        f"(namePrefix): kustomize build {tree}/overlays/test | kubeverdict … -f -"
    ]


def test_no_patch_is_read_in_place_of_an_object(tree: Path) -> None:
    loaded = load([str(tree)], skip_invalid=True)
    assert [pod.name for pod in loaded.cluster.pods] == ["web"]
    (skipped,) = loaded.skipped
    assert skipped.file == f"{tree}/overlays/prod/kustomization.yaml"


@pytest.mark.parametrize("entry", ["../base", "https://github.com/a/b?ref=1", "pod"])
def test_resources_from_elsewhere_have_to_be_built(tree: Path, entry: str) -> None:
    write(tree, one__kustomization_yaml=f"resources:\n- {entry}\n", one__pod=POD % "a")
    (problem,) = errors(tree / "one")
    assert "one/kustomization.yaml:2: this kustomization changes what its files say" in problem
    assert f"it takes {entry} from elsewhere" in problem


def test_a_kustomization_that_is_named_is_no_manifest(tree: Path) -> None:
    path = tree / "base/kustomization.yaml"
    build = f"kustomize build {tree}/base | kubeverdict … -f -"
    assert errors(path) == [f"{path}:1: is a kustomization, not a manifest: {build}"]


def test_an_object_of_another_api_of_this_name_is_an_object(tmp_path: Path) -> None:
    flux = "{apiVersion: kustomize.toolkit.fluxcd.io/v1, kind: Kustomization, metadata: {name: a}}"
    write(tmp_path, kustomization_yaml=flux, a_yaml=POD % "a")
    assert pods(tmp_path) == ["a"]


def test_a_kustomization_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    write(tmp_path, kustomization_yaml="resources: [", a_yaml=POD % "a")
    (problem,) = errors(tmp_path)
    assert "not YAML" in problem
