"""What the Python checks have in common: one line for each check, and out at the first that fails.

A check is a function of a URL (or of a connection, where the caller opens it). `same` runs it twice, straight at
PostgreSQL and through Postern, and wants the same result; so a check returns everything that a client could see.
"""

import os
import re
import sys
import time
import traceback

POSTERN = os.environ["POSTERN_TEST_URL"]
DIRECT = os.environ["POSTERN_TEST_DIRECT_URL"]

# A value's size, where size is what is looked at.
BIG = 100 * 1024 * 1024

# PostgreSQL's limit on the columns of a table.
COLUMNS = 1600

# What a backend may outlive a client that has vanished.
GONE_WITHIN = 10


def driver():
    return os.path.basename(sys.argv[0]).removesuffix("_check.py")


class Check:
    """A context: prints how the check ended, and ends the process if it failed."""

    def __init__(self, name):
        self.name = name

    def __enter__(self):
        self.start = time.monotonic()
        return self

    def __exit__(self, kind, error, trace):
        took = time.monotonic() - self.start
        if error is None:
            print(f"ok   {driver()}: {self.name} ({took:.2f} s)", flush=True)
            return
        print(f"FAIL {driver()}: {self.name} ({took:.2f} s): {kind.__name__}: {str(error)[:4000]}", flush=True)
        traceback.print_exception(kind, error, trace)
        sys.stdout.flush()
        sys.stderr.flush()
        # Other threads, tasks and connections do not matter any more.
        os._exit(1)


def equal(found, wanted, what="the result"):
    """The two look the same (NaN, too). Which of the folders for temporary tables a session gets is chance."""
    found, wanted = (re.sub(r"pg_temp_\d+", "pg_temp_N", repr(value)) for value in (found, wanted))
    if found == wanted:
        return
    length = min(len(found), len(wanted))
    at = next((i for i in range(length) if found[i] != wanted[i]), length)
    window = slice(max(0, at - 200), at + 200)
    raise AssertionError(f"{what} is\n  {found[window]}\nnot\n  {wanted[window]}\n(from character {window.start})")


def until(what, condition, within=GONE_WITHIN):
    """Waits until the condition gives something."""
    end = time.monotonic() + within
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {within} s")
        time.sleep(0.02)


def seal():
    """Nothing may hang: a check that does is killed with what it was doing."""
    import faulthandler

    faulthandler.dump_traceback_later(120, exit=True)
