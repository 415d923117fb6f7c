"""Where speech coding and transport meet: configuration, simulator, command line."""
