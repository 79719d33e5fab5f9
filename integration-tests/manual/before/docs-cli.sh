# SPDX-License-Identifier: Apache-2.0
# Classes of a usher.conf: hello, form, counting, which writes lines, and broken.
cat >/srv/hello.fcgi <<'END'
#!/usr/bin/perl
use FCGI;
my $request = FCGI::Request();
print "Content-Type: text/plain\r\n\r\nhello\n" while $request->Accept() >= 0;
END
cat >/srv/form.fcgi <<'END'
#!/usr/bin/perl
use FCGI;
my $request = FCGI::Request();
while ($request->Accept() >= 0) {
    read(STDIN, my $body, $ENV{CONTENT_LENGTH} // 0);
    print STDERR "working on it\n";
    print "Content-Type: text/plain\r\n\r\nYou said: $body\n";
}
END
cat >/srv/counting.fcgi <<'END'
#!/usr/bin/perl
use FCGI;
print STDERR "number $_\n" for 36 .. 37;
my $request = FCGI::Request();
print "Content-Type: text/plain\r\n\r\n" while $request->Accept() >= 0;
END
chmod 755 /srv/*.fcgi
cat >/etc/usher.conf <<'END'
UsherLog /var/log/usher.log
AppClass hello -command /srv/hello.fcgi -maxClassProcesses 4
AppClass form -command /srv/form.fcgi
AppClass counting -command /srv/counting.fcgi -processes 2
AppClass broken -command /srv/broken.fcgi -on-demand 1
END
usher run /etc/usher.conf >/run/terminal 2>&1 &
until usher status; do sleep 0.1; done
usher scale hello 3
