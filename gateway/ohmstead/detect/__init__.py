"""What there is in a home's network: who answers, what it is, and what to write into `ohmstead.yaml` for it."""
