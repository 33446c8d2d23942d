#!/bin/sh
# Makes the file system of a pretend front end and becomes its sshd.
# Runs as process 1 of a process and mount namespace of its own: when it ends, all in it ends.
# $1 an empty folder for the root, $2 the folder with the front end's files, $3 the programs.
set -eu
root=$1 data=$2 programs=$3
mount -t tmpfs -o size=1m,mode=755 none "$root"
cd "$root"
mkdir usr proc dev etc var home root run tmp opt
mount --rbind /usr usr
for folder in bin sbin lib lib32 lib64 libx32; do
    if [ -L "/$folder" ]; then
        ln -s "$(readlink "/$folder")" "$folder"
    elif [ -d "/$folder" ]; then
        mkdir "$folder"
        mount --rbind "/$folder" "$folder"
    fi
done
mount --bind "$data/usr-local" usr/local
mount -t proc proc proc
mount --rbind /dev dev
for folder in etc var home root run tmp; do
    mount --bind "$data/$folder" "$folder"
done
# A small disk, so that a test can fill it.
mount -t tmpfs -o size=4m,mode=1777 none var/tmp
: > opt/programs
mount --bind "$programs" opt/programs
# The sandbox holds the other end of standard input; when it is gone, so are we.
exec 3<&0
( read -r _ <&3 || true; kill -TERM 1 ) > /dev/null 2>&1 &
exec 3<&-
exec chroot "$root" /usr/sbin/sshd -D -e -f /etc/ssh/sshd_config < /dev/null
