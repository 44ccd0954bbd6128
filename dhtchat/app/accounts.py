"""Register, log in, change the password: the account record, the replicas that hold it, and the user's password."""

from typing import NamedTuple

from dhtchat.crypto.identity import SigningKey
from dhtchat.crypto.password import check_policy
from dhtchat.dht.node import ClaimReading, DhtNode
from dhtchat.errors import NameTaken, NoSuchAccount, TooFewAnswered
from dhtchat.ids import Login, PeerId, fingerprint
from dhtchat.parameters import NetworkParameters
from dhtchat.records.account import Account, account_key, create_account, seal_account, unlock_account
from dhtchat.records.envelope import Signed
from dhtchat.runtime import Runtime


class LoggedIn(NamedTuple):
    """An unlocked account. `contested`: replicas disagree about who owns the name."""

    name: str
    identity: SigningKey
    account: Signed[Account]
    owns_name: bool
    contested: bool

    @property
    def peer(self) -> PeerId:
        return PeerId(self.identity.public)


async def register(
    dht: DhtNode, name: str, password: str, *, parameters: NetworkParameters, runtime: Runtime
) -> LoggedIn:
    """Create an account. `name` is folded. Raises `WeakPassword`, `NameTaken` or `NetworkTrouble`."""
    await runtime.run_blocking(lambda: check_policy(password, name=name))
    # Looking first spares somebody whose name is taken a second of work.
    _refuse_if_owned(name, await dht.read_claims(account_key(name)))

    def make() -> tuple[Signed[Account], SigningKey]:
        return create_account(name, password, parameters=parameters, source=runtime.random, now_s=runtime.clock.wall())

    account, identity = await runtime.run_blocking(make)
    reading = await dht.claim(account)
    if reading.owner is None:
        raise TooFewAnswered(f"too few nodes answered to register {name}")
    if reading.owner.key != identity.public:
        _refuse_if_owned(name, reading)
    return LoggedIn(name, identity, account, owns_name=True, contested=reading.decision.contested)


def _refuse_if_owned(name: str, reading: ClaimReading) -> None:
    if reading.owner is not None:
        raise NameTaken(f"the name {name} is taken")


async def log_in(
    dht: DhtNode, login: Login, password: str, *, parameters: NetworkParameters, runtime: Runtime
) -> LoggedIn:
    """Fetch and open an account. Raises `NoSuchAccount`, `WrongPassword` or `NetworkTrouble`."""
    reading = await dht.read_claims(account_key(login.name))
    account = _choose(reading, login)
    if account is None:
        if not reading.decision.certain:
            raise TooFewAnswered(f"too few nodes answered to find the account {login.name}")
        shown = f"{login.name}#{login.fingerprint}" if login.fingerprint else login.name
        raise NoSuchAccount(f"there is no account {shown} on the network '{parameters.name}'")
    identity = await runtime.run_blocking(lambda: unlock_account(account, password, parameters=parameters))
    return LoggedIn(
        login.name,
        identity,
        account,
        owns_name=reading.owner is not None and reading.owner.key == account.key,
        contested=reading.decision.contested,
    )


def _choose(reading: ClaimReading, login: Login) -> Signed[Account] | None:
    """The owner's record, or the one with the fingerprint the user named."""
    records = [record for record in reading.records if isinstance(record.body, Account)]
    for record in records:
        if login.fingerprint and fingerprint(record.key) == login.fingerprint:
            return record
    owner = reading.owner
    if login.fingerprint or owner is None or not isinstance(owner.body, Account):
        return None
    return owner


async def change_password(
    dht: DhtNode,
    login: Login,
    old: str,
    new: str,
    *,
    parameters: NetworkParameters,
    runtime: Runtime,
) -> LoggedIn:
    """Seal the same identity under a new password. Raises as `log_in` does, and `WeakPassword`."""
    current = await log_in(dht, login, old, parameters=parameters, runtime=runtime)
    await runtime.run_blocking(lambda: check_policy(new, name=login.name))

    def make() -> Signed[Account]:
        before = current.account.body
        return seal_account(
            login.name,
            new,
            current.identity,
            nonce=before.nonce,
            created_at_s=before.created_at_s,
            sequence=before.sequence + 1,
            parameters=parameters,
            source=runtime.random,
        )

    account = await runtime.run_blocking(make)
    report = await dht.put(account)
    if 2 * report.stored <= report.asked:
        raise TooFewAnswered(
            f"only {report.stored} of {report.asked} nodes took the new password",
            hint="Run 'dhtchat passwd' again: until most have it, the old password may still be needed.",
        )
    return current._replace(account=account)
