#!/bin/busybox sh
# The first process of a guest: finds the machine's file system, which cannot be written to, lays
# memory over it, and goes on with second.sh there.
/bin/busybox mount -t devtmpfs dev /dev
for module in /modules/*; do
  /bin/busybox insmod "$module"
done
# The machine's files do not change while a guest runs: what was read is kept.
/bin/busybox mount -t 9p -o trans=virtio,version=9p2000.L,msize=524288,cache=loose,ro machine /machine
/bin/busybox mount -t tmpfs -o mode=0755 memory /memory
/bin/busybox mkdir /memory/upper /memory/work
/bin/busybox mount -t overlay -o lowerdir=/machine,upperdir=/memory/upper,workdir=/memory/work overlay /root
exec /bin/busybox switch_root /root /bin/bash "$SECOND"
