#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
# A FastCGI authorizer over FCGI.pm. Behind Apache it answers one question a request, told by
# FCGI_APACHE_ROLE; behind nginx (auth_request, role RESPONDER) all three at once.
#
#   may anybody come?   not with a header X-Verdict: STATUS BODY…; "die" ends the program unheard,
#                       "half" within its answer, "garbage" is no header, "away" sends elsewhere
#   who is it?          ada (password lovelace) and bob (password builder)
#   may this user?      ada everything, bob nothing below /accounts
#
# What it was asked stands in the answer's headers, for those who are let in.
use strict;
use warnings;
use FCGI;
use MIME::Base64;

my %passwords = (ada => 'lovelace', bob => 'builder');
my $request = FCGI::Request();

# nginx knows no password, but passes the header it came in.
sub credentials {
    my ($user, $password) = ($ENV{REMOTE_USER} // '', $ENV{REMOTE_PASSWD});
    if (!defined $password && ($ENV{HTTP_AUTHORIZATION} // '') =~ /^Basic\s+(\S+)/i) {
        ($user, $password) = split /:/, decode_base64($1), 2;
    }
    return ($user, $password // '');
}

sub deny {
    my ($status, $body) = @_;
    print "Status: $status\r\nX-Denied-By: gatekeeper\r\n";
    print "WWW-Authenticate: Basic realm=\"gatekeeper\"\r\n"
        if $status =~ /^401/ && !$ENV{FCGI_APACHE_ROLE};
    print "Content-Type: text/plain\r\n\r\n$body";
    return 0;
}

sub may_come {
    my $verdict = $ENV{HTTP_X_VERDICT} // '';
    exit 3 if $verdict eq 'die';
    if ($verdict eq 'half') {
        print "Status: 200 OK\r\nVariable-HALF: yes\r\n\r\n";
        $request->Flush();
        kill 9, $$;
    }
    if ($verdict eq 'garbage') {
        print "this is not a header\r\n\r\n";
        return 0;
    }
    if ($verdict eq 'away') {
        print "Location: http://elsewhere.example/login\r\n\r\n";
        return 0;
    }
    return 1 if $verdict eq '';
    my ($status, $body) = split / /, $verdict, 2;
    return deny($status, $body // '');
}

sub is_known {
    my ($user, $password) = credentials();
    return 1 if defined $passwords{$user} && $passwords{$user} eq $password;
    return deny('401 Who are you', "no such user and password: $user\n");
}

sub may_have {
    my ($user) = credentials();
    return 1 if $user ne 'bob' || ($ENV{REQUEST_URI} // '') !~ m{^/accounts};
    return deny('403 Forbidden', "not for $user\n");
}

my %questions = (
    ACCESS_CHECKER => [\&may_come],
    AUTHENTICATOR  => [\&is_known],
    AUTHORIZER     => [\&may_have],
    ''             => [\&may_come, \&is_known, \&may_have],
);

sub grant {
    my $role = $ENV{FCGI_APACHE_ROLE} // 'ALL';
    my $given = join ',', grep { defined $ENV{$_} }
        qw(SCRIPT_NAME PATH_INFO PATH_TRANSLATED CONTENT_LENGTH REMOTE_PASSWD);
    print "Status: 200 OK\r\nContent-Type: text/plain\r\n";
    print "Variable-GATE_$role: $ENV{FCGI_ROLE}\r\n";
    print "Variable-GIVEN: $given\r\nX-Plain: $role\r\n\r\nwhat is said here is not heard\n";
}

while ($request->Accept() >= 0) {
    my $granted = 1;
    for my $question (@{ $questions{ $ENV{FCGI_APACHE_ROLE} // '' } }) {
        $granted &&= $question->();
    }
    grant() if $granted;
}
