"""The CNIs' own programs beside our agent: the same API server, the same policies and pods.

In: a control plane with a large cluster as objects, of which one node exists. Out: how long changes
take from the API server's answer to the wire, what a restart does, what each program costs, and
traffic through what it wrote. :mod:`site` has the control plane, :mod:`agents` the programs,
:mod:`pulses` the packets that show what is in force; :mod:`alone` measures one program after the
other, :mod:`together` traffic through all of them in turns.
"""
