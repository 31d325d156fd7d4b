"""Views: batched augmentation on any device, every image with its own draw, one geometric warp per
view.
"""
