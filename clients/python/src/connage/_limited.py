"""What connections with a limit have in common, sync and asyncio: nothing here waits."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Callable, ClassVar

from ._keywords import NAMES
from ._lifetime import Counters, Greeting, Lifetime, Policy, Stats

if TYPE_CHECKING:
    from ._renewal import Renewal

# What it mixes in with has few types, and not the same ones in each version of redis-py.
_Base: Any = object

_HOLDS, _LETS_GO, _LOGS_IN = range(3)
_WORDS: dict[Any, int] = {
    form: meaning
    for meaning, words in (
        (_HOLDS, ("WATCH", "MULTI")),
        (_LETS_GO, ("EXEC", "DISCARD", "UNWATCH", "RESET")),
        (_LOGS_IN, ("AUTH", "HELLO")),
    )
    for word in words
    for form in (word, word.lower(), word.encode(), word.lower().encode())
}


class Limited(_Base):
    """Settings, counters, and whether a connection is held by somebody."""

    connage_policy: ClassVar[Policy] = Policy()
    connage_counters: ClassVar[Counters] = Counters()

    _pubsub: ClassVar[type]

    def __init__(self, *args: Any, maxage_counters: Counters | None = None, **kwargs: Any) -> None:
        own = {name: kwargs.pop(name) for name in NAMES if name in kwargs}
        self._connage_error: Exception | None = None
        policy = self.connage_policy
        try:
            policy = policy.but(**own)
        except Exception as error:
            # Said when it is to connect: a pool would lose a place for it here, at each try.
            self._connage_error = error
        self.connage_life = Lifetime(policy, maxage_counters or self.connage_counters)
        self.connage_is_idle = False
        self.connage_uses = 0
        self.connage_renewal: Renewal | None = None
        self._greeting: Greeting | None = None
        self._is_handed_out = False
        self._is_in_transaction = False
        connect_func = kwargs.get("redis_connect_func")
        if connect_func is not None:
            kwargs["redis_connect_func"] = self._greeting_after(connect_func)
        super().__init__(*args, **kwargs)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "connage_counters" not in cls.__dict__:
            cls.connage_counters = Counters()

    @staticmethod
    def _greeting_after(connect_func: Callable[[Any], Any]) -> Callable[[Any], Any]:
        raise NotImplementedError

    @classmethod
    def connage_stats(cls) -> Stats:
        """What happened to the connections of this class that no connage pool counts."""
        return cls.connage_counters.stats()

    @classmethod
    def connage_retire_all(cls) -> None:
        """Retires the connections of this class that no connage pool counts, each before its
        next use."""
        cls.connage_counters.retire_all()

    def _refuse_bad_settings(self) -> None:
        if self._connage_error is not None:
            raise self._connage_error

    def _handing_out(self) -> bool:
        """Whether it is handed out now; else somebody connects what is in use."""
        self._refuse_bad_settings()
        self._is_handed_out = False
        return not self._is_held()

    def _handed_out(self) -> None:
        self.connage_life.used()
        self._is_handed_out = not self._is_in_transaction

    def _is_held(self) -> bool:
        """Whether a transaction is under way, or a PubSub keeps it, which connects whenever it
        reads. An application's own connect callback does not hold it."""
        if self._is_in_transaction:
            return True
        owners = [getattr(callback(), "__self__", None) for callback in self._connect_callbacks]
        return any(isinstance(owner, self._pubsub) for owner in owners)

    def _first_use_is_due(self) -> bool:
        """At each command: whether it is the first of a use, and its limit was reached since the
        connection was handed out; a busy thread may have waited long for its turn."""
        # Whoever sends, be it to log in again, uses it: no look at idle ones may close it.
        self.connage_is_idle = False
        if not self._is_handed_out:
            return False
        self._is_handed_out = False
        return self.connage_life.is_due() and not self._is_held()

    def _is_unguarded(self) -> bool:
        """Whether redis-py's pools don't look for unread replies before they hand it out: those
        of redis-py 8 don't while they expect maintenance notifications."""
        config = getattr(self, "maint_notifications_config", None)
        return bool(config is not None and config.enabled)

    def _is_forked(self) -> bool:
        """Whether the socket is a parent's, which is not to be shut down here."""
        return bool(getattr(self, "pid", None) not in (None, os.getpid()))

    def _note(self, word: Any) -> None:
        """A command is on its way: what it means for later uses."""
        meaning = _WORDS.get(word) if isinstance(word, (str, bytes)) else None
        if meaning is None or self._greeting is not None:
            return
        if meaning == _LOGS_IN:
            self.connage_life.logged_in()
        else:
            self._is_in_transaction = meaning == _HOLDS

    def pack_commands(self, commands: Any) -> Any:
        commands = list(commands)
        packed = super().pack_commands(commands)
        for command in commands:
            self._note(command[0])
        return packed


def with_limit(parent: Any, *own: Any) -> Any:
    """A class like its parent, with settings, in the order of :data:`NAMES`, and counters of its
    own."""
    policy = parent.connage_policy.but(**dict(zip(NAMES, own)))
    attributes = {"connage_policy": policy, "connage_counters": Counters()}
    return type(parent.__name__, (parent,), attributes)


class Counterparts:
    """Which class here goes with which of redis-py's."""

    def __init__(self, mixin: type, *classes: Any) -> None:
        self._mixin = mixin
        self._known = {limited.__bases__[1]: limited for limited in classes}

    def age_limited(self, connection_class: Any) -> Any:
        """The class with a limit to its age; itself if it has one already."""
        if issubclass(connection_class, Limited):
            return connection_class
        known = self._known.get(connection_class)
        return known or type(connection_class.__name__, (self._mixin, connection_class), {})
