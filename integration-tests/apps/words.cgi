#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
# A plain CGI program that does what the query string says, word by word (a=b&c=d); the words are those
# of echo.c where both know them:
#
#   status=404 Gone   header=Name: value   no-type   raw      the head of the answer
#   env               the environment, arguments, directory and descriptors; also when nothing is said,
#                     and for every word that is none of these
#   body              the request's body, read as a whole      read      reads the body
#   text=T            T itself               bytes=N           N bytes, byte i being i modulo 251
#   flush             what was written goes out now            stderr=T  a line on stderr
#   sleep=MS          pauses                 wait=FILE         pauses until the file exists
#   child=FILE        starts a child that outlives the answer and writes its process id there
#   exit=N            ends with that status  abort             dies by SIGABRT
use strict;
use warnings;
use POSIX ();

binmode STDIN;
binmode STDOUT;
my @words = map { s/%([0-9a-f]{2})/chr hex $1/gier } split /&/, $ENV{QUERY_STRING} // '';
my ($status, $type, $raw, @headers) = (undef, 1, 0);
my $has_head = 0;

sub head {
    return if $has_head++ || $raw;
    print "Status: $status\r\n" if defined $status;
    print "$_\r\n" for @headers;
    print "Content-Type: text/plain\r\n" if $type;
    print "\r\n";
}

sub env {
    head();
    print "$_=$ENV{$_}\n" for sort keys %ENV;
    print "\nARGV=@ARGV\ncwd=", POSIX::getcwd(), "\npid=$$\nppid=", getppid(), "\n";
    print "uid=$>\numask=", sprintf('%03o', umask), "\n";
    opendir(my $dir, '/proc/self/fd');
    my $own = fileno $dir;
    print 'fds=', join(' ', sort grep { /^\d+$/ && $_ != $own } readdir $dir), "\n";
    my ($mask) = grep { /^SigBlk|^SigIgn/ } do { open my $f, '<', '/proc/self/status'; <$f> };
    print "signals=", $mask =~ /:\s*0+$/ ? 'none' : $mask, "\n";
}

for (@words ? @words : 'env') {
    my ($word, $value) = split /=/, $_, 2;
    if    ($word eq 'status')  { $status = $value }
    elsif ($word eq 'header')  { push @headers, $value }
    elsif ($word eq 'no-type') { $type = 0 }
    elsif ($word eq 'raw')     { $raw = 1 }
    elsif ($word eq 'env')     { env() }
    elsif ($word eq 'read')    { 1 while sysread STDIN, my $bytes, 65536 }
    elsif ($word eq 'body')    { head(); local $/; print <STDIN> }
    elsif ($word eq 'text')    { head(); print $value }
    elsif ($word eq 'bytes')   { head(); my $round = join '', map chr, 0 .. 250;
                                 for (my $left = $value; $left > 0; $left -= 251) { print substr $round, 0, $left } }
    elsif ($word eq 'flush')   { head(); STDOUT->flush() }
    elsif ($word eq 'stderr')  { print STDERR "$value\n" }
    elsif ($word eq 'sleep')   { select undef, undef, undef, $value / 1000 }
    elsif ($word eq 'wait')    { select undef, undef, undef, 0.01 until -e $value }
    elsif ($word eq 'child')   { STDOUT->flush(); if (!fork) { close STDOUT; close STDERR; close STDIN;
                                 open my $f, '>', $value; print $f $$; close $f; sleep 600; exit } }
    elsif ($word eq 'exit')    { STDOUT->flush(); POSIX::_exit($value) }
    elsif ($word eq 'abort')   { STDOUT->flush(); POSIX::abort() }
    else                       { env() }
}
head() if !$raw;
