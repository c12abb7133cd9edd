"""Buffers and the sampling schemes that draw from them: f(d, t) of the paper."""
