# SPDX-License-Identifier: Apache-2.0
# A site with programs that fail in the ways of the page.
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
cat >/srv/orders.fcgi <<'END'
#!/usr/bin/perl
use No::Such::Module;
END
cat >/srv/shared.fcgi <<'END'
#!/usr/bin/perl
END
cat >/srv/silent.cgi <<'END'
#!/bin/sh
exit 3
END
cat >/srv/slow.fcgi <<'END'
#!/usr/bin/perl
use FCGI;
my $request = FCGI::Request();
while ($request->Accept() >= 0) { sleep 30; print "Content-Type: text/plain\r\n\r\n"; }
END
chmod 755 /srv/*.fcgi /srv/*.cgi
chmod 775 /srv/shared.fcgi
cat >/etc/nginx/conf.d/others.conf <<'END'
usher_app orders command=/srv/orders.fcgi on_demand=1;
usher_app slow command=/srv/slow.fcgi on_demand=1 request_timeout=1;
server {
    listen 80;
    server_name programs.example;
    root /srv;
    location /orders { usher_pass orders; include fastcgi_params; }
    location /slow { usher_pass slow; include fastcgi_params; }
    location ~ fcgi$ { usher_pass $document_root$fastcgi_script_name; include fastcgi_params; }
    location ~ cgi$ { usher_pass $document_root$fastcgi_script_name protocol=cgi; include fastcgi_params; }
}
END
systemctl start nginx
until usher status | grep -q 'static  ready  *2'; do sleep 0.1; done
curl -s http://127.0.0.1/
