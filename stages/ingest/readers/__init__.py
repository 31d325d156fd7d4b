"""One file per kind of source: ``entries(source, ingest)`` lists it, ``load(handle)`` fetches one
image, in any process.
"""
