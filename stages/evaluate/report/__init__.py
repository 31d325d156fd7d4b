"""The evaluation report: one self-contained page.

Begin with `page.py`.
"""
