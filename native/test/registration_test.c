/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Registration as both modules use it: once as root (when the test runs as root) and once as an
 * ordinary user. The starter is compiled into the test, so that it starts fake_launcher_helper.
 */
static char launcher_path[4096], usherd_path[4096], node_path[4096];
#define USHER_DEFAULT_LAUNCHER launcher_path
#define USHER_DEFAULT_USHERD usherd_path
#define USHER_DEFAULT_NODE node_path
#include "registration/embedded.c"

#include <dirent.h>
#include <ftw.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <time.h>

#include "registration/registration.h"
#include "tap.h"

#define WORKER_UID 65534
#define USER_UID 65533

#define RUNTIME_BYTES 128
#define LIVE_BYTES 256

static char scratch[64];        /* a directory of this run's own */
static char configuration[128]; /* a file in it */
static const char *who;         /* "root" or "user": goes into the names of the tests */

/* ---- helpers ---------------------------------------------------------------------------------- */

static const char *in(const char *directory, const char *name) {
    static char paths[8][8192];
    static int next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", directory, name);
    return path;
}

/* A new runtime directory's path; nothing is there yet. */
static const char *new_runtime(void) {
    static char paths[64][sizeof scratch + 32];
    static unsigned number;
    char *path = paths[number % 64];
    snprintf(path, sizeof paths[0], "%s/%s%u", scratch, who, ++number);
    return path;
}

static usher_server_t server_in(const char *runtime_dir) {
    return (usher_server_t){
        .runtime_dir = runtime_dir,
        .kind = "nginx",
        .configuration_file = configuration,
        .user = "nobody",
        .group = "nogroup",
        .uid = WORKER_UID,
        .gid = WORKER_UID,
        .mode = USHER_MANAGER_MODE_EXTERNAL,
    };
}

static void write_text(const char *path, const char *text, mode_t mode) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
    ssize_t written = fd < 0 ? -1 : write(fd, text, strlen(text));
    if (written < 0)
        printf("Bail out! cannot write %s: %s\n", path, strerror(errno));
    fchmod(fd, mode);
    close(fd);
}

/* Text of a file, "" when it cannot be read; overwritten by the next call. */
static const char *read_text(const char *path) {
    static char text[1 << 20];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
    if (fd >= 0)
        close(fd);
    text[length > 0 ? length : 0] = '\0';
    return text;
}

static bool wait_for(const char *path) {
    for (int i = 0; i < 1000 && access(path, F_OK) < 0; i++)
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    return access(path, F_OK) == 0;
}

static struct stat stat_of(const char *path) {
    struct stat status = {0};
    lstat(path, &status);
    return status;
}

static unsigned mode_of(const char *path) {
    return stat_of(path).st_mode & 07777;
}

static int count_descriptors(void) {
    int count = 0;
    DIR *directory = opendir("/proc/self/fd");
    while (directory != NULL && readdir(directory) != NULL)
        count++;
    closedir(directory);
    return count;
}

/* Begin, add nothing, commit; the status of the first step that failed. */
static usher_status_t register_once(const usher_server_t *server, char *live_path,
                                    usher_error_t *error) {
    usher_registration_t *registration;
    usher_channel_t *channel = NULL;
    uint32_t generation;
    usher_status_t status = usher_registration_begin(server, &registration, error);
    if (status != USHER_OK)
        return status;
    status = usher_registration_commit(registration, &channel, &generation, live_path, LIVE_BYTES,
                                       error);
    usher_channel_close(channel);
    return status;
}

static bool refuses(const char *runtime_dir, const char *text) {
    usher_error_t error = {0};
    char live[LIVE_BYTES];
    usher_server_t server = server_in(runtime_dir);
    usher_status_t status = register_once(&server, live, &error);
    if (status != USHER_OK && strstr(error.text, text) != NULL)
        return true;
    printf("# status %d: %s\n", (int)status, error.text);
    return false;
}

/* ---- paths ------------------------------------------------------------------------------------ */

static void test_paths(void) {
    usher_error_t error;
    char path[PATH_MAX], small[8];
    memset(path, 'x', sizeof path);
    path[0] = '/';
    path[66] = '\0';
    is_int(usher_runtime_dir_check(path, &error), 0, "%s: a path of 66 bytes leaves room", who);
    path[66] = '/';
    path[67] = '\0';
    is_int(usher_runtime_dir_check(path, &error), 0, "%s: a slash at its end counts for nothing",
           who);
    path[66] = 'x';
    ok(usher_runtime_dir_check(path, &error) == -1 &&
           strstr(error.text, "has 67 bytes, at most 66") != NULL,
       "%s: a path of 67 bytes does not, and the error says so", who);
    ok(usher_runtime_dir_check("run/usher", &error) == -1 &&
           strstr(error.text, "expected an absolute path") != NULL,
       "%s: a relative path is refused", who);
    ok(usher_runtime_dir_check("//", &error) == -1, "%s: the root directory is refused", who);
    ok(usher_runtime_dir_check("", &error) == -1, "%s: an empty path is refused", who);
    ok(usher_runtime_dir_check("/a\nb", &error) == -1 && strchr(error.text, '\n') == NULL,
       "%s: control characters are refused and not repeated", who);

    setenv("XDG_RUNTIME_DIR", "/run/user/7", 1);
    usher_default_runtime_dir(path, sizeof path, &error);
    is_str(path, geteuid() == 0 ? "/run/usher" : "/run/user/7/usher", "%s: default directory", who);
    is_int(usher_default_runtime_dir(small, sizeof small, &error), -1, "%s: no room for it", who);
    unsetenv("XDG_RUNTIME_DIR");
    int result = usher_default_runtime_dir(path, sizeof path, &error);
    ok(geteuid() == 0 ? result == 0
                      : result == -1 && strstr(error.text, "XDG_RUNTIME_DIR is not set") != NULL,
       "%s: without XDG_RUNTIME_DIR only root has a default", who);
}

/* ---- directories ------------------------------------------------------------------------------ */

