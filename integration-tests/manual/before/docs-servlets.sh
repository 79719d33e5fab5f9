# SPDX-License-Identifier: Apache-2.0
# Two other hosts, of which one has an engine; it stands for Tomcat.
ip address add 10.0.0.7/32 dev lo
ip address add 10.0.0.8/32 dev lo
mkdir -p /srv/engine/node_modules /etc/usher
ln -s /path/to/usher /srv/engine/node_modules/usher
echo long-and-random >/etc/usher/shop.secret
chmod 600 /etc/usher/shop.secret
cat >/srv/engine/engine.mjs <<'END'
import { serve } from 'usher/runtime';
await serve(() => new Response('a servlet\n'));
END
USHER_LISTEN=ajp:10.0.0.7:8009 USHER_SECRET_FILE=/etc/usher/shop.secret node /srv/engine/engine.mjs >/run/terminal 2>&1 &
case $server in
  nginx)
    cat >/etc/nginx/conf.d/shop.conf <<'END'
usher_external_app shop protocol=ajp host=10.0.0.7:8009,route=a host=10.0.0.8:8009,route=b
                   secret_file=/etc/usher/shop.secret;
server { listen 80 default_server; location /shop/ { usher_pass shop; include fastcgi_params; } }
END
    rm /etc/nginx/sites-enabled/default
    systemctl start nginx
    ;;
  Apache)
    cat >/etc/apache2/conf-enabled/shop.conf <<'END'
ExternalAppClass shop -protocol ajp -host 10.0.0.7:8009,route=a -host 10.0.0.8:8009,route=b \
    -secret-file /etc/usher/shop.secret
<Location /shop/>
    UsherPass shop
</Location>
END
    systemctl start apache2
    ;;
esac
until usher status | grep -q 10.0.0.8:8009.*refused; do curl -s http://127.0.0.1/shop/; done
