"""Images: decoding, stores, preprocessing, backbones and views.

May import `data` and below. Begin with `pixel_store.py`.
"""
