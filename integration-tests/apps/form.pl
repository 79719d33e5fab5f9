#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
# A FastCGI program over CGI::Fast, the way of most old Perl programs: a form that greets.
use strict;
use warnings;
use CGI::Fast;

my $greeted = 0;

while (my $query = CGI::Fast->new) {
    my $name = $query->param('name') // '';
    $greeted++ if $name ne '';
    my $safe = $query->escapeHTML($name);
    my $greeting = $name eq '' ? '' : "<p>Hello, $safe: guest $greeted of process $$.</p>";
    print $query->header(-type => 'text/html', -charset => 'utf-8'), <<"HTML";
<!doctype html>
<title>Perl: CGI::Fast</title>
<h1>Perl with CGI::Fast</h1>
$greeting
<form method="post">
  <label>Your name <input name="name" value="$safe"></label> <button>Greet</button>
</form>
<p><a href="/">all programs</a></p>
HTML
}
