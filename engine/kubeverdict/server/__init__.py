"""A page in the browser on which policies are edited, and which shows what each edit does.

In: a session. Out: a server on the loopback address, for the user of this machine alone. It only
reads: nothing that is asked of it changes the cluster, a file, or the session. Drafts are judged
and forgotten.

:mod:`~kubeverdict.server.workspace` answers questions and knows nothing of HTTP;
:mod:`~kubeverdict.server.drafts` judges drafts in stages; :mod:`~kubeverdict.server.app` is the
HTTP API, :mod:`~kubeverdict.server.typing_socket` what an editor is connected to while one types;
:mod:`~kubeverdict.server.guard` decides who is answered at all. ``page/`` holds the sources of the
page, and below ``page/dist`` what esbuild made of them, which is what is served: no node is needed
to run it.

Decided: a WebSocket for drafts, since a keystroke must overtake the one before it. Rejected:
server-sent events, which would need a second channel for that.
"""
