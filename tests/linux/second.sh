# The session of a guest: mounts what a machine has, runs one command, and ends the guest with its
# status. By the kernel's command line: SECOND, this file; SESSION, a file with the
# commands.
#
# The first process of a machine takes the processes that are left over, as this shell does.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs shm /dev/shm
mount -t cgroup2 cgroup /sys/fs/cgroup
mount -t bpf -o mode=0700 bpf /sys/fs/bpf
mount -t tmpfs -o mode=0755 run /run
mkdir -p /run/netns /run/lock /run/tmp
ip link set lo up
hostname guest

stty -F /dev/ttyS0 -opost
exec </dev/null >/dev/ttyS0 2>&1
# shellcheck disable=SC1090
source "$SESSION"
status=$?
# The device isa-debug-exit ends the guest with what is written to its port: one more than the
# status, see guest.py, which has room for small ones.
((status < 100)) || status=100
# shellcheck disable=SC2059
printf "\\$(printf %o $((status + 1)))" | dd of=/dev/port bs=1 seek=$((0xf4)) status=none
echo "the guest cannot be ended"
