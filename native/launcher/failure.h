/* SPDX-License-Identifier: Apache-2.0 */
/* Why a step of the launcher did not succeed, as the manager and the log are told. */
#ifndef USHER_LAUNCHER_FAILURE_H
#define USHER_LAUNCHER_FAILURE_H

typedef struct {
    char step[16]; /* one word: bind, exec … */
    int errno_value;
    char text[512]; /* one line that names the thing at fault */
    char cause
        [24]; /* where more is known than step and errno say: a JourneyCause of the manager's */
} failure_t;

/* Fill `failure`, without a cause, and return -1. */
int fail(failure_t *failure, const char *step, int errno_value, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* Add the cause, and return -1. */
int fail_because(failure_t *failure, const char *cause);

#endif
