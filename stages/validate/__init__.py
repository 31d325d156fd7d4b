"""Validate: the gate every data version passes before anything is learnt from it."""
