#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
# A FastCGI program over FCGI.pm: its parameters, length and checksum of the body, and how often it
# ran; with ?sleep=MS it takes its time. With a file named by NOTES in its environment, each request
# adds process id and query string to that.
use strict;
use warnings;
use Compress::Raw::Zlib qw(crc32);
use FCGI;

my $request  = FCGI::Request();
my $requests = 0;
my $notes    = $ENV{NOTES};

sub note {
    open(my $file, '>>', $notes) or return;
    syswrite($file, "$$ $ENV{QUERY_STRING}\n");
}

while ($request->Accept() >= 0) {
    $requests++;
    note() if defined $notes;
    my $body = '';
    my $length = $ENV{CONTENT_LENGTH} || 0;
    while (length($body) < $length) {
        read(STDIN, $body, $length - length($body), length($body)) or last;
    }
    select(undef, undef, undef, $1 / 1000) if ($ENV{QUERY_STRING} || '') =~ /\bsleep=(\d+)/;
    print "Content-Type: text/plain\r\n\r\n";
    print "$_=$ENV{$_}\n" for sort keys %ENV;
    print "\nlanguage=perl $^V\npid=$$\nrequests=$requests\nbody_bytes=", length($body), "\n";
    printf "body_crc32=%08x\n", crc32($body);
}
