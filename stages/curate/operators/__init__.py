"""One file per operator: ``Settings`` and ``apply(curation, settings) → numbers to report``."""
