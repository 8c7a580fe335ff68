"""Benchmarks: clusters to measure on, the measurements, and what they are held to.

In: a shape's name, a size and a seed. Out: clusters (as model values, or as the text that
``kubectl get -o json`` or ``-o yaml`` would write) and tables of figures against targets.

Decided: each shape is described once, in model values, and one renderer writes any cluster as
Kubernetes objects, so that benchmarks with and without parsing work on the same cluster. Clusters
follow from the seed alone. Figures are reported with their targets, and a target that is missed
fails nothing. Rejected: timed tests, because a shared machine would make them fail at random; files
with generated clusters in the repository, because they are large and the generator is small.
"""
