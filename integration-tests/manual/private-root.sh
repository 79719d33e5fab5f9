#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A Debian of one's own for one page of the manual: `private-root.sh DIR CHECKOUT SERVER`, as root, in fresh
# namespaces of mounts, network and processes. Below DIR/root it puts together this machine's programs
# (read-only), a copy of its configuration, and empty /srv, /var/log, /run and so on; Usher is installed for
# SERVER (nginx or Apache). There it runs the commands that come on its standard input. Nothing reaches the
# machine, and everything ends with the first process.
set -eu

dir=$1 checkout=$2 server=$3
root=$dir/root
here=$checkout/integration-tests/manual

# Other people's files, as they are; nobody can change them.
read_only() {
  mkdir -p "$root$1"
  mount --bind "$1" "$root$1"
  mount -o remount,bind,ro "$root$1"
}

# A directory with the same owner, mode and contents.
copy() {
  [ -e "$1" ] || return 0
  mkdir -p "$root$(dirname "$1")"
  cp -a "$1" "$root$1"
}

mkdir "$root"
mount -t tmpfs -o mode=755 tmpfs "$root"
for path in /bin /sbin /lib /lib32 /lib64 /libx32; do
  if [ -L $path ]; then cp -a $path "$root$path"; elif [ -d $path ]; then read_only $path; fi
done
read_only /usr
mount -t tmpfs -o mode=755 tmpfs "$root/usr/local"
mkdir -p "$root"/usr/local/{bin,sbin,lib,share}

copy /etc
mkdir -p "$root"/{dev,home,mnt,opt,proc,run/lock,srv,sys,var/lib/dpkg,var/cache,var/log,manual}
mkdir -m 700 "$root/root"
mkdir -m 1777 "$root/tmp" "$root/var/tmp"
ln -s /run "$root/var/run"
ln -s /run/lock "$root/var/lock"
for path in /var/lib/nginx /var/lib/apache2 /var/lib/php /var/lib/tomcat10 /var/lib/tomcat /var/www; do copy $path; done
for path in /var/log/nginx /var/log/apache2 /var/log/tomcat10 /var/cache/apache2 /var/cache/tomcat10; do
  [ ! -d $path ] || install -d -m "$(stat -c %a $path)" -o "$(stat -c %u $path)" -g "$(stat -c %g $path)" "$root$path"
done
read_only /var/lib/dpkg
mount --rbind /dev "$root/dev"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys" 2>/dev/null || true
mount --bind "$dir" "$root/manual"
ip link set lo up
echo '127.0.0.1 localhost' >"$root/etc/hosts"

# The host has nothing but Debian's own configuration.
rm -f "$root"/etc/nginx/conf.d/* "$root"/etc/apache2/conf-enabled/usher* "$root"/etc/apache2/sites-enabled/[!0]* \
  "$root"/etc/apache2/mods-enabled/{fcgid,fastcgi,jk,httpd-jk}.*

read_only "$checkout"
modules=$(realpath "$checkout/node_modules")
case $modules in "$checkout"/*) ;; *) read_only "$modules" ;; esac
ln -s "$checkout" "$root/usr/local/lib/usher"
ln -s "$checkout/bin/usher" "$root/usr/local/bin/usher"
mkdir -p "$root/path/to"
ln -s "$checkout" "$root/path/to/usher"
node=$(realpath "$(command -v node)")
case $node in
  /usr/local/* | /home/* | /root/* | /opt/*)
    mkdir -p "$root/mnt/node"
    mount --bind "$(dirname "$node")" "$root/mnt/node"
    ln -s /mnt/node/node "$root/usr/local/bin/node"
    ;;
esac
for name in apt-get systemctl journalctl; do ln -s "$here/$name" "$root/usr/local/sbin/$name"; done

# As "usher install" does it, but for the copy of the package.
case $server in
  nginx) echo "load_module $checkout/build/ngx_http_usher_module.so;" >"$root/etc/nginx/modules-enabled/90-usher.conf" ;;
  Apache) echo "LoadModule usher_module $checkout/build/mod_usher.so" >"$root/etc/apache2/mods-enabled/usher.load" ;;
esac

# Each line of the standard input names a step: /manual/STEP.sh is run in this shell, as if it were typed; what
# it prints goes to STEP.out, its exit status to our standard output.
cat >"$dir/driver" <<'END'
cd /root
not_installed() {
  rm -f /usr/local/lib/usher /usr/local/bin/usher /etc/nginx/modules-enabled/90-usher.conf /etc/apache2/mods-enabled/usher.load
}
exec 3<&0 4>&1
while read -r step <&3; do
  eval "$(cat "/manual/$step.sh")" </dev/null >"/manual/$step.out" 2>&1 3<&- 4>&-
  echo "$step $?" >&4
done
END
exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 \
  chroot "$root" /bin/bash --noprofile --norc /manual/driver
