"""What addresses mean, and where a Service leads.

In: a :class:`~kubeverdict.model.cluster.Cluster`. Out: for an address and a port the Service
behind them, for a Service and a port its backends, each a pod or an address, with the port that
is asked for there. Every verb and the agent ask here, so that an address has one meaning.

Decided:

* A connection to an address of a Service is one to its backends. Which backend is chosen is not
  known: each is judged.
* The backends of a Service with a selector follow from the pods, also where the input has slices of
  it: they stay right when a change is tried. Slices that its controller does not keep come on top;
  those that it keeps say which pods are ready, and are used where the input has none of the pods.
* Endpoints objects count where the input has no slice of the Service.
* Indexes are made when something is looked up. Questions that involve no Service cost nothing.
"""

from kubeverdict.services.backends import Backend, target_port
from kubeverdict.services.resolver import Choice, Client, Frontend, ServiceResolver, Via

__all__ = ["Backend", "Choice", "Client", "Frontend", "ServiceResolver", "Via", "target_port"]
