"""Speed, cost and truth, each against the peers and against what the machine can do at best.

    python -m bench                 everything; writes bench/RESULTS.md
    python -m bench --quick         the same in a few minutes, rough; writes nothing
    python -m bench.rate --quick    one of them

Two rules make the figures worth something on a machine that is never quite idle. What is compared is measured in the
same run, in turns, and only ratios or differences of medians are judged. And the truth comes from the target
itself: its programs (in programs/) know what they do, or measure it while they do it.
"""

import signal

# A shell starts what runs in its background with the interrupt ignored; profilers that are ended by one would go on.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
