# SPDX-License-Identifier: Apache-2.0
# A class whose requests take 20 ms, and an access log that tells how long they waited.
install -d /srv/www
cat >/srv/www/report.php <<'END'
<?php
usleep(20000);
echo "done\n";
END
cat >/etc/nginx/conf.d/report.conf <<'END'
usher_metrics 127.0.0.1:9180;
usher_app report command=php-cgi processes=1 max_class_processes=4;
log_format usher '$remote_addr "$request" $status $usher_class $usher_state $usher_wait_ms $request_time';
server {
    listen 80 default_server;
    access_log /var/log/nginx/usher.log usher;
    location / {
        usher_pass report;
        include fastcgi_params;
        fastcgi_param SCRIPT_FILENAME /srv/www/report.php;
    }
}
END
rm /etc/nginx/sites-enabled/default
systemctl start nginx
until usher status | grep -q 'static  ready'; do sleep 0.1; done
