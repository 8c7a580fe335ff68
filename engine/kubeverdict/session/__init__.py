"""A cluster that takes changes and answers questions, and runs of many scenarios over it.

:mod:`~kubeverdict.session.session` keeps it compiled while changes come; the other modules go from
scenarios to reports, here or on workers, and read and write the files that runs keep.
"""
