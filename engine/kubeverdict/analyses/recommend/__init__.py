"""Least-privilege policies from traffic that was seen, and the proof of what they do.

In: a cluster and its :class:`~kubeverdict.analyses.traffic.Traffic`. Out: :class:`Draft` policies
with the flows that led to each rule (:mod:`drafts`), which :mod:`kubeverdict.render.policies`
writes as YAML; and, of the policies that were read back from that text, what they block and what
they permit beyond what was seen (:mod:`proof`, :mod:`permits`).

Decided: pods are distinguished by as few labels as possible that every replica has and nothing else
(:mod:`groups`); where no labels do, workloads share one policy, so that none is isolated by the
rules of another. A rule is for peers that use exactly the same ports: nothing is permitted because
two rules were written as one. What a profile lets through anyway (a pod's own node) gets no rule:
traffic is judged under nothing but isolation first, and only what that denies needs one. What
another tier denies gets none, as it would open nothing (:mod:`evidence`); what another tier allows
gets one, because a workload that is isolated must not depend on a policy of another team.

Rejected: one policy a connection (nobody reads them), labels by what most pods have (the others
lose their connections), and isolating a direction in which a workload was merely silent.
"""

from __future__ import annotations

from kubeverdict.analyses.recommend.drafts import (
    DraftOptions,
    DraftPolicy,
    Recommendation,
    recommend,
)

__all__ = ["DraftOptions", "DraftPolicy", "Recommendation", "recommend"]
