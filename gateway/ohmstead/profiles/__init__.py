"""Device models: data from `shared/profiles`, and what turns registers into values by them."""
