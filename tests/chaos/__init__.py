"""Fault campaigns: seeded, counted, repeatable."""
