"""How much others may have us do: token buckets. Pure, time is an argument."""

from collections import OrderedDict

from dhtchat.dht.diversity import Network
from dhtchat.limits import NETWORK_BUDGETS_MAX


class Budget:
    """A token bucket: `burst` at once, then `per_s` a second."""

    def __init__(self, burst: int, per_s: float) -> None:
        self._burst = burst
        self._per_s = per_s
        self._tokens = float(burst)
        self._at_s = 0.0

    def take(self, now_s: float) -> bool:
        self._tokens = min(self._burst, self._tokens + (now_s - self._at_s) * self._per_s)
        self._at_s = now_s
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class NetworkBudgets:
    """A bucket for each network of addresses, see `diversity.py`. Who was not heard for longest is forgotten first."""

    def __init__(self, burst: int, per_s: float) -> None:
        self._burst = burst
        self._per_s = per_s
        self._budgets: OrderedDict[Network, Budget] = OrderedDict()

    def __len__(self) -> int:
        return len(self._budgets)

    def take(self, network: Network | None, now_s: float) -> bool:
        """Always for None, a network that is not limited."""
        if network is None:
            return True
        budget = self._budgets.get(network)
        if budget is None:
            budget = self._budgets[network] = Budget(self._burst, self._per_s)
            if len(self._budgets) > NETWORK_BUDGETS_MAX:
                self._budgets.popitem(last=False)
        else:
            self._budgets.move_to_end(network)
        return budget.take(now_s)
