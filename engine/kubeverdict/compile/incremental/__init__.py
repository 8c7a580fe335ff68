"""A compiled cluster that takes changes at the cost of what they touch.

The compiled form is small: a megabyte or two, of which most is a few numbers for each pod. What
makes compiling slow is to find it. So a change finds what it needs of its own objects only, and
patches the arrays: a new policy adds sets and rows, a new pod one element to the arrays of ends.
The result is a :class:`~kubeverdict.compile.compiled.CompiledPolicy` like any other, which all
questions read as they read a freshly compiled one; it has more identities than it needs where
policies went, and sets that no row uses, until the cluster is compiled anew.

Pods are kept by *position*: those of one namespace with the same labels and named ports that lie
in the same address blocks, whatever policies ask. An identity is one or more positions, and is
split where a new set holds some of them.
"""
