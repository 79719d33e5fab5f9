#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# the map server: ten of it
export MS_MAPFILE=/srv/maps/world.map
spawn-fcgi -a 127.0.0.1 -p 9000 -u maps -g maps -F 10 -M 0660 \
    -P /run/maps.pid -- /usr/lib/cgi-bin/mapserv
