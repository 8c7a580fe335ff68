"""Questions that people ask of a cluster, one module each; each answers with a frozen report.

In: compiled clusters and the words of the question. Out: report values. Nothing here prints or
reads files; :mod:`kubeverdict.render` turns reports into text.

Decided:

* The engine judges and the model explains. Verdicts come from :mod:`kubeverdict.evaluate` alone;
  which condition of a rule failed is read from the model in plain Python, because it is asked for
  a handful of pods and has to use the words of the manifest.
* Connections are between workloads. Where the pods of one get different verdicts, the pair of
  workloads is cut into blocks of pods that agree, for that pair only; nothing is averaged.

Rejected: one grouping of pods for a whole report. A single odd rule would then tear a workload
apart in every line of it.
"""
