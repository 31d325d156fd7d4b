"""Ingest: from sources of images to one manifest and one pixel store."""
