# SPDX-License-Identifier: Apache-2.0
# The site of the page's first configuration.
install -d /srv/www
case $server in
  nginx)
    echo 'usher_app php "command=php-cgi" on_demand=8;' >/etc/nginx/conf.d/php.conf
    systemctl start nginx
    ;;
  Apache)
    echo 'AppClass php -command php-cgi -on-demand 8' >/etc/apache2/conf-enabled/php.conf
    systemctl start apache2
    ;;
esac
