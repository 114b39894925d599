"""CMSN: temporal action proposals from video or features, in JAX.

video -> frames -> features -> stages -> proposals -> scores -> NMS -> AR@AN
"""
