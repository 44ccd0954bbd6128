"""`register` and `passwd`: in, done, out."""

from typing import TYPE_CHECKING

from dhtchat.app import accounts
from dhtchat.app.client import visiting_node
from dhtchat.chat.events import PasswordChanged, Registered
from dhtchat.cli.output import Output
from dhtchat.cli.passwords import PasswordOptions, StandardInput, read_new_password, read_password_change
from dhtchat.cli.running import run_until_done
from dhtchat.crypto.password import check_policy
from dhtchat.ids import fingerprint, fold_name, parse_login
from dhtchat.runtime import real_runtime

if TYPE_CHECKING:
    from dhtchat.app.settings import Settings


def register(settings: "Settings", name: str, options: PasswordOptions, *, json: bool) -> int:
    folded = fold_name(name)
    password = read_new_password(folded, options, StandardInput())
    check_policy(password, name=folded)  # before anybody is asked: a bad password needs no network to be refused
    output = Output(json=json, user=folded)

    async def work() -> int:
        runtime = real_runtime()
        async with visiting_node(settings, runtime) as dht:
            account = await accounts.register(dht, folded, password, parameters=settings.parameters, runtime=runtime)
        output.show(Registered(user=account.name, fingerprint=fingerprint(account.peer)))
        return 0

    return run_until_done(work())


def passwd(settings: "Settings", name: str, options: PasswordOptions, *, json: bool) -> int:
    login = parse_login(name)
    old, new = read_password_change(login.name, options, StandardInput())
    check_policy(new, name=login.name)
    output = Output(json=json, user=login.name)

    async def work() -> int:
        runtime = real_runtime()
        async with visiting_node(settings, runtime) as dht:
            account = await accounts.change_password(
                dht, login, old, new, parameters=settings.parameters, runtime=runtime
            )
        output.show(PasswordChanged(user=account.name, fingerprint=fingerprint(account.peer)))
        return 0

    return run_until_done(work())
