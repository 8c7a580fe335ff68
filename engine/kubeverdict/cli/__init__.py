"""The command line: arguments to calls, one file a verb.

Data goes to standard output, notes and warnings to standard error. Exit status: 0 clean, 1
findings (a denial that was asked about, a difference), 2 wrong usage or input. What a command
does not need is not imported, so that ``--help`` and small questions are answered at once.
"""
