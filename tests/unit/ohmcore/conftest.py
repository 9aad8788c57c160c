"""Property tests judge what comes out, never how fast: the machines that run them are busy."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile("ohmcore", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ohmcore")
