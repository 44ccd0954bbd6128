"""The full screen. Translates keys to intents and events to pictures; decides nothing."""
