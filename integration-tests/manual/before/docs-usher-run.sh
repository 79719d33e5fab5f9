# SPDX-License-Identifier: Apache-2.0
# The programs of its usher.conf.
install -d /etc/usher
install -d -o www-data -g www-data /var/log/php
cat >/usr/local/lib/search.fcgi <<'END'
#!/usr/bin/perl
use FCGI;
my $request = FCGI::Request();
print "Content-Type: text/plain\r\n\r\nfound\n" while $request->Accept() >= 0;
END
chmod 755 /usr/local/lib/search.fcgi
