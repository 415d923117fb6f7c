"""The embedded codec: small, trained by this project, shipped with the package."""
