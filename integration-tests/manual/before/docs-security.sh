# SPDX-License-Identifier: Apache-2.0
# The site of the class shop; the page makes the user.
install -d /srv/shop/www
cat >/srv/shop/www/index.php <<'END'
<?php
header('Content-Type: text/plain');
echo 'the shop, for ', posix_getpwuid(posix_geteuid())['name'], "\n";
END
cat >/etc/nginx/conf.d/shop.conf <<'END'
usher_app shop command=php-cgi user=shop group=shop on_demand=4;
server {
    listen 80 default_server;
    root /srv/shop/www;
    index index.php;
    location ~ \.php$ {
        usher_pass shop;
        include fastcgi_params;
        fastcgi_param SCRIPT_FILENAME $document_root$fastcgi_script_name;
    }
}
END
rm /etc/nginx/sites-enabled/default
nginx
install -d /etc/sudoers.d
