"""Device profiles: one TOML file per device, written from a measurement or a data sheet."""
