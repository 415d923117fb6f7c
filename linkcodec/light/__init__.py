"""The compact codec as it runs in a call: numpy, and neither torch nor a compiler.

Two builds of each version: the full one from the float16 weights that training exports, and
the light one, half the size, with matrices of 8 bits. Frames of one are frames of the other.
"""
