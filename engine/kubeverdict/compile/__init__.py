"""From a model cluster to frozen arrays.

In: :class:`kubeverdict.model.cluster.Cluster` and a CNI profile. Out:
:class:`kubeverdict.compile.compiled.CompiledPolicy`, which every evaluation and the node agent
read. :mod:`kubeverdict.compile.compiler` lists the stages in order.

Decided:

* Everything past label interning is numbered by *identity*, pods and addresses in one space, so
  the cost of a question depends on the number of distinct rules and identities, not on pods.
* Isolation is itself a rule: Deny from and to everything, after the others of its tier. So there
  is one evaluation order and one place where a verdict is decided.
* Address families share one set of arrays unless an ipBlock or a single-stack pod distinguishes
  them; then there is one *plane* for each family.
* What a CNI does differently is rewritten into plain rules before compilation
  (:mod:`kubeverdict.compile.dialect`), so that the kernels know nothing of it.

Rejected: a matrix identity x identity x port (gigabytes, and it cannot name the deciding rule);
sets over pods rather than identities (seven times longer on an ordinary large cluster).
"""
