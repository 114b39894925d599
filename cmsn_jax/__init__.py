"""CMSN: temporal action proposals from video or features, in JAX.

video -> frames -> features -> stages -> candidates -> scores -> suppression
      -> proposals -> AR@AN
"""

__version__ = '0.1.0'
