# SPDX-License-Identifier: Apache-2.0
# A line that somebody has taken out.
sed -i 's/^/# /' /etc/nginx/modules-enabled/90-usher.conf
echo 'usher_app php command=php-cgi on_demand=2;' >/etc/nginx/conf.d/apps.conf
