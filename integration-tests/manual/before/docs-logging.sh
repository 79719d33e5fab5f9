# SPDX-License-Identifier: Apache-2.0
# A manager with a log.
echo 'usher_log /var/log/usher.log; usher_app php "command=php-cgi" on_demand=8;' >/etc/nginx/conf.d/php.conf
systemctl start nginx
until usher status; do sleep 0.1; done