static void test_directories(void) {
    usher_error_t error = {0};
    char live[LIVE_BYTES] = "", parent[RUNTIME_BYTES - 8], runtime[RUNTIME_BYTES], folder[PATH_MAX];
    bool root = geteuid() == 0;
    snprintf(parent, sizeof parent, "%s", new_runtime());
    snprintf(runtime, sizeof runtime, "%s/a/b/", parent);
    usher_server_t server = server_in(runtime);
    mode_t before = umask(0077);
    is_int(register_once(&server, live, &error), USHER_OK, "%s: register in a new directory %s",
           who, error.text);
    umask(before);
    is_int(mode_of(in(parent, "a")), 0755, "%s: directories above are open whatever the umask",
           who);
    runtime[strlen(runtime) - 1] = '\0';
    is_int(mode_of(runtime), root ? 0711 : 0700, "%s: mode of the runtime directory", who);
    static const char *const ours[] = {"channel", "sockets", "servers"};
    for (size_t i = 0; i < 3; i++) {
        struct stat status = stat_of(in(runtime, ours[i]));
        ok(S_ISDIR(status.st_mode) && (status.st_mode & 07777) == 0700 &&
               status.st_uid == geteuid(),
           "%s: %s/ is 0700 and ours", who, ours[i]);
    }
    is_int(mode_of(in(runtime, "lock")), 0600, "%s: mode of lock", who);

    snprintf(folder, sizeof folder, "%s", live);
    *strrchr(folder, '/') = '\0';
    ok(strncmp(folder, in(runtime, "nginx-"), strlen(runtime) + 7) == 0 &&
           strlen(folder) == strlen(runtime) + 1 + strlen("nginx-01234567"),
       "%s: the server's name is its kind and eight digits: %s", who, folder + strlen(runtime) + 1);
    uid_t worker = root ? WORKER_UID : geteuid();
    is_int(mode_of(folder), root ? 0500 : 0700, "%s: mode of <server>/", who);
    is_int(stat_of(folder).st_uid, worker, "%s: <server>/ belongs to the workers' user", who);
    is_int(mode_of(live), 0600, "%s: mode of live", who);
    is_int(stat_of(live).st_uid, worker, "%s: live belongs to the workers' user", who);

    ino_t inode = stat_of(live).st_ino;
    chmod(folder, 0777);
    chmod(in(runtime, "servers"), 0777);
    is_int(register_once(&server, live, &error), USHER_OK, "%s: register again %s", who,
           error.text);
    ok(stat_of(live).st_ino == inode, "%s: live is kept: workers hold locks in it", who);
    is_int(mode_of(folder), root ? 0500 : 0700, "%s: the mode of <server>/ is put right", who);
    is_int(mode_of(in(runtime, "servers")), 0700, "%s: and that of servers/", who);
}

static void test_refused_directories(void) {
    char runtime[RUNTIME_BYTES], target[PATH_MAX];

    snprintf(runtime, sizeof runtime, "%s", new_runtime());
    mkdir(runtime, 0700);
    chmod(runtime, 0770);
    ok(refuses(runtime, "may be written by others than its owner (mode 0770)"),
       "%s: a directory that the group may write to", who);

    snprintf(target, sizeof target, "%s", runtime);
    chmod(target, 0700);
    snprintf(runtime, sizeof runtime, "%s", new_runtime());
    ok(symlink(target, runtime) == 0 && refuses(runtime, "is a symbolic link"),
       "%s: a symbolic link in its place", who);

    snprintf(runtime, sizeof runtime, "%s", new_runtime());
    write_text(runtime, "", 0600);
    ok(refuses(runtime, "Not a directory"), "%s: a file in its place", who);
    ok(refuses(in(runtime, "x"), "Not a directory"), "%s: a file above it", who);

    snprintf(runtime, sizeof runtime, "%s", new_runtime());
    mkdir(runtime, 0700);
    ok(symlink(target, in(runtime, "channel")) == 0 && refuses(runtime, "/channel: "),
       "%s: a symbolic link as channel/", who);
    unlink(in(runtime, "channel"));
    unlink(in(runtime, "lock"));
    snprintf(target, sizeof target, "%s", in(scratch, "victim"));
    ok(symlink(target, in(runtime, "lock")) == 0 && refuses(runtime, "/lock: ") &&
           access(target, F_OK) < 0,
       "%s: a symbolic link as lock, which is not followed", who);

    if (geteuid() == 0) {
        snprintf(runtime, sizeof runtime, "%s", new_runtime());
        mkdir(runtime, 0700);
        ok(chown(runtime, USER_UID, USER_UID) == 0 &&
               refuses(runtime, "belongs to user id 65533, must belong to 0"),
           "root: a directory of another user");
        snprintf(runtime, sizeof runtime, "%s", new_runtime());
        mkdir(runtime, 0700);
        usher_error_t error = {0};
        usher_server_t server = server_in(runtime);
        is_int(register_once(&server, target, &error), USHER_OK,
               "root: one that only root can enter");
        is_int(mode_of(runtime), 0711, "root: is opened for workers to go through");
    } else {
        ok(refuses("/proc/usher", "cannot create the runtime directory"),
           "user: a place where nothing can be made");
        ok(refuses("/usr/share", "/usr/share"), "user: a directory of root's");
    }
}

/* The workers' user owns <server>/ and can put anything there; root must not be led on by it. */
static void test_hostile_worker(void) {
    usher_error_t error = {0};
    char live[LIVE_BYTES], runtime[RUNTIME_BYTES], victim[PATH_MAX];
    snprintf(runtime, sizeof runtime, "%s", new_runtime());
    snprintf(victim, sizeof victim, "%s", in(scratch, "root-owned"));
    write_text(victim, "secret", 0600);
    usher_server_t server = server_in(runtime);
    register_once(&server, live, &error);

    unlink(live);
    ok(symlink(victim, live) == 0 && register_once(&server, live, &error) == USHER_OK &&
           S_ISREG(stat_of(live).st_mode) && stat_of(victim).st_uid == 0,
       "root: a symbolic link as live is replaced, its target stays root's %s", error.text);
    unlink(live);
    ok(link(victim, live) == 0 && register_once(&server, live, &error) == USHER_OK &&
           stat_of(live).st_ino != stat_of(victim).st_ino && stat_of(victim).st_uid == 0,
       "root: so is a hard link");
    unlink(live);
    ok(mkfifo(live, 0600) == 0 && register_once(&server, live, &error) == USHER_OK &&
           S_ISREG(stat_of(live).st_mode),
       "root: and a pipe, without waiting for its other end");
    unlink(live);
    ok(mkdir(live, 0700) == 0 && register_once(&server, live, &error) == USHER_OK &&
           S_ISREG(stat_of(live).st_mode),
       "root: and an empty directory");

    server.uid = server.gid = USER_UID;
    is_int(register_once(&server, live, &error), USHER_OK, "root: register with another user");
    is_int(stat_of(live).st_uid, USER_UID, "root: live is the new user's");
    *strrchr(live, '/') = '\0';
    is_int(stat_of(live).st_uid, USER_UID, "root: and so is its directory");
}

/* ---- the lock --------------------------------------------------------------------------------- */

