"""torchrun with the exit status of the run: ``python -m wav2vec2.train.launch`` takes torchrun's words.

    python -m wav2vec2.train.launch --nproc-per-node 8 -m wav2vec2 pretrain recipe.toml

torchrun itself exits with 1 whatever happened to its processes, with a page of traceback, so that a scheduler cannot
tell a run that was asked to stop (75) from a wrong recipe (2). It also kills processes 30 seconds after a signal; here
they have five minutes to finish their update and save, unless --shutdown-timeout says otherwise.
"""

import os
import signal
import sys
from collections.abc import Sequence

from wav2vec2.errors import Stopped

GRACE_SECONDS = 300


def main(arguments: Sequence[str]) -> int:
    """Run torchrun; return the status of the process that failed first, 75 after SIGTERM, or 130 after Ctrl-C."""
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import parse_args, run

    os.environ.setdefault("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", str(GRACE_SECONDS))
    # With a shared store, a process that is started again may find the address of one that is dead (torch 2.13).
    os.environ.setdefault("TORCH_DISABLE_SHARE_RDZV_TCP_STORE", "1")
    try:
        run(parse_args(list(arguments)))
    except ChildFailedError as failed:
        rank, failure = failed.get_first_failure()
        status = int(failure.exitcode)
        if status < 0:
            print(f"error: process {rank} was killed by {_signal_name(-status)}", file=sys.stderr)
            return 128 - status
        return status
    except SignalException as stopped:
        return Stopped("Ctrl-C" if stopped.sigval == signal.SIGINT else "SIGTERM").status
    return 0


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
