/* SPDX-License-Identifier: Apache-2.0 */
/* A small CGI program: a page of 1000 bytes, as page.pl gives it. */
#include <stdio.h>

#define LENGTH 1000

int main(void) {
    printf("Content-Type: text/plain\r\n\r\n");
    for (int i = 0; i < LENGTH; i++) {
        putchar('a' + i % 26);
    }
    return 0;
}
