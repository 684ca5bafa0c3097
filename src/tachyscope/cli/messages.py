"""What is said to the person, on standard error; results go to standard output or files."""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from tachyscope.errors import OutputError, TachyscopeError
from tachyscope.formats.escape import printable
from tachyscope.formats.words import counted

if TYPE_CHECKING:
    from tachyscope.profile.model import Accuracy, Pauses, Profile


MANY_STOPS_NS = 100_000
MANY_SPARED = 0.01
MISSED_MUCH = 0.1
"""Of the ticks. Missed ones are no random choice: they come in the milliseconds in which others have the CPU."""
FAILURES = (TachyscopeError, KeyboardInterrupt, BrokenPipeError)
"""What ends a command early and is no bug: something the user can change, Ctrl-C, a reader that has had enough."""


@contextmanager
def standard_output() -> Iterator[TextIO]:
    """Yield standard output for results, and flush it; raises `OutputError` or `BrokenPipeError`."""
    try:
        yield sys.stdout
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError("standard output cannot be written", os.strerror(error.errno or errno.EIO)) from None


def say(text: str) -> None:
    """Write one line to standard error; if nobody listens there, go on."""
    line = text if text.isprintable() else printable(text)
    with suppress(OSError):
        print(f"tachyscope: {line}", file=sys.stderr, flush=True)


def say_if(text: str | None) -> None:
    """Say it, if there is something to say."""
    if text is not None:
        say(text)


def say_failure(error: BaseException) -> int:
    """Say what went wrong, and return the exit status. The only place where an error becomes a status."""
    if isinstance(error, KeyboardInterrupt):
        return 128 + signal.SIGINT
    if isinstance(error, BrokenPipeError):  # whoever read our output has had enough
        return 128 + signal.SIGPIPE
    say(str(error))
    return error.exit_status if isinstance(error, TachyscopeError) else 1


def say_how_it_reads(pid: int, by_file: bool) -> None:
    """Say once that sampling is slower than it could be, and who knows what to do."""
    if by_file:
        say(f"process_vm_readv is refused, so /proc/{pid}/mem is read, which is slower: see tachyscope doctor {pid}")


def say_result(profile: Profile, path: Path | None, processes: int = 1) -> None:
    """Say what was sampled, how well, and where the result is."""
    say(sampled(profile, processes))
    say_if(missed_much(profile.accuracy))
    if path is not None:
        say(f"written to {path}")


def sampled(profile: Profile, processes: int = 1) -> str:
    """Return one line: what was sampled, the rate asked and reached, what failed and was missed."""
    accuracy, target = profile.accuracy, profile.target
    python = f" (Python {target.python_version})" if target.python_version else ""
    if not accuracy.samples and not accuracy.failed:
        why = "it ended before the first one" if python else "it ran no Python itself; --subprocesses follows children"
        return f"no samples of process {target.pid}{python}: {why}"
    asked_hz = 1e6 / accuracy.interval_us
    threads = f" of {len(profile.threads)} threads" if len(profile.threads) > 1 else ""
    who = f"process {target.pid}{python}" if processes == 1 else f"{processes:,} processes, {target.pid} the first,"
    parts = [
        f"{counted(accuracy.samples, 'sample')}{threads} of {who} in {accuracy.duration_s:.2f} s",
        f"{accuracy.tick_rate_hz:,.0f} of {asked_hz:,.0f} a second",
    ]
    if accuracy.pauses.count:
        parts.append(_paused(accuracy.pauses, accuracy.duration_s))
    return "; ".join([*parts, *_shortcomings(accuracy)])


def _shortcomings(accuracy: Accuracy) -> Iterator[str]:
    """Yield what kept the result from being better, each with what it is a share of."""
    tried, samples = accuracy.samples + accuracy.left_out + accuracy.failed, accuracy.samples
    if accuracy.failed:
        yield f"{accuracy.failed:,} of {tried:,} failed ({_percent(accuracy.failed, tried)})"
    if accuracy.missed:
        of = counted(accuracy.ticks, "tick")
        yield f"{accuracy.missed:,} of {of} missed, the machine was busy ({_percent(accuracy.missed, accuracy.ticks)})"
    if accuracy.left_out:
        yield f"{accuracy.left_out:,} of {tried:,} left out by the mode ({_percent(accuracy.left_out, tried)})"
    if accuracy.truncated:
        yield f"{accuracy.truncated:,} cut at the depth limit ({_percent(accuracy.truncated, samples)})"
    if accuracy.reconstructed:
        share = _percent(accuracy.reconstructed, samples)
        yield f"{accuracy.reconstructed:,} with a part that was over before it could be read ({share})"
    if accuracy.uncertain:
        share = _percent(accuracy.uncertain, samples)
        yield f"{accuracy.uncertain:,} with callers that are not certain ({share}; --blocking shows them)"


def missed_much(accuracy: Accuracy) -> str | None:
    """Return a warning, if so many ticks were missed that it may matter for the shares."""
    share = accuracy.missed / accuracy.ticks if accuracy.ticks else 0.0
    if share <= MISSED_MUCH:
        return None
    return (
        f"{100 * share:.0f} % of the ticks were missed: shares may be off where the program does other things while "
        "the machine is busy than at other times; a lower rate misses fewer (-i)"
    )


def _paused(pauses: Pauses, duration_s: float) -> str:
    share = pauses.total_s / duration_s if duration_s else 0.0
    text = (
        f"stopped {counted(pauses.count, 'time')} for {pauses.p50_us:,.0f} us (99 %: {pauses.p99_us:,.0f} us), "
        f"{100 * share:.1f} % of the time"
    )
    if pauses.spared > MANY_SPARED * pauses.count:
        text += f"; {pauses.spared:,} samples were put off so that it runs at least as long as it is stopped"
    return text


def say_if_blocking_is_much(blocking: bool, interval_ns: int) -> None:
    """Warn of very many stops."""
    if blocking and interval_ns < MANY_STOPS_NS:
        say(f"--blocking stops the target {1e9 / interval_ns:,.0f} times a second; -i {MANY_STOPS_NS // 1000} is less")


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole if whole else 0:.2f} %"


def ended(status: int) -> str:
    """Return how a target ended, from the exit status that `subprocess` gives."""
    if status >= 0:
        return f"the target ended with exit status {status}"
    try:
        return f"the target was ended by {signal.Signals(-status).name}"
    except ValueError:
        return f"the target was ended by signal {-status}"
