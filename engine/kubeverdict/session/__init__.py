"""A run of questions over one cluster.

From scenarios to reports, here or on workers, and the files it keeps.
"""
