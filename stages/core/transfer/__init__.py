"""Transfer of an encoder to labels: linear, fine-tuned and from scratch.

May import every other package of core. Begin with `finetune.py`.
"""
