"""Times as people and scripts read them."""

import datetime


def rfc3339(unix_ms: int) -> str:
    """`2026-01-31T12:00:00.123Z`: RFC 3339, in UTC, to the millisecond."""
    moment = datetime.datetime.fromtimestamp(unix_ms / 1000, tz=datetime.UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
