/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stands in for usher-launcher in registration_test: writes down what it was started with, to
 * <runtime dir>/report, says a line on stdout and stderr, and ends.
 */
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

extern char **environ;

static void list_descriptors(FILE *report) {
    DIR *directory = opendir("/proc/self/fd");
    struct dirent *entry;
    while (directory != NULL && (entry = readdir(directory)) != NULL) {
        int fd = atoi(entry->d_name);
        if (entry->d_name[0] != '.' && fd != dirfd(directory) && fd != fileno(report))
            fprintf(report, "fd %d\n", fd);
    }
    if (directory != NULL)
        closedir(directory);
}

static void list_signals(FILE *report) {
    sigset_t blocked;
    sigprocmask(SIG_BLOCK, NULL, &blocked);
    for (int number = 1; number < NSIG; number++) {
        struct sigaction action;
        if (sigismember(&blocked, number) == 1)
            fprintf(report, "blocked %d\n", number);
        if (sigaction(number, NULL, &action) == 0 && action.sa_handler == SIG_IGN)
            fprintf(report, "ignored %d\n", number);
    }
}

int main(int count, char **words) {
    char path[512], temporary[512], folder[512];
    if (count < 3)
        return 2;
    snprintf(path, sizeof path, "%s/report", words[2]);
    snprintf(temporary, sizeof temporary, "%s/report.new", words[2]);
    FILE *report = fopen(temporary, "w");
    if (report == NULL)
        return 1;
    for (int i = 1; i < count; i++)
        fprintf(report, "argument %s\n", words[i]);
    for (char **variable = environ; *variable != NULL; variable++)
        fprintf(report, "variable %s\n", *variable);
    list_descriptors(report);
    list_signals(report);
    mode_t mask = umask(0);
    fprintf(report, "cwd %s\n", getcwd(folder, sizeof folder));
    fprintf(report, "umask %03o\n", (unsigned)mask);
    fprintf(report, "parent %ld\n", (long)getppid());
    fprintf(report, "session %ld\n", (long)getsid(0));
    fprintf(report, "leader %d\n", getsid(0) == getpid());
    fclose(report);
    printf("to stdout\n");
    fflush(stdout);
    fprintf(stderr, "to stderr\n");
    return rename(temporary, path) < 0;
}
