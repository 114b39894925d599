"""The paper's chain: runs of stages, pre-score x PES, Soft-NMS; two phases."""
