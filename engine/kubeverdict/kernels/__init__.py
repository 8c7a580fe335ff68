"""The only compiled code: functions over arrays that know no domain type.

In: numpy arrays and named tuples of them. Out: arrays. A kernel is written as plain Python and
runs as such on small input; :mod:`kubeverdict.kernels.jit`, the one place that knows numba,
compiles it when the work is worth the 0.3 s that importing numba costs.

Rejected: ``parallel=True``. Large parallel kernels take seconds to compile and tens of
milliseconds to load from the cache; the kernels release the GIL instead, and the caller hands
ranges of rows to threads.
"""
