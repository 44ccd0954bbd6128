"""Notifications of the desktop, where the extra `notify` is installed and there is a desktop."""

import html
import logging
import sys
from typing import Any


class Desktop:
    def __init__(self, *, platform: str = sys.platform) -> None:
        self._is_xdg = not platform.startswith(("win", "darwin"))
        self._notifier: Any = None

    async def show(self, title: str, text: str) -> None:
        """Both are cleaned. Without a desktop nothing happens: the library says so in its log, which nobody is shown."""
        if self._notifier is None:
            try:
                from desktop_notifier import DesktopNotifier
            except ImportError:
                return
            logging.getLogger("desktop_notifier").setLevel(logging.CRITICAL)
            self._notifier = DesktopNotifier(app_name="dhtchat", app_icon=None)
        # The specification of freedesktop.org lets a body have markup, links among it: what others say has none.
        await self._notifier.send(title=title, message=html.escape(text, quote=False) if self._is_xdg else text)
