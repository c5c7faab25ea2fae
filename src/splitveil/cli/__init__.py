"""The command line: one file a command, each thin, torch imported only where it is needed.

Exit codes: 0 done; 1 a gate failed; 2 usage or bad input; 3 inconclusive; 70 a fault of splitveil
itself; 130 stopped by Ctrl-C. An error is one line on stderr; `--traceback` adds the rest.
"""

import os
import re
import sys
import traceback
from collections.abc import Sequence

# the library names settings as Python does: size=32 is --size 32 here
_SETTING = re.compile(r"\b(channels|classes|jobs|mean|output|size|std|weights)=")

DONE, GATE_FAILED, BAD_INPUT, INCONCLUSIVE, FAULT, STOPPED = 0, 1, 2, 3, 70, 130


def main() -> None:
    """Run the command line of this process and exit with its code."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code; whatever went wrong is one line on stderr."""
    import typer
    from typer.main import get_command

    from splitveil.cli.app import app
    from splitveil.errors import AuditError, ContradictedBound

    try:
        code = get_command(app).main(list(arguments), prog_name="splitveil", standalone_mode=False)
    except typer.TyperException as error:
        message, code = error.format_message(), BAD_INPUT
        _complain(f"{message.rstrip('.')}. Run `splitveil --help` for what there is.", arguments)
    except ContradictedBound as error:
        code = GATE_FAILED
        _complain(str(error), arguments)
    except AuditError as error:
        code = BAD_INPUT
        text = _SETTING.sub(r"--\1 ", str(error))
        text = text.replace("pixel_range=(black, white)", "--pixel-range BLACK,WHITE")
        _complain(text, arguments)
    except BrokenPipeError:
        # the reader of our output went away, as `head` does: no error, and nothing left to flush
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = DONE
    except (KeyboardInterrupt, typer.Abort):
        code = STOPPED
    except Exception as error:
        code = FAULT
        _complain(
            f"{type(error).__name__}: {error} (a fault of splitveil: run again with --traceback "
            "and report what it prints)",
            arguments,
        )
    if code == STOPPED:
        _complain("stopped; run the same command to go on where it was", ())
    return code if isinstance(code, int) else DONE


def _complain(message: str, arguments: Sequence[str]) -> None:
    if "--traceback" in arguments:
        traceback.print_exc()
    sys.stderr.write(f"Error: {' '.join(message.split())}\n")
