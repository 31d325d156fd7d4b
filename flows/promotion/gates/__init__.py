"""Named checks a version must pass to become champion: one file each, found by its file name.

A gate module has a docstring that says what it checks and ``check(evidence, threshold) ->
Verdict``. Which gates are on, and with what threshold, stands in params.yaml under
``promote.gates``.
"""