/* Hold <runtime dir>/lock alone in a child, which says when it does and ends after `hold_ms`. */
static pid_t hold_lock(const char *runtime, long hold_ms) {
    int ready[2];
    char byte;
    if (pipe(ready) < 0)
        return -1;
    pid_t pid = fork();
    if (pid == 0) {
        int fd = open(in(runtime, "lock"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        int result = flock(fd, LOCK_EX);
        close(ready[0]);
        close(ready[1]);
        nanosleep(&(struct timespec){hold_ms / 1000, hold_ms % 1000 * 1000000}, NULL);
        _exit(result < 0);
    }
    close(ready[1]);
    ssize_t ended = read(ready[0], &byte, 1); /* end of file: locked */
    (void)ended;
    close(ready[0]);
    return pid;
}

static void test_lock(void) {
    usher_error_t error = {0};
    char live[LIVE_BYTES], runtime[RUNTIME_BYTES];
    snprintf(runtime, sizeof runtime, "%s", new_runtime());
    usher_server_t server = server_in(runtime);
    register_once(&server, live, &error);
    uint64_t begin_ns = usher_os_now_ns();
    pid_t holder = hold_lock(runtime, 300);
    is_int(register_once(&server, live, &error), USHER_OK,
           "%s: a registration waits for an ending manager %s", who, error.text);
    uint64_t waited_ms = (usher_os_now_ns() - begin_ns) / 1000000;
    ok(waited_ms >= 300 && waited_ms < 30000, "%s: as long as it takes (%d ms)", who,
       (int)waited_ms);
    waitpid(holder, NULL, 0);

    usher_registration_t *first = NULL, *second = NULL;
    ok(usher_registration_begin(&server, &first, &error) == USHER_OK &&
           usher_registration_begin(&server, &second, &error) == USHER_OK,
       "%s: two registrations share the lock", who);
    int fd = open(in(runtime, "lock"), O_RDWR | O_CLOEXEC);
    ok(flock(fd, LOCK_EX | LOCK_NB) < 0, "%s: and keep it from an ending manager", who);
    usher_registration_abandon(first);
    usher_registration_abandon(second);
    ok(flock(fd, LOCK_EX | LOCK_NB) == 0, "%s: until both are over", who);
    close(fd);
    usher_registration_abandon(NULL);
}

static void test_lock_deadline(void) {
    usher_error_t error = {0};
    char live[LIVE_BYTES];
    const char *runtime = new_runtime();
    usher_server_t server = server_in(runtime);
    register_once(&server, live, &error);
    pid_t holder = hold_lock(runtime, 60000);
    is_int(register_once(&server, live, &error), USHER_TIMEOUT, "it times out");
    ok(strstr(error.text, "has been held for 10 s") != NULL, "and says why");
    kill(holder, SIGKILL);
    waitpid(holder, NULL, 0);
}

/* What a manager does at its end, again and again, under the exclusive lock. */
_Noreturn static void remove_again_and_again(const char *runtime) {
    static const char *const folders[] = {"channel", "sockets", "servers"};
    for (;;) {
        int fd = open(in(runtime, "lock"), O_RDWR | O_CLOEXEC);
        struct stat held, found;
        if (fd < 0 || flock(fd, LOCK_EX) < 0 || fstat(fd, &held) < 0 ||
            lstat(in(runtime, "lock"), &found) < 0 || held.st_ino != found.st_ino) {
            if (fd >= 0)
                close(fd);
            continue;
        }
        for (size_t i = 0; i < 3; i++) {
            char folder[PATH_MAX];
            snprintf(folder, sizeof folder, "%s", in(runtime, folders[i]));
            DIR *directory = opendir(folder);
            struct dirent *entry;
            while (directory != NULL && (entry = readdir(directory)) != NULL)
                unlink(in(folder, entry->d_name));
            if (directory != NULL)
                closedir(directory);
            rmdir(folder);
        }
        unlink(in(runtime, "lock"));
        rmdir(runtime);
        close(fd);
    }
}

static void test_removed_meanwhile(void) {
    usher_error_t error = {0};
    char live[LIVE_BYTES], runtime[RUNTIME_BYTES];
    snprintf(runtime, sizeof runtime, "%s", new_runtime());
    usher_server_t server = server_in(runtime);
    pid_t remover = fork();
    if (remover == 0)
        remove_again_and_again(runtime);
    usher_status_t status = USHER_OK;
    for (int i = 0; i < 200 && status == USHER_OK; i++)
        status = register_once(&server, live, &error);
    kill(remover, SIGKILL);
    waitpid(remover, NULL, 0);
    is_int(status, USHER_OK, "%s: registrations beside managers that remove the directory%s%s", who,
           status == USHER_OK ? "" : ": ", status == USHER_OK ? "" : error.text);
}

/* ---- the end of the last server --------------------------------------------------------------- */

/* A registration of this generation, as old as `age_s`. */
static void age_registrations(const char *runtime, int age_s) {
    char folder[RUNTIME_BYTES + 16];
    snprintf(folder, sizeof folder, "%s/servers", runtime);
    struct timespec times[2];
    clock_gettime(CLOCK_REALTIME, &times[0]);
    times[0].tv_sec -= age_s;
    times[1] = times[0];
    DIR *entries = opendir(folder);
    struct dirent *entry;
    while (entries != NULL && (entry = readdir(entries)) != NULL)
        if (entry->d_name[0] != '.')
            utimensat(dirfd(entries), entry->d_name, times, 0);
    closedir(entries);
}

static void test_ending(void) {
    usher_error_t error = {0};
    char live[LIVE_BYTES], other_live[LIVE_BYTES], runtime[RUNTIME_BYTES];
    snprintf(runtime, sizeof runtime, "%s", new_runtime());
    usher_server_t server = server_in(runtime), other = server_in(runtime);
    other.kind = "tiny9";
    int descriptors = count_descriptors();
    register_once(&server, live, &error);
    register_once(&server, live, &error);
    write_text(in(runtime, "usher.log"), "said\n", 0600);

    int lock = open(in(runtime, "manager.lock"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    flock(lock, LOCK_EX);
    ok(!usher_registration_end(live, 2), "%s: a manager that runs keeps the directory", who);
    close(lock);
    lock = open(in(runtime, "lock"), O_RDWR | O_CLOEXEC);
    flock(lock, LOCK_SH);
    ok(!usher_registration_end(live, 2), "%s: so does a server that is registering", who);
    close(lock);
    ok(!usher_registration_end(live, 1), "%s: or has just done so, after a later generation", who);
    int worker = open(live, O_RDWR | O_CLOEXEC);
    usher_os_lock_byte(worker, 1023);
    ok(!usher_registration_end(live, 2), "%s: and a worker", who);
    close(worker);
    register_once(&other, other_live, &error);
    ok(!usher_registration_end(live, 2), "%s: and another server that may be forking", who);
    ok(access(in(runtime, "channel/table"), F_OK) == 0 && access(live, F_OK) == 0,
       "%s: of which nothing is removed", who);

    age_registrations(runtime, 60);
    ok(usher_registration_end(live, 2), "%s: the last one removes it", who);
    ok(access(runtime, F_OK) < 0 && errno == ENOENT, "%s: with all that was in it", who);
    ok(!usher_registration_end(live, 2), "%s: once", who);

    register_once(&server, live, &error);
    write_text(in(runtime, "notes"), "not ours\n", 0600);
    ok(usher_registration_end(live, 1) && access(in(runtime, "notes"), F_OK) == 0 &&
           access(in(runtime, "channel"), F_OK) < 0 && access(live, F_OK) < 0,
       "%s: but for what is not ours", who);
    is_int(count_descriptors(), descriptors, "%s: no descriptor is left open", who);
}

/* ---- the file --------------------------------------------------------------------------------- */

/* The next word of a line in the dialect, as a reader of it would find it; NULL at the line's end. */
static const char *next_word(const char **at, char *word) {
    char *out = word;
    while (**at == ' ')
        ++*at;
    if (**at == '\n' || **at == '\0')
        return NULL;
    if (**at != '"') {
        while (**at != ' ' && **at != '\n')
            *out++ = *(*at)++;
    } else {
        for (++*at; **at != '"'; ++*at) {
            if (**at == '\\')
                ++*at;
            *out++ = **at;
        }
        ++*at;
    }
    *out = '\0';
    return word;
}

static bool line_is(const char **at, const char *const *words, size_t count) {
    char word[4096];
    bool same = true;
    for (size_t i = 0; i < count; i++) {
        const char *found = next_word(at, word);
        if (found == NULL || strcmp(found, words[i]) != 0) {
            printf("# word %zu: got <%s>, expected <%s>\n", i, found != NULL ? found : "",
                   words[i]);
            same = false;
            break;
        }
    }
    same = same && next_word(at, word) == NULL;
    *at += strcspn(*at, "\n");
    *at += **at == '\n';
    return same;
}

static bool skip_text(const char **at, const char *text) {
    if (strncmp(*at, text, strlen(text)) != 0)
        return false;
    *at += strlen(text);
    return true;
}

static void test_file(void) {
    usher_error_t error = {0};
    char live[LIVE_BYTES], runtime[RUNTIME_BYTES], pid[16], name[64], file[PATH_MAX];
    bool root = geteuid() == 0;
    usher_registration_t *registration;
    usher_channel_t *channel = NULL;
    uint32_t generation = 0;
    snprintf(runtime, sizeof runtime, "%s", new_runtime());
    usher_server_t server = server_in(runtime);
    int descriptors = count_descriptors();

    static const char *const awkward[] = {
        "AppClass",
        "/srv/a b/ä.fcgi",
        "-command",
        "php -c \"/etc/x y\" '\\n'",
        "-user",
        "#",
        "-initial-env",
        "EMPTY=",
        "-cwd",
        "/back\\slash\\",
        "-group",
        "\"",
        "-socket",
        "",
        "#",
        "$x",
        "-host",
        "[::1]:80",
        "a'b",
        "\\\"",
    };
    static const size_t awkward_count = sizeof awkward / sizeof awkward[0];
    setenv("USHER_TEST_COPIED", "from \"here\"", 1);
    unsetenv("USHER_TEST_MISSING");
    static const char *const copying[] = {
        "FCGIConfig",   "-initial-env", "USHER_TEST_COPIED", "-INITIAL-ENV", "USHER_TEST_MISSING",
        "-initial-env", "A=1",          "-restart"};
    static const char *const copied[] = {
        "FCGIConfig",   "-initial-env", "USHER_TEST_COPIED=from \"here\"",
        "-initial-env", "A=1",          "-restart"};
    static const char *const broken[] = {"AppClass", "/a\nAppClass", "/b"};
    static const char *const comment[] = {"#", "x"};
    char long_word[2000];
    memset(long_word, '"', sizeof long_word - 1);
    long_word[sizeof long_word - 1] = '\0';
    const char *const roots[] = {"UsherRoot", long_word};

    is_int(usher_registration_begin(&server, &registration, &error), USHER_OK, "%s: begin %s", who,
           error.text);
    is_int(usher_registration_add(registration, "/etc/nginx/a\nb.conf:12", awkward, awkward_count,
                                  &error),
           USHER_OK, "%s: add awkward words", who);
    ok(usher_registration_add(registration, "x:1", broken, 3, &error) == USHER_INVALID &&
           strstr(error.text, "AppClass: word 2 holds a control character") != NULL,
       "%s: a newline in a word is refused", who);
    is_int(usher_registration_add(registration, "x:2", comment, 2, &error), USHER_INVALID,
           "%s: a line that would be a comment is refused", who);
    is_int(usher_registration_add(registration, NULL, copying, 0, &error), USHER_INVALID,
           "%s: and one without words", who);
    is_int(usher_registration_add(registration, NULL, copying, 8, &error), USHER_OK,
           "%s: add copies of variables", who);
    for (int i = 0; i < 20; i++)
        usher_registration_add(registration, NULL, roots, 2, &error);
    is_int(
        usher_registration_commit(registration, &channel, &generation, live, sizeof live, &error),
        USHER_OK, "%s: commit %s", who, error.text);
    ok(channel != NULL && generation == 1, "%s: the first generation", who);

    snprintf(name, sizeof name, "%s", live + strlen(runtime) + 1);
    *strchr(name, '/') = '\0';
    snprintf(file, sizeof file, "%s/servers/%s.1.conf", runtime, name);
    is_int(mode_of(file), 0600, "%s: mode of the file", who);
    char tmp[PATH_MAX + 8];
    snprintf(tmp, sizeof tmp, "%s.tmp", file);
    ok(access(tmp, F_OK) < 0, "%s: no temporary file is left", who);

    const char *at = read_text(file);
    char canonical[PATH_MAX], user[64], group[64];
    snprintf(pid, sizeof pid, "%ld", (long)getpid());
    struct passwd *own_user = getpwuid(geteuid());
    struct group *own_group = getgrgid(getegid());
    snprintf(user, sizeof user, "#%u", (unsigned)geteuid());
    snprintf(group, sizeof group, "#%u", (unsigned)getegid());
    if (root || own_user != NULL)
        snprintf(user, sizeof user, "%s", root ? "nobody" : own_user->pw_name);
    if (root || own_group != NULL)
        snprintf(group, sizeof group, "%s", root ? "nogroup" : own_group->gr_name);
    const char *const head[] = {"UsherServer",    name,
                                "-generation",    "1",
                                "-kind",          "nginx",
                                "-pid",           pid,
                                "-user",          user,
                                "-group",         group,
                                "-configuration", realpath(configuration, canonical)};
    ok(line_is(&at, head, sizeof head / sizeof head[0]), "%s: who registers", who);
    ok(skip_text(&at, "# at /etc/nginx/a?b.conf:12\n"), "%s: where it was written", who);
    ok(line_is(&at, awkward, awkward_count), "%s: awkward words come back", who);
    ok(line_is(&at, copied, 6), "%s: variables with their values, missing ones left out", who);
    bool all = true;
    for (int i = 0; i < 20; i++)
        all = all && line_is(&at, roots, 2);
    ok(all && *at == '\0', "%s: long words, and nothing else", who);
    usher_channel_close(channel);

    is_int(register_once(&server, live, &error), USHER_OK, "%s: the second generation", who);
    snprintf(file, sizeof file, "%s/servers/%s.2.conf", runtime, name);
    ok(access(file, F_OK) == 0, "%s: has a file of its own", who);
    snprintf(file, sizeof file, "%s/servers/%s.1.conf", runtime, name);
    ok(access(file, F_OK) == 0, "%s: beside the first, whose workers may still live", who);

    server.kind = "apache";
    register_once(&server, live, &error);
    ok(strncmp(live, in(runtime, "apache-"), strlen(runtime) + 8) == 0 &&
           strncmp(live + strlen(runtime) + 8, name + 6, 8) == 0,
       "%s: another kind of server with the same file has another name", who);
    server = server_in(runtime);
    server.uid = USER_UID;
    register_once(&server, live, &error);
    bool same = strncmp(live + strlen(runtime) + 1, name, strlen(name)) == 0;
    ok(same == !root, "%s: so has one whose workers are another user, if it can have such", who);
    is_int(count_descriptors(), descriptors, "%s: no descriptor is left open", who);
}

/* Words of a directive, ended by NULL. */
static usher_status_t add(usher_registration_t *registration, const char *const *words) {
    usher_error_t error;
    size_t count = 0;
    while (words[count] != NULL)
        count++;
    return usher_registration_add(registration, NULL, words, count, &error);
}

/* What stands in .allow after these directives; "" when there is none. */
static const char *allowed_by(const char *const *const *directives) {
    usher_error_t error = {0};
    char live[LIVE_BYTES];
    const char *runtime = new_runtime();
    usher_server_t server = server_in(runtime);
    usher_registration_t *registration;
    usher_channel_t *channel = NULL;
    uint32_t generation = 0;
    usher_registration_begin(&server, &registration, &error);
    for (; *directives != NULL; directives++)
        add(registration, *directives);
    usher_registration_commit(registration, &channel, &generation, live, sizeof live, &error);
    usher_channel_close(channel);
    char file[PATH_MAX];
    char *end = strrchr(live, '/');
    *end = '\0';
    snprintf(file, sizeof file, "%s/servers/%s.1.allow", runtime, strrchr(live, '/') + 1);
    is_int(mode_of(file), 0600, "%s: mode of the allow list", who);
    return read_text(file);
}

#define WORDS(...) ((const char *const[]){__VA_ARGS__, NULL})
#define DIRECTIVES(...) ((const char *const *const[]){__VA_ARGS__, NULL})

/* "user=NAME\ngroup=NAME\n" of the server's workers. */
static const char *owner_lines(void) {
    static char lines[160];
    const struct passwd *user = getpwuid(geteuid());
    const struct group *group = getgrgid(getegid());
    if (geteuid() == 0)
        return "user=nobody\ngroup=nogroup\n";
    int length = user != NULL ? snprintf(lines, sizeof lines, "user=%s\n", user->pw_name)
                              : snprintf(lines, sizeof lines, "user=#%u\n", (unsigned)geteuid());
    if (group != NULL)
        snprintf(lines + length, sizeof lines - (size_t)length, "group=%s\n", group->gr_name);
    else
        snprintf(lines + length, sizeof lines - (size_t)length, "group=#%u\n", (unsigned)getegid());
    return lines;
}

/* `format` has one or two %s, or %1$s, for the owner's lines. */
__attribute__((format(printf, 2, 0))) static void allows(const char *const *const *directives,
                                                         const char *format, const char *what) {
    char expected[4096];
    snprintf(expected, sizeof expected, format, owner_lines(), owner_lines());
    is_str(allowed_by(directives), expected, "%s: %s", who, what);
}

static void test_allow(void) {
    setenv("USHER_TEST_COPIED", "from\\here", 1);
    allows(DIRECTIVES(WORDS("AppClass", "/srv/app/main.fcgi")),
           "program\narg=/srv/app/main.fcgi\ncwd=/srv/app\n%sdynamic\n%s",
           "a path in its directory, as the workers' user");
    allows(
        DIRECTIVES(WORDS("fastcgiserver", "php", "-command", "php-cgi -d 'a b=\\c'", "-cwd", "/w",
                         "-initial-env", "A=1", "-initial-env", "USHER_TEST_COPIED", "-initial-env",
                         "A=2", "-priority", "5", "-limit", "nofile=1K", "-limit", "core=0", "-log",
                         "/var/log/x", "-allow-setuid", "-socket", "/run/p.sock")),
        "program\narg=php-cgi\narg=-d\narg=a b=\\\\c\ncwd=/w\nlisten=unix:/run/p.sock\n%s"
        "env=USHER_TEST_COPIED=from\\\\here\nenv=A=2\nnice=5\nlog=/var/log/x\nsetuid=1\n"
        "limit=nofile=1K\nlimit=core=0\ndynamic\n%s",
        "all options; of a variable the last value");
    allows(DIRECTIVES(WORDS("AppClass", "/main", "-user", "app", "-port", "127.0.0.1:9000",
                            "-on-demand", "2", "-priority", "0"),
                      WORDS("AppClass", "/opt/x/", "-user", "app", "-group", "www"),
                      WORDS("FCGIConfig", "-dynamicRoot", "/none")),
           "program\narg=/main\ncwd=/\nlisten=tcp:127.0.0.1:9000\nuser=app\n"
           "program\narg=/opt/x/\ncwd=/opt\nuser=app\ngroup=www\ndynamic\nroot=/none\n%s",
           "another user without a group of the server's, or with one of its own");
    allows(DIRECTIVES(WORDS("UsherRoot", "/srv/a"), WORDS("FCGIConfig", "-initial-env", "A=1"),
                      WORDS("UsherRoot", "/srv/b"), WORDS("FastCgiConfig", "-path-check", "ROOTS")),
           "dynamic\nroot=/srv/a\nroot=/srv/b\npath-check=roots\n%senv=A=1\n",
           "dynamic classes below the server's roots; several lines count as one");
    allows(DIRECTIVES(WORDS("UsherRoot", "/srv/a"), WORDS("FCGIConfig", "-restart"),
                      WORDS("FCGIConfig", "-no-such-option", "1"),
                      WORDS("FCGIConfig", "-idle-stop", "3"), WORDS("AppClass", "/a/b")),
           "program\narg=/a/b\ncwd=/a\n%s", "none where one of these lines is wrong");
    allows(DIRECTIVES(WORDS("AppClass", "/a", "-processes", "many"), WORDS("AppClass", "name"),
                      WORDS("AppClass", "a/b"), WORDS("AppClass", "/b", "-command", "'x"),
                      WORDS("AppClass"), WORDS("NoSuchDirective", "/c"),
                      WORDS("ExternalAppClass", "/d", "-host", "h:1"), WORDS("AppClass", "/d"),
                      WORDS("AppClass", "/a"), WORDS("AppClass", "/a", "-cwd", "/tmp")),
           "program\narg=/a\ncwd=/\n%sdynamic\n%s",
           "nothing that is wrong or external, and of a name the first that is right");
}

static void test_allowed_gateways(void) {
    allows(DIRECTIVES(WORDS("AppClass", "/srv/cgi/env.cgi", "-protocol", "CGI", "-limit", "core=0",
                            "-limit", "nofile=1K", "-initial-env", "A=1", "-priority", "3", "-log",
                            "/var/log/x", "-allow-setuid")),
           "program\ngateway=cgi\narg=--limit\narg=core=0\narg=--limit\narg=nofile=1K\n"
           "arg=--program\narg=/srv/cgi/env.cgi\ncwd=/\n%senv=A=1\nnice=3\nlog=/var/log/x\n"
           "setuid=1\ndynamic\n%s",
           "a gateway for one CGI program; limits are its arguments");
    allows(DIRECTIVES(WORDS("AppClass", "git", "-protocol", "cgi", "-command", "git-http 'a b'")),
           "program\ngateway=cgi\narg=--program\narg=git-http\narg=a b\ncwd=/\n%sdynamic\n%s",
           "one with arguments");
    allows(
        DIRECTIVES(WORDS("AppClass", "/x", "-protocol", "cgi", "-command", "/y z", "-user", "u")),
        "program\ngateway=cgi\narg=--program\narg=/y\narg=z\ncwd=/\nuser=u\ndynamic\n%s",
        "another one than the path that names the class");
    allows(DIRECTIVES(WORDS("AppClass", "usher-cgi", "-protocol", "cgi", "-limit", "cpu=9"),
                      WORDS("UsherRoot", "/srv/a"), WORDS("UsherRoot", "/srv/b")),
           "program\ngateway=cgi\narg=--limit\narg=cpu=9\narg=--path-check\narg=suexec\n"
           "arg=--root\narg=/srv/a\narg=--root\narg=/srv/b\ncwd=/\n%s"
           "dynamic\nroot=/srv/a\nroot=/srv/b\n%s",
           "a gateway for all files below the roots, wherever these are said");
    allows(DIRECTIVES(WORDS("UsherRoot", "/srv/a"),
                      WORDS("AppClass", "b", "-protocol", "cgi", "-user", "u"),
                      WORDS("AppClass", "/p"),
                      WORDS("AppClass", "a", "-protocol", "cgi", "-user", "v", "-group", "w"),
                      WORDS("FCGIConfig", "-dynamicRoot", "/one", "-path-check", "Roots"),
                      WORDS("FCGIConfig", "-dynamicRoot", "/two", "-user-dir", "x"),
                      WORDS("UsherRoot", "/srv/b")),
           "program\narg=/p\ncwd=/\n%s", "none of these where a FCGIConfig is wrong");
    allows(DIRECTIVES(WORDS("UsherRoot", "/srv/a"),
                      WORDS("AppClass", "b", "-protocol", "cgi", "-user", "u"),
                      WORDS("AppClass", "a", "-protocol", "cgi", "-user", "v", "-group", "w"),
                      WORDS("FCGIConfig", "-dynamicRoot", "/one", "-path-check", "Roots"),
                      WORDS("FCGIConfig", "-dynamicRoot", "/two")),
           "program\ngateway=cgi\narg=--path-check\narg=roots\narg=--root\narg=/one\narg=--root\n"
           "arg=/two\ncwd=/\nuser=u\n"
           "program\ngateway=cgi\narg=--path-check\narg=roots\narg=--root\narg=/one\narg=--root\n"
           "arg=/two\ncwd=/\nuser=v\ngroup=w\n"
           "dynamic\nroot=/one\nroot=/two\npath-check=roots\n%s",
           "the roots of FCGIConfig in place of the server's, in order");
    allows(DIRECTIVES(WORDS("ExternalAppClass", "tomcat", "-protocol", "ajp", "-host",
                            "127.0.0.1:8009", "-secret-file", "/etc/usher/a b", "-log", "/l"),
                      WORDS("ExternalAppClass", "other", "-protocol", "AJP", "-host",
                            "127.0.0.1:8007", "-user", "java", "-group", "web"),
                      WORDS("ExternalAppClass", "fcgi", "-host", "127.0.0.1:9000")),
           "program\ngateway=ajp\nsecret=/etc/usher/a b\ncwd=/\n%slog=/l\n"
           "program\ngateway=ajp\ncwd=/\nuser=java\ngroup=web\ndynamic\n%s",
           "gateways to servlet engines, with secret and without");
    allows(DIRECTIVES(WORDS("AppClass", "shop", "-protocol", "ajp", "-command", "catalina.sh run",
                            "-host", "127.0.0.1:8009,route=a", "-down", "h:3,route=d", "-backup",
                            "[::1]:8010,weight=2,route=b.1,activation="
                            "disabled",
                            "-host", "unix:/run/shop sock,weight=3", "-host", "h:05")),
           "program\ngateway=ajp\ncwd=/\n%1$s"
           "program\nservice=1\narg=catalina.sh\narg=run\ncwd=/\n%1$s"
           "env=USHER_PROTOCOL=ajp\nenv=USHER_ADDRESS=127.0.0.1:8009\nenv=USHER_HOST=127.0.0."
           "1\nenv=USHER_PORT=8009\n"
           "env=USHER_ROUTE=a\n"
           "program\nservice=1\narg=catalina.sh\narg=run\ncwd=/\n%1$s"
           "env=USHER_PROTOCOL=ajp\nenv=USHER_ADDRESS=[::1]:8010\nenv=USHER_HOST=::1\nenv=USHER_"
           "PORT=8010\n"
           "env=USHER_ROUTE=b.1\n"
           "program\nservice=1\narg=catalina.sh\narg=run\ncwd=/\n%1$s"
           "env=USHER_PROTOCOL=ajp\nenv=USHER_ADDRESS=unix:/run/shop sock\n"
           "program\nservice=1\narg=catalina.sh\narg=run\ncwd=/\n%1$s"
           "env=USHER_PROTOCOL=ajp\nenv=USHER_ADDRESS=h:05\nenv=USHER_HOST=h\nenv=USHER_PORT=5\n"
           "dynamic\n%1$s",
           "a gateway, and a servlet engine for each address that is used");
    allows(DIRECTIVES(WORDS("AppClass", "/opt/t/engine", "-protocol", "ajp", "-host", "h:1",
                            "-user", "tomcat", "-group", "web", "-secret-file", "/etc/s",
                            "-initial-env", "NODE_OPTIONS=-r /x", "-initial-env", "A=1",
                            "-initial-env", "A=2", "-priority", "3", "-limit", "nofile=64K",
                            "-limit", "core=0", "-log", "/l", "-allow-setuid")),
           "program\ngateway=ajp\nsecret=/etc/s\ncwd=/\nuser=tomcat\ngroup=web\n"
           "program\nservice=1\narg=/opt/t/engine\ncwd=/opt/t\nuser=tomcat\ngroup=web\n"
           "env=NODE_OPTIONS=-r /x\nenv=A=2\nnice=3\nlog=/l\nsetuid=1\nlimit=nofile=64K\n"
           "limit=core=0\nenv=USHER_PROTOCOL=ajp\nenv=USHER_ADDRESS=h:1\nenv=USHER_HOST=h\nenv="
           "USHER_PORT=1\n"
           "dynamic\n%s",
           "whose options are the engine's, and none of them the gateway's");
    allows(DIRECTIVES(WORDS("ExternalAppClass", "a", "-protocol", "cgi", "-host", "h:1"),
                      WORDS("AppClass", "b", "-protocol", "ajp", "-host", "h:1"),
                      WORDS("AppClass", "e", "-protocol", "ajp", "-command", "x"),
                      WORDS("AppClass", "/f", "-protocol", "ajp", "-host", "h:1", "-initial-env",
                            "USHER_PORT=1"),
                      WORDS("AppClass", "c", "-protocol", "cgi", "-secret-file", "/s"),
                      WORDS("AppClass", "d", "-protocol", "perl")),
           "dynamic\n%s", "none for what is wrong");
}

static void test_refused_registrations(void) {
    usher_error_t error = {0};
    char live[LIVE_BYTES];
    const char *runtime = new_runtime();
    usher_server_t server = server_in(runtime);
    int descriptors = count_descriptors();
    server.configuration_file = "/nowhere/nginx.conf";
    ok(register_once(&server, live, &error) == USHER_SYSTEM && error.errno_value == ENOENT &&
           strstr(error.text, "/nowhere/nginx.conf") != NULL,
       "%s: a configuration file that is not there", who);
    server = server_in(runtime);
    server.kind = "../x";
    is_int(register_once(&server, live, &error), USHER_INVALID, "%s: a kind that is no name", who);
    server.kind = "toolong";
    is_int(register_once(&server, live, &error), USHER_INVALID, "%s: or too long for the sockets",
           who);
    server = server_in(runtime);
    server.log_file = "usher.log";
    ok(register_once(&server, live, &error) == USHER_INVALID &&
           strstr(error.text, "log file usher.log") != NULL,
       "%s: a relative log file", who);
    ok(access(runtime, F_OK) < 0, "%s: none of them touched anything", who);

    server = server_in(runtime);
    usher_registration_t *registration;
    usher_channel_t *channel;
    uint32_t generation;
    usher_registration_begin(&server, &registration, &error);
    is_int(usher_registration_commit(registration, &channel, &generation, live, 10, &error),
           USHER_INVALID, "%s: no room for the path of live", who);
    ok(channel == NULL, "%s: a registration that failed hands out no channel", who);

    usher_registration_begin(&server, &registration, &error);
    char *big = malloc(1 << 20);
    memset(big, 'x', 1 << 20);
    big[(1 << 20) - 1] = '\0';
    const char *words[] = {"UsherRoot", big};
    usher_status_t status = USHER_OK;
    for (int i = 0; i < 20 && status == USHER_OK; i++)
        status = usher_registration_add(registration, NULL, words, 2, &error);
    free(big);
    is_int(status, USHER_FULL, "%s: a registration of 16 MB is refused", who);
    usher_registration_abandon(registration);
    is_int(count_descriptors(), descriptors, "%s: nor is a descriptor left open", who);
}

/* ---- the embedded manager --------------------------------------------------------------------- */

static void reap_all(int signal) {
    (void)signal;
    int cause = errno;
    while (waitpid(-1, NULL, WNOHANG) > 0)
        ;
    errno = cause;
}

static bool has_line(const char *text, const char *line) {
    size_t length = strlen(line);
    for (; *text != '\0'; text += strcspn(text, "\n"), text += *text == '\n')
        if (strncmp(text, line, length) == 0 && text[length] == '\n')
            return true;
    return false;
}

static int count_lines(const char *text, const char *prefix) {
    int count = 0;
    for (; *text != '\0'; text += strcspn(text, "\n"), text += *text == '\n')
        count += strncmp(text, prefix, strlen(prefix)) == 0;
    return count;
}

static void name_parts(const char *launcher, const char *usherd, const char *node) {
    snprintf(launcher_path, sizeof launcher_path, "%s", launcher);
    snprintf(usherd_path, sizeof usherd_path, "%s", usherd);
    snprintf(node_path, sizeof node_path, "%s", node);
}

static void test_embedded_start(void) {
    usher_error_t error = {0};
    char live[LIVE_BYTES], runtime[RUNTIME_BYTES], line[PATH_MAX + 32];
    snprintf(runtime, sizeof runtime, "%s", new_runtime());
    usher_server_t server = server_in(runtime);
    server.mode = USHER_MANAGER_MODE_EMBEDDED;
    name_parts(USHER_TEST_BUILD "/test/fake_launcher_helper", configuration, "/bin/sh");

    /* What a web server's master looks like. */
    setenv("USHER_TEST_SECRET", "1", 1);
    setenv("LC_ALL", "C", 1);
    setenv("TZ", "UTC", 1);
    struct sigaction reap = {.sa_handler = reap_all}, ignore = {.sa_handler = SIG_IGN}, old_child,
                     old_term;
    sigaction(SIGCHLD, &reap, &old_child);
    sigaction(SIGTERM, &ignore, &old_term);
    sigset_t some, before, after;
    sigemptyset(&some);
    sigaddset(&some, SIGUSR1);
    sigprocmask(SIG_BLOCK, &some, &before);
    mode_t mask = umask(0);
    int listening = fcntl(STDERR_FILENO, F_DUPFD, 57); /* not close-on-exec */
    int descriptors = count_descriptors();

    is_int(register_once(&server, live, &error), USHER_OK, "%s: start the manager %s", who,
           error.text);
    is_int(count_descriptors(), descriptors, "%s: the server has no descriptor more", who);
    sigprocmask(SIG_SETMASK, NULL, &after);
    ok(sigismember(&after, SIGUSR1) == 1 && sigismember(&after, SIGTERM) == 0,
       "%s: and its signal mask back", who);
    ok(waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD, "%s: and no child", who);
    umask(mask);
    sigprocmask(SIG_SETMASK, &before, NULL);
    sigaction(SIGCHLD, &old_child, NULL);
    sigaction(SIGTERM, &old_term, NULL);
    close(listening);

    ok(wait_for(in(runtime, "report")), "%s: the launcher runs", who);
    const char *report = read_text(in(runtime, "report"));
    snprintf(line, sizeof line,
             "argument --runtime-dir\nargument %s\nargument --node\nargument /bin/sh\n"
             "argument --usherd\nargument %s\nargument --mode\nargument embedded\nvariable ",
             runtime, configuration);
    ok(strncmp(report, line, strlen(line)) == 0, "%s: with its arguments", who);
    ok(has_line(report, "variable LC_ALL=C") && has_line(report, "variable TZ=UTC") &&
           count_lines(report, "variable PATH=") == 1,
       "%s: locale, time zone and path are handed on", who);
    ok(strstr(report, "USHER_TEST") == NULL, "%s: nothing else of the environment is", who);
    is_int(count_lines(report, "fd "), 3, "%s: it has descriptors 0, 1 and 2 only", who);
    is_int(count_lines(report, "blocked ") + count_lines(report, "ignored "), 0,
           "%s: no signal is blocked or ignored", who);
    ok(has_line(report, "cwd /") && has_line(report, "umask 022"), "%s: in /, with umask 022", who);
    snprintf(line, sizeof line, "parent %ld", (long)getpid());
    ok(!has_line(report, line), "%s: the web server is not its parent", who);
    snprintf(line, sizeof line, "session %ld", (long)getsid(0));
    ok(!has_line(report, line) && has_line(report, "leader 0"),
       "%s: it has a session of its own and does not lead it", who);
    is_str(read_text(in(runtime, "usher.log")), "to stdout\nto stderr\n",
           "%s: its output is logged", who);
    is_int(mode_of(in(runtime, "usher.log")), 0600, "%s: for the owner's eyes", who);

    unlink(in(runtime, "report"));
    int held = open(in(runtime, "manager.lock"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    flock(held, LOCK_EX);
    is_int(register_once(&server, live, &error), USHER_OK, "%s: with a manager there", who);
    nanosleep(&(struct timespec){.tv_nsec = 200000000}, NULL);
    ok(access(in(runtime, "report"), F_OK) < 0, "%s: none is started", who);
    close(held);
    server.mode = USHER_MANAGER_MODE_EXTERNAL;
    register_once(&server, live, &error);
    server.mode = USHER_MANAGER_MODE_OFF;
    register_once(&server, live, &error);
    nanosleep(&(struct timespec){.tv_nsec = 200000000}, NULL);
    ok(access(in(runtime, "report"), F_OK) < 0, "%s: nor in the other modes", who);

    char log[PATH_MAX];
    snprintf(log, sizeof log, "%s.log", runtime);
    server.mode = USHER_MANAGER_MODE_EMBEDDED;
    server.log_file = log;
    register_once(&server, live, &error);
    ok(wait_for(in(runtime, "report")), "%s: with a log file", who);
    snprintf(line, sizeof line, "argument --log\nargument %s\n", log);
    ok(strstr(read_text(in(runtime, "report")), line) != NULL, "%s: the launcher is told", who);
    is_str(read_text(log), "to stdout\nto stderr\n", "%s: and writes there from the beginning",
           who);

    unlink(in(runtime, "report"));
    server.log_file = "/nowhere/usher.log";
    is_int(register_once(&server, live, &error), USHER_OK, "%s: a log that cannot be written", who);
    ok(wait_for(in(runtime, "report")), "%s: keeps no manager from starting", who);
}

static void test_failed_start(void) {
    usher_error_t error = {0};
    char live[LIVE_BYTES], garbage[PATH_MAX];
    usher_server_t server = server_in(new_runtime());
    server.mode = USHER_MANAGER_MODE_EMBEDDED;
    int descriptors = count_descriptors();

    name_parts("/nowhere/usher-launcher", configuration, "/bin/sh");
    ok(register_once(&server, live, &error) == USHER_NOT_FOUND &&
           strstr(error.text, "/nowhere/usher-launcher") != NULL &&
           strstr(error.text, "npm run build:native") != NULL,
       "%s: no launcher: named, with what builds it", who);
    name_parts("/bin/sh", "/nowhere/usherd", "/bin/sh");
    ok(register_once(&server, live, &error) == USHER_NOT_FOUND &&
           strstr(error.text, "usherd, expected at /nowhere/usherd") != NULL,
       "%s: no usherd", who);
    name_parts("/bin/sh", configuration, "");
    ok(register_once(&server, live, &error) == USHER_NOT_FOUND &&
           strstr(error.text, "Node, expected at (nowhere)") != NULL,
       "%s: no Node", who);
    snprintf(garbage, sizeof garbage, "%s", in(scratch, who));
    write_text(garbage, "\x7f no program", 0755);
    name_parts(garbage, configuration, "/bin/sh");
    ok(register_once(&server, live, &error) == USHER_SYSTEM && error.errno_value == ENOEXEC &&
           strstr(error.text, "Exec format error") != NULL,
       "%s: a launcher that cannot be executed: the child's error is ours", who);

    usher_registration_t *registration;
    usher_channel_t *channel = NULL;
    uint32_t generation = 0;
    usher_registration_begin(&server, &registration, &error);
    ok(usher_registration_commit(registration, &channel, &generation, live, sizeof live, &error) !=
               USHER_OK &&
           channel != NULL && generation > 0,
       "%s: the registration stands all the same", who);
    usher_channel_close(channel);
    is_int(count_descriptors(), descriptors, "%s: no descriptor is left by failures", who);
}

/* ---- all of it, as one user ------------------------------------------------------------------- */

static void test_as(const char *name) {
    who = name;
    test_paths();
    test_directories();
    test_refused_directories();
    if (geteuid() == 0)
        test_hostile_worker();
    test_lock();
    test_removed_meanwhile();
    test_ending();
    test_file();
    test_allow();
    test_allowed_gateways();
    test_refused_registrations();
    test_embedded_start();
    test_failed_start();
}

/* Run the tests in a child, as `uid`, and count on. */
static void test_in_child(const char *name, uid_t uid) {
    int counts[2] = {tap_count, 0}, results[2];
    if (pipe(results) < 0)
        return;
    pid_t pid = fork();
    if (pid == 0) {
        if (uid != geteuid() && (setgroups(0, NULL) < 0 || setgid(uid) < 0 || setuid(uid) < 0))
            _exit(1);
        tap_failures = 0;
        test_as(name);
        counts[0] = tap_count;
        counts[1] = tap_failures;
        exit(write(results[1], counts, sizeof counts) < 0);
    }
    close(results[1]);
    bool whole = read(results[0], counts, sizeof counts) == (ssize_t)sizeof counts;
    close(results[0]);
    tap_count = counts[0];
    tap_failures += counts[1];
    int status;
    waitpid(pid, &status, 0);
    ok(whole && status == 0, "%s: the tests ran to their end", name);
}

/* The deadline is 10 s: in a child, beside the other tests, without output of its own. */
static pid_t begin_lock_deadline(void) {
    pid_t pid = fork();
    if (pid == 0) {
        who = "slow";
        if (freopen("/dev/null", "w", stdout) == NULL)
            _exit(1);
        test_lock_deadline();
        exit(tap_failures);
    }
    return pid;
}

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *walk) {
    (void)status, (void)type, (void)walk;
    return remove(path);
}

int main(void) {
    snprintf(scratch, sizeof scratch, "/tmp/usher-rXXXXXX");
    if (mkdtemp(scratch) == NULL)
        return 1;
    chmod(scratch, 01777);
    snprintf(configuration, sizeof configuration, "%s/nginx.conf", scratch);
    write_text(configuration, "", 0644);
    pid_t slow = begin_lock_deadline();
    if (geteuid() == 0)
        test_in_child("root", 0);
    test_in_child("user", geteuid() == 0 ? USER_UID : geteuid());
    int status = -1;
    waitpid(slow, &status, 0);
    is_int(status, 0, "a registration gives up on a manager that hangs at its end, after 10 s");
    nftw(scratch, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    return done_testing();
}
