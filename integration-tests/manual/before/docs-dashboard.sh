# SPDX-License-Identifier: Apache-2.0
# A manager with a class.
echo 'usher_app php "command=php-cgi" on_demand=8;' >/etc/nginx/conf.d/php.conf
systemctl start nginx
