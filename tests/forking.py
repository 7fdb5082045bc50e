"""Work in a child process, for tests that kill it or take its rights."""

import os

from causalnb import UserError


def fork(work, *, before=lambda: None):
    """Start `work` in a child process, after `before`; a function that waits for its end and says how that was:
    "done", the sentence of a UserError, or None where it was killed. Anything else is an error here.
    """
    read, write = os.pipe()
    child = os.fork()
    if not child:
        try:
            before()
            work()
            said = "done"
        except UserError as error:
            said = str(error)
        except BaseException as error:
            said = f"TRACEBACK {error!r}"
        os.write(write, said.encode())
        os._exit(0)
    os.close(write)

    def end():
        with os.fdopen(read) as pipe:
            said = pipe.read()
        os.waitpid(child, 0)
        assert not said.startswith("TRACEBACK"), said
        return said or None

    return end


def forked(work, *, before=lambda: None):
    """`fork`, and wait."""
    return fork(work, before=before)()
