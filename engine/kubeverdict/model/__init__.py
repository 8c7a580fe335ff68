"""What a cluster and a policy are. Values only: no numpy, no input or output.

In: what :mod:`kubeverdict.manifests` read. Out: frozen records for :mod:`kubeverdict.compile`
and the analyses. Records are msgspec structs rather than dataclasses because a large cluster
makes a hundred thousand of them: they are created several times faster and, without cycles
inside, can be left out of garbage collection.

Glossary, one word for one thing in all of kubeverdict:

* **end**: what a connection begins or ends at: a pod, an address, or a Service that stands for
  its backends.
* **plane**: the compiled rules of one address family, or of both where no rule distinguishes them.
* **identity**: a set of ends of one plane that no rule distinguishes; numbers of pods come first,
  then those of addresses.
* **class**: the same seen from one node: a set of remote ends that no rule of a pod on this node
  distinguishes.
* **atom**: a range that no rule cuts: a *port atom* is a set of ports over all protocols, an
  *address atom* an interval of addresses.
* **row**: one rule in compiled form: the set of its subjects, the set of its peers, its ports, its
  tier and its action. A row of the reachability matrix is who reaches one group of destinations.
* **rule id**: the place of a rule among those of a compiled cluster; a verdict names it, or a
  *reason* below zero where no rule decided.
* **peer**, **subject**: the other end that a rule names, and the pods that a policy applies to.
* **isolated**: selected, in one direction, by a policy whose tier denies what no rule matched.
* **tier**: a set of policies that is evaluated as one step; tiers come one after the other until
  one decides.
* **action**: what a matching rule does: Allow and Deny decide the direction, Pass leaves it to the
  next tier.
* **layer**: a sequence of tiers of its own (the network plug-in's, a service mesh's); a connection
  is allowed when every layer allows it.
* **bounds**: what is allowed at most and at least where rules count on a condition; a connection
  between the two is *conditional*.
* **profile**: how one network plug-in (CNI) differs from the API's text, as data.
* **source**: where a cluster comes from (files, a snapshot, an API server), or, of a rule or
  object, the file and line that it was read from.
* **edit**: the description of one change to a cluster: objects taken out, objects put in.
* **scenario**: a named list of changes as a user writes it; it becomes an edit.
* **overlay**: what edits add to a compiled cluster, so that it is not compiled again.
* **candidate**: a policy or pod of a scenario that the cluster does not have, compiled into the
  overlay.
* **position**: a set of ends that is never divided: pods of one namespace with the same labels and
  ports, an address atom, or a host. An identity is one position or several that no rule
  distinguishes; overlays keep positions, since a candidate may distinguish them.
* **workbench**: a compiled cluster with its overlay, prepared for judging many scenarios.
* **session**: a cluster compiled once and kept, with its overlay, to which edits are applied and
  questions put.
* **snapshot**: a compiled cluster as a file.
"""
