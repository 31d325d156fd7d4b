"""Pretrain: learn an encoder from unlabelled images, and beside it the simplest objective as a
control.
"""
