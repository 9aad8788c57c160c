"""Plans for a battery: pure data, made by a pure function of prices, forecast, telemetry and settings."""
