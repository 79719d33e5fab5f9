#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
# A small CGI program: a page of 1000 bytes, as page.c gives it.
use strict;
use warnings;

print "Content-Type: text/plain\r\n\r\n";
print substr join('', 'a' .. 'z') x 39, 0, 1000;
