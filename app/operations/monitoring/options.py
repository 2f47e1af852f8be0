"""What the topics can be told and from when on something is wrong; apart, so that a command's help loads no driver."""

from typing import Literal

CROWDED = 80.0
"""Per cent of max_connections above which something is wrong: the rest goes in a burst."""

LONG_WAIT = 30.0
"""Seconds after which a wait for a lock is wrong."""

LONG_TRANSACTION = 300.0
"""Seconds after which an open transaction is wrong: it holds locks, and vacuum leaves all that it may still see."""

Order = Literal["total", "mean", "calls"]
"""By what statements are ordered."""

Level = Literal["debug", "info", "notice", "log", "warning", "error", "fatal", "panic"]
"""Severities, from what matters least to what matters most; the server's own order for its log has LOG above ERROR."""

Topic = Literal["status", "activity", "pools", "locks", "tables", "indexes", "slow", "cache", "sizes", "bloat", "logs"]
"""What can be watched."""
