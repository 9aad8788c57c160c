"""Moving in: an `ohmstead.yaml` from what the former services were configured with, each of their keys accounted for."""
