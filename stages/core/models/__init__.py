"""Networks: what stands on top of a backbone."""
