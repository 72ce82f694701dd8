"""Debian's kernel with a shell on the serial port, as the tests of devices want it (debian.py builds what it boots)."""
import os
import socket
import tempfile
import time

import debian
import guest

APPEND = 'console=ttyS0,115200 panic=-1 quiet'


class Console:
    """The guest's serial port."""

    def __init__(self, path):
        self.socket, self.text = socket.socket(socket.AF_UNIX), ''
        self.socket.connect(path)

    def wait(self, wanted, timeout):
        end = time.monotonic() + timeout * guest.PATIENCE
        while wanted not in self.text:
            self.socket.settimeout(max(0.01, end - time.monotonic()))
            try:
                data = self.socket.recv(65536)
            except socket.timeout:
                data = b''
            if not data:
                raise AssertionError(f'{wanted!r} did not come; the serial port said:\n{self.text[-3000:]}')
            self.text += data.decode('utf-8', 'replace')
        before, self.text = self.text.split(wanted, 1)
        return before

    def begin(self, command):
        """Starts a shell command; end() waits for it."""
        self.command = command
        self.socket.sendall((command + '; echo "@$((6*111))@$?@"\n').encode())

    def end(self, timeout=60):
        """What the command printed. Fails when it does."""
        printed = self.wait('@666@', timeout)
        status = self.wait('@', timeout)
        assert status == '0', f'{self.command}: status {status}\n{printed}'
        return printed

    def run(self, command, timeout=60):
        self.begin(command)
        return self.end(timeout)


class Linux(guest.Guest):
    def __init__(self, engine, *arguments, memory=128, snapshot=True):
        self.serial_folder = tempfile.mkdtemp(prefix='vitrine-serial-')
        path = os.path.join(self.serial_folder, 'serial')
        super().__init__(engine, '-no-reboot', '-serial', f'unix:{path},server,nowait', *arguments, memory=memory, snapshot=snapshot)
        self.console = Console(path)

    def close(self):
        super().close()
        if os.path.isdir(self.serial_folder):
            for name in os.listdir(self.serial_folder):
                os.unlink(os.path.join(self.serial_folder, name))
            os.rmdir(self.serial_folder)

    def shell(self):
        self.console.wait(debian.SHELL_READY, 180)
        self.console.run('echo 1 > /proc/sys/kernel/printk')
        return self.console


def direct(engine, ramdisk, *arguments, append=APPEND, **settings):
    """Boots the kernel and this initial RAM disk without a disk."""
    return Linux(engine, '-kernel', debian.linux(), '-initrd', ramdisk, '-append', append, *arguments, **settings)
