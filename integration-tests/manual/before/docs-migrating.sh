# SPDX-License-Identifier: Apache-2.0
# Configurations of other modules: mod_fcgid in a site, a pool of php-fpm.
cat >/etc/apache2/sites-available/shop.conf <<'END'
<VirtualHost *:80>
    ServerName shop.example
    DocumentRoot /srv/shop
    <Directory /srv/shop>
        Options +ExecCGI
        AddHandler fcgid-script .php
        FcgidWrapper /usr/bin/php-cgi .php
    </Directory>
</VirtualHost>
END
ln -s ../sites-available/shop.conf /etc/apache2/sites-enabled/shop.conf
install -d /etc/php/8.2/fpm/pool.d /srv/shop
cat >/etc/php/8.2/fpm/pool.d/www.conf <<'END'
[www]
user = www-data
group = www-data
listen = /run/php/php8.2-fpm.sock
pm = dynamic
pm.max_children = 5
pm.start_servers = 2
pm.min_spare_servers = 1
pm.max_spare_servers = 3
END
cat >/etc/nginx/conf.d/shop.conf <<'END'
server {
    listen 80;
    server_name shop.example;
    root /srv/shop;
    location ~ \.php$ {
        include fastcgi_params;
        fastcgi_param SCRIPT_FILENAME $document_root$fastcgi_script_name;
        fastcgi_pass unix:/run/php/php8.2-fpm.sock;
    }
}
END
set -a
. /etc/apache2/envvars
set +a
