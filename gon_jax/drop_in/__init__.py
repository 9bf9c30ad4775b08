"""Layers for networks of your own, in place of JAX's and Flax's: equal to them, and differentiated twice fast on CPUs.

`functions` are for plain JAX and Equinox, `linen` and `nnx` have Flax's layers.
"""
