"""Who is meant by a command that logs in."""

from typing import TYPE_CHECKING

from dhtchat.app.paths import last_login
from dhtchat.errors import BadUsage
from dhtchat.ids import Login, parse_login

if TYPE_CHECKING:
    from dhtchat.app.settings import Settings


def who_logs_in(settings: "Settings", name: str | None) -> tuple[Login, str]:
    """Who logs in, and in which profile's folder."""
    if name is None:
        last = last_login(settings.data_dir, settings.parameters)
        if last is None or (settings.profile and settings.profile != last[0]):
            raise BadUsage("who are you?", hint="Name a user: dhtchat join NAME. New here? Add --register.")
        return parse_login(last[1]), last[0]
    login = parse_login(name)
    return login, settings.profile or login.name
