#!/bin/bash
# Captures the goldens in this folder from ipvsadm and a kernel with IPVS. As root, in the lab:
#
#   FAIRLEAD_LAB_OUT=/tmp/goldens test/lab/run test/ipvs/testdata/capture.sh
#   cp /tmp/goldens/*.txt test/ipvs/testdata/
#
# requests.txt  what ipvsadm sent for each command, by strace
# replies.txt   what the kernel answered to `ipvsadm -L -n`, one message each
# stats.txt     what ipvsadm printed of the same table
# save.txt      what `ipvsadm --save -n` printed after all commands
set -euo pipefail
cd "${FAIRLEAD_LAB_OUT:?}"
ip link set lo up

# Prints, of strace's dump of buffers, those of the calls that match $1 and not $2, one per line.
buffers() {
  awk -v wanted="$1" -v unwanted="$2" '
    function flush() { if (hex != "") print hex; hex = "" }
    /^[a-z]+\(/ { flush(); on = $0 ~ wanted && $0 !~ unwanted }
    on && /^ \| / { line = substr($0, 11, 49); gsub(/ /, "", line); hex = hex line }
    END { flush() }'
}

commands=(
  '-A -t 10.0.0.1:80 -s rr'
  '-A -t 10.0.0.2:443 -s wlc -p 300 -M 255.255.255.0'
  '-E -t 10.0.0.2:443 -s wlc -p 600 -M 255.255.0.0'
  '-A -u 10.0.0.3:53 -s sh -b sh-port,sh-fallback -o'
  '-A -u 10.0.0.4:53 -s mh -b mh-port'
  '-A -t 10.0.0.6:80 -s rr -b flag-1,flag-2,flag-3'
  '-A --sctp-service 10.0.0.7:9 -s lc'
  '-A -t 10.0.0.8:0 -s rr -p 60'
  '-A -t 10.0.0.9:81 -s rr'
  '-D -t 10.0.0.9:81'
  '-A -t [fd00::1]:80 -s rr -p 100 -M 64'
  '-A -u [fd00::2]:53 -s nq'
  '-A -f 7 -s rr'
  '-A -f 7 -6 -s rr -p 360'
  '-A -f 8 -s sed'
  '-D -f 8'
  '-a -t 10.0.0.1:80 -r 127.0.0.1:8080 -m -w 1 -x 100 -y 50'
  '-a -t 10.0.0.1:80 -r 10.1.0.1:8080 -m -w 1'
  '-e -t 10.0.0.1:80 -r 10.1.0.1:8080 -m -w 0'
  '-a -t 10.0.0.1:80 -r 10.1.0.3:8080 -m -w 1'
  '-d -t 10.0.0.1:80 -r 10.1.0.3:8080'
  '-a -t 10.0.0.2:443 -r 10.1.0.3:443 -g -w 100'
  '-a -t 10.0.0.2:443 -r 10.1.0.4:443 -i -w 65535'
  '-a -t 10.0.0.2:443 -r [fd00:1::4]:443 -i -w 2'
  '-a -t [fd00::1]:80 -r [fd00:1::2]:8080 -m -w 3'
  '-a -f 7 -r 10.1.0.3:0 -m -w 1'
  '-a -f 7 -6 -r [fd00:1::2]:0 -m -w 1'
)

header() { echo "# $(ipvsadm --version | sed 's/ (.*//'), Linux $(uname -r); made by capture.sh"; }

{
  header
  for command in "${commands[@]}"; do
    echo "ipvsadm $command"
    # shellcheck disable=SC2086  # a list of words
    strace -e trace=sendmsg -e write=3,4,5 -o strace.log ipvsadm $command
    buffers sendmsg PEEK <strace.log | tail -1
  done
} >requests.txt

# One connection to the first, kept open, so that there is something to count. Before 6.2 the kernel
# sums its counters up every two seconds.
ip address add 10.0.0.1/32 dev lo
coproc traffic { python3 -c '
import socket, sys
server = socket.create_server(("127.0.0.1", 8080))
client = socket.create_connection(("10.0.0.1", 80))
peer, _ = server.accept()
peer.sendall(b"x" * 1000)
client.recv(1000, socket.MSG_WAITALL)
print("ready", flush=True)
sys.stdin.read()'; }
read -r _ <&"${traffic[0]}"
sleep 4

strace -e trace=recvmsg -e read=3,4,5 -o strace.log ipvsadm -L -n >list.txt
# Only of the family: the type is that of the requests.
family=$(sed -n 3p requests.txt | cut -c9-12)
{
  header
  buffers recvmsg PEEK <strace.log | grep "^........$family" |
    # Several messages can come in one datagram.
    while read -r hex; do
      while [[ -n $hex ]]; do
        length=$((16#${hex:6:2}${hex:4:2}${hex:2:2}${hex:0:2} * 2))
        # IPVS_CMD_NEW_SERVICE and IPVS_CMD_NEW_DEST.
        if [[ ${hex:8:4} == "$family" && ${hex:32:2} == 0[15] ]]; then echo "${hex:0:length}"; fi
        hex=${hex:length}
      done
    done
} >replies.txt
{
  header
  cat list.txt
  ipvsadm -L -n --stats --exact
} >stats.txt
ipvsadm --save -n >save.txt
rm strace.log list.txt
