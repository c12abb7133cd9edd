"""A policy for machines without this package: ONNX, StableHLO, NumPy and C, with a contract."""
