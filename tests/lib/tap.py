"""TAP for test scripts: each function given to run() is one test; Skip leaves one out."""
import os
import sys
import traceback


class Skip(Exception):
    """The reason why a test cannot run here."""


def run(*tests):
    """Runs the tests in order, prints TAP, and ends the program with a fitting status."""
    print(f'1..{len(tests)}', flush=True)
    failed = 0
    for number, test in enumerate(tests, 1):
        name = test.__name__.replace('_', ' ')
        try:
            test()
            print(f'ok {number} - {name}', flush=True)
        except Skip as reason:
            print(f'ok {number} - {name} # SKIP {reason}', flush=True)
        except Exception:  # a test may fail in any way
            failed += 1
            print(''.join('# ' + line + '\n' for line in traceback.format_exc().splitlines()), end='')
            print(f'not ok {number} - {name}', flush=True)
    sys.exit(1 if failed else 0)


def guests():
    """The folder of guest images, or Skip."""
    folder = os.environ.get('GUESTS', 'guests')
    if not os.path.isdir(folder):
        raise Skip(f'no guest images in {folder}; set GUESTS to their folder')
    return folder
