#!/bin/sh
# Payload: during the recording the wall clock is stepped an hour ahead and back, a processor and then the disk are removed and added again, and the
# machine is suspended. Each time 20 blocks are written, at separate offsets.
set -eu

iostrata record --out /out/capture --layers syscall,block 2>/out/record.txt &
recorder=$!
until [ -e /out/capture/manifest.json ]; do
	if ! kill -0 "$recorder" 2>/dev/null; then
		cat /out/record.txt
		exit 1
	fi
	sleep 0.1
done

write_at() { dd if=/dev/zero of=/dev/nvme0n1 bs=4k count=20 oflag=direct conv=notrunc seek="$1" 2>/dev/null; }
step() { date -s "@$(($(date +%s) + $1))" >/dev/null; }
# Long enough for the recorder to detect it.
pause() { sleep 3; }

write_at 0
step 3600
pause
write_at 100
step -3600
pause
write_at 200
echo 0 >/sys/devices/system/cpu/cpu1/online
write_at 300
echo 1 >/sys/devices/system/cpu/cpu1/online
write_at 400
echo 1 >"$(readlink -f /sys/block/nvme0n1/device/device)/remove"
[ ! -e /sys/block/nvme0n1 ]
echo 1 >/sys/bus/pci/rescan
until [ -b /dev/nvme0n1 ]; do sleep 0.1; done
write_at 500
# The machine is suspended for five seconds.
echo "+5" >/sys/class/rtc/rtc0/wakealarm
echo mem >/sys/power/state
write_at 600
pause
iostrata status /out/capture --format json >/out/status.json && echo 0 >/out/status.code || echo $? >/out/status.code

kill -TERM "$recorder"
wait "$recorder" && code=0 || code=$?
echo "$code" >/out/record.code
cat /out/record.txt
