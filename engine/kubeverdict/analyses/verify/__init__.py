"""Assertions about reachability: do they hold, and if not, which connections break them.

In: a compiled cluster and :class:`~kubeverdict.model.assertions.Assertions`. Out: a
:class:`~kubeverdict.analyses.verify.report.Verification` with every violation and the rules that
decide it.

Decided:

* An end is resolved once to a set of pods and addresses, and from there to identities. All
  assertions are checked against a row of the reachability matrix while it is there
  (:mod:`kubeverdict.evaluate.checks`); only rows that break one are looked at closely.
* An end that matches nothing is an error of the assertion: it would hold whatever policies say.
* For pods that do not exist yet, label sets are reasoned out (:mod:`.classes`): one pod for each
  way in which the selectors of policies can distinguish new pods. Those pods are then judged by the
  engine like any other, so that there is one place where rules have a meaning.

Rejected: pairs of pods (fifty thousand squared); a solver for the labels (a set of selectors
that a new pod can meet is found by going through the keys one by one, and the engine has to
judge what is found anyway).
"""
