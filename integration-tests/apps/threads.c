/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A libfcgi program with eight threads, each with a connection of its own: for classes with
 * -keep-conn. Answers connections, requests, pid and body_bytes, one per line: how many it has
 * taken so far. The query string says, word by word:
 *
 *   sleep=MS   pauses      drop   closes the connection behind the answer, KEEP_CONN or not
 *   hello      says that instead, however many requests there were before
 */
#include <errno.h>
#include <fcgiapp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define THREADS 8

static atomic_ulong connections, requests;

static void pause_ms(long ms) {
    struct timespec rest = {ms / 1000, ms % 1000 * 1000000};
    while (nanosleep(&rest, &rest) != 0 && errno == EINTR) {
    }
}

static void answer(FCGX_Request *request) {
    const char *query = FCGX_GetParam("QUERY_STRING", request->envp);
    char piece[4096];
    unsigned long body_bytes = 0;
    int length;
    while ((length = FCGX_GetStr(piece, sizeof piece, request->in)) > 0) {
        body_bytes += (unsigned long)length;
    }
    const char *sleep = query == NULL ? NULL : strstr(query, "sleep=");
    if (sleep != NULL) {
        pause_ms(strtol(sleep + 6, NULL, 10));
    }
    if (query != NULL && strcmp(query, "hello") == 0) {
        FCGX_PutS("Content-Type: text/plain\r\n\r\nhello", request->out);
        return;
    }
    FCGX_FPrintF(request->out,
                 "Content-Type: text/plain\r\n\r\nconnections=%lu\nrequests=%lu\npid=%d\n"
                 "body_bytes=%lu\n",
                 (unsigned long)connections, (unsigned long)requests, (int)getpid(), body_bytes);
    if (query != NULL && strstr(query, "drop") != NULL) {
        request->keepConnection = 0;
    }
}

static void *serve(void *unused) {
    FCGX_Request request;
    FCGX_InitRequest(&request, 0, 0);
    for (;;) {
        bool is_new = request.ipcFd < 0 || !request.keepConnection;
        if (FCGX_Accept_r(&request) < 0) {
            return unused;
        }
        if (is_new) {
            connections++;
        }
        requests++;
        answer(&request);
        FCGX_Finish_r(&request);
    }
}

int main(void) {
    pthread_t threads[THREADS];
    if (FCGX_Init() != 0) {
        return 1;
    }
    for (int i = 0; i < THREADS; i++) {
        if (pthread_create(&threads[i], NULL, serve, NULL) != 0) {
            return 1;
        }
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    return 0;
}
