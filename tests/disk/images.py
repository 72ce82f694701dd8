"""What the tests of disk images share: `vitrine image`, a folder of their own for each test, whole files."""
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..'))
from tests.lib import tap  # noqa: E402,F401
from tests.lib.vm import program  # noqa: E402


def run_image(*words, status=0, **settings):
    done = subprocess.run([program(), 'image', *map(str, words)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=120, **settings)
    assert done.returncode == status, (words, done.returncode, done.stdout, done.stderr)
    return done


def image(*words, status=0):
    """What `vitrine image` says, to both."""
    done = run_image(*words, status=status, errors='replace')
    return done.stdout + done.stderr


def in_folder(test):
    def wrapped():
        before = os.getcwd()
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            try:
                test()
            finally:
                os.chdir(before)
    wrapped.__name__ = test.__name__
    return wrapped


def put(name, data=b''):
    folder = os.path.dirname(name)
    if folder:
        os.makedirs(folder, exist_ok=True)
    with open(name, 'wb') as file:
        file.write(data)


def get(name):
    with open(name, 'rb') as file:
        return file.read()
