"""The face for shells, scripts and screen readers: commands and line mode."""
