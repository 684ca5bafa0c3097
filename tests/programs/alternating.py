"""Two chains of short calls in turn, aa and bb: by calls, generators or coroutines, with leaves that loop or not."""

import sys

KIND, LOOPS = sys.argv[1], int(sys.argv[2])

CALLS = """
def leaf_{x}():
    {body}
def c_{x}(): leaf_{x}()
def b_{x}(): c_{x}()
def a_{x}(): b_{x}()
run_{x} = a_{x}
"""

GENERATORS = """
def leaf_{x}():
    {body}
def c_{x}():
    while True:
        leaf_{x}()
        yield
def b_{x}():
    yield from c_{x}()
def a_{x}():
    yield from b_{x}()
run_{x} = a_{x}().__next__
"""

COROUTINES = """
class Pause_{x}:
    def __await__(self):
        leaf_{x}()
        yield
def leaf_{x}():
    {body}
async def c_{x}():
    while True:
        await Pause_{x}()
async def b_{x}():
    await c_{x}()
async def a_{x}():
    await b_{x}()
chain_{x} = a_{x}()
run_{x} = lambda: chain_{x}.send(None)
"""

body = f"for each in range({LOOPS}): pass" if LOOPS else "pass"
source = {"calls": CALLS, "generators": GENERATORS, "coroutines": COROUTINES}[KIND]
for chain in "ab":
    exec(source.replace("{x}", chain * 2).replace("{body}", body), globals())


def main(run_first, run_second):
    while True:
        run_first()
        run_second()


print("ready", flush=True)
main(run_aa, run_bb)  # noqa: F821
