# SPDX-License-Identifier: Apache-2.0
# A site of PHP with its own user, and a log file of the manager.
useradd --system --home-dir /srv/shop --shell /usr/sbin/nologin shop
install -d /srv/shop
cat >/srv/shop/index.php <<'END'
<?php
header('Content-Type: text/plain');
error_log('an order was placed');
echo "the shop\n";
END
cat >/etc/nginx/conf.d/shop.conf <<'END'
usher_log /var/log/usher.log;
usher_metrics 127.0.0.1:9180;
usher_app shop command=php-cgi user=shop group=shop processes=2 max_class_processes=8;
server {
    listen 80 default_server;
    root /srv/shop;
    index index.php;
    location ~ \.php$ {
        usher_pass shop;
        include fastcgi_params;
        fastcgi_param SCRIPT_FILENAME $document_root$fastcgi_script_name;
    }
}
END
rm /etc/nginx/sites-enabled/default
systemctl start nginx
until usher status | grep -q 'static  ready  *2'; do sleep 0.1; done
curl -s http://127.0.0.1/
