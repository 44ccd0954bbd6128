"""Keys, passwords and certificates. Nothing here knows what is signed or sealed, only for which purpose."""
