"""Builds the benchmark guest: a Debian kernel and an initrd of Debian's own i386 programs, the same ones that run natively.

Everything comes from the packages of the host's Debian (architecture i386), unpacked below one folder; nothing is
installed. Needs root only for running the programs natively (chroot).
"""
import gzip
import os
import shutil
import subprocess

PACKAGES = ('busybox-static libc6 libgcc-s1 zlib1g gzip perl-base libcrypt1 lua5.1 liblua5.1-0 libreadline8 libtinfo6 '
            'python3.11-minimal libpython3.11-minimal libexpat1 lame libmp3lame0 libncurses6 libsndfile1 libogg0 '
            'libvorbis0a libvorbisenc2 libflac12 libopus0 libmpg123-0').split()

# name: shell command; its time is taken between a line "@B name" and a line "@E name status"
WORKLOADS = {
    'md5': 'for i in 1 2 3 4 5 6 7 8; do busybox md5sum /tmp/data; done',
    'gzip': 'gzip -9 -c /tmp/data3',
    'perl': "perl -e 'my %h; for my $i (1..1000000) { $h{$i % 4999} += length($i) ^ $i } my $t = \"ab\" x 30000; my $n = () = $t =~ /a(b)/g; print $n'",
    'python': "python3.11 -I -S -c 'd = {}\nfor i in range(500000): d[i % 997] = d.get(i % 997, 0) + i * 0.5\n"
              "p = [True] * 800000\nfor i in range(2, 895):\n for j in range(i * i, 800000, i): p[j] = False\nprint(sum(p))'",
    'lua': "lua5.1 -e 'local function f(n) if n < 2 then return n end return f(n - 1) + f(n - 2) end print(f(28)) "
           "local s = 0 for i = 1, 1500000 do s = s + math.sin(i) * math.sqrt(i) end print(s)'",
    'lame': 'lame --silent -r -s 44.1 --bitwidth 16 -b 128 /tmp/data3 /tmp/out.mp3',
    'forkexec': 'i=0; while [ $i -lt 250 ]; do /bin/busybox true; /bin/busybox echo x | /bin/busybox cat; i=$((i+1)); done',
    'syscall': 'busybox dd if=/dev/zero of=/dev/null bs=1 count=300000',
}

SCRIPT = '''#!/bin/busybox sh
export PATH=/bin:/usr/bin LC_ALL=C HOME=/tmp
bb=/bin/busybox
$bb cat /usr/bin/perl /usr/bin/python3.11 /usr/bin/perl /usr/bin/python3.11 | $bb head -c 6000000 >/tmp/data
$bb head -c 3000000 /tmp/data >/tmp/data3
for name in $*; do
    echo "@B $name"
    $bb sh /bench/$name >/dev/null 2>&1
    echo "@E $name $?"
done
echo @DONE
'''

INIT = '''#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t devtmpfs dev /dev
exec >/dev/ttyS0 2>&1
echo "@E boot 0"
/bin/busybox sh /bench.sh %s
/bin/busybox poweroff -f
''' % ' '.join(WORKLOADS)


def run(*command, **kwargs):
    subprocess.run(command, check=True, **kwargs)


def write(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, 'w') as file:
        file.write(text)
    os.chmod(path, 0o755)


def download(folder):
    """Debian's i386 packages into folder/debs, by an apt of its own that leaves the system's settings alone."""
    debs, state = os.path.join(folder, 'debs'), os.path.join(folder, 'apt')
    os.makedirs(os.path.join(state, 'lists', 'partial'), exist_ok=True)
    os.makedirs(debs, exist_ok=True)
    open(os.path.join(state, 'status'), 'a').close()
    options = ['-qq', '-o', 'APT::Architecture=i386', '-o', 'APT::Architectures::=i386', '-o', f'Dir::State={state}',
               '-o', f'Dir::State::status={state}/status', '-o', f'Dir::Cache={state}/cache']
    os.makedirs(os.path.join(state, 'cache', 'archives', 'partial'), exist_ok=True)
    subprocess.run(['apt-get', *options, 'update'], check=False)  # a part may be missing: what is needed shows below
    depends = subprocess.run(['apt-cache', *options, 'depends', 'linux-image-686'], stdout=subprocess.PIPE, text=True, check=True).stdout
    kernel = next(line.split()[1] for line in depends.splitlines() if 'Depends: linux-image-' in line)
    run('apt-get', *options, 'download', kernel, *PACKAGES, cwd=debs)
    return debs


def cpio(root, out):
    names = subprocess.run(['find', '.', '-print0'], cwd=root, stdout=subprocess.PIPE, check=True).stdout
    archive = subprocess.run(['cpio', '-0', '-o', '-H', 'newc', '--quiet'], cwd=root, input=names, stdout=subprocess.PIPE, check=True).stdout
    with gzip.open(out, 'wb', 6) as file:
        file.write(archive)


def build(folder):
    """Makes folder/{vmlinuz,initrd.gz,root} unless they are there."""
    root, kern = os.path.join(folder, 'root'), os.path.join(folder, 'kernel')
    if os.path.exists(os.path.join(folder, 'initrd.gz')):
        return
    debs = download(folder)
    for name in sorted(os.listdir(debs)):
        run('dpkg', '-x', os.path.join(debs, name), kern if name.startswith('linux-image') else root)
    for part in ('doc', 'man', 'locale', 'bug', 'lintian'):
        shutil.rmtree(os.path.join(root, 'usr', 'share', part), ignore_errors=True)
    for part in ('proc', 'dev', 'tmp'):
        os.makedirs(os.path.join(root, part), exist_ok=True)
    if not os.path.exists(os.path.join(root, 'bin', 'sh')):
        os.symlink('busybox', os.path.join(root, 'bin', 'sh'))
    for name, command in WORKLOADS.items():
        write(os.path.join(root, 'bench', name), command.replace('busybox ', '/bin/busybox ').replace('/bin//bin/', '/bin/') + '\n')
    write(os.path.join(root, 'bench.sh'), SCRIPT)
    write(os.path.join(root, 'init'), INIT)
    boot = os.path.join(kern, 'boot')
    shutil.copy(os.path.join(boot, next(n for n in os.listdir(boot) if n.startswith('vmlinuz'))), os.path.join(folder, 'vmlinuz'))
    cpio(root, os.path.join(folder, 'initrd.gz'))
