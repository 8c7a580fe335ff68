"""Many scenarios against one cluster.

Batches of policy changes, of pod changes, and anything else by compiling anew.
"""
