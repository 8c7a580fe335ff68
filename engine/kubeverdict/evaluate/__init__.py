"""Running kernels over compiled policies.

In: :class:`kubeverdict.compile.compiled.CompiledPolicy`, and arrays that ask. Out: arrays and
small records that answer: flows to verdicts and deciding rules, all pairs to counts and rows of
the reachability matrix, two compiled clusters to what changed between them.

Decided: work is handed to threads in slices of rows, over kernels that release the GIL; small
work stays in the calling thread, and in plain Python where numba is not worth importing.
"""
