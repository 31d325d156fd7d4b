"""Metrics of a classifier's answers, named by ``promote.gates.metric``: one file each.

A member defines ``score(labels, predicted, classes)``, which takes true and predicted class numbers
(n,) and the number of classes, and returns a number from 0 to 1, where more is better.
"""
