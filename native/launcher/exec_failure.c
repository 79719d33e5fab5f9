/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/exec_failure.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

/* The beginning of a program: its #! line, or its ELF headers. */
typedef struct {
    char bytes[4096];
    ssize_t length; /* -1: it cannot be read */
} head_t;

static void read_head(const char *path, head_t *head) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    head->length = fd < 0 ? -1 : read(fd, head->bytes, sizeof(head->bytes) - 1);
    if (fd >= 0)
        close(fd);
    head->bytes[head->length > 0 ? head->length : 0] = '\0';
}

static bool begins_with(const head_t *head, const char *bytes, size_t length) {
    return head->length >= (ssize_t)length && memcmp(head->bytes, bytes, length) == 0;
}

/* ---- directories on the way ---------------------------------------------------------------- */

bool exec_find_barrier(const char *path, char barrier[PATH_MAX]) {
    for (const char *slash = path; slash != NULL; slash = strchr(slash + 1, '/')) {
        size_t length = slash == path ? 1 : (size_t)(slash - path);
        if (length >= PATH_MAX)
            return false;
        memcpy(barrier, path, length);
        barrier[length] = '\0';
        if (access(barrier, X_OK) < 0)
            return true;
    }
    return false;
}

static int fail_barred(const char *path, failure_t *failure) {
    char barrier[PATH_MAX];
    struct stat status;
    if (!exec_find_barrier(path, barrier) || stat(barrier, &status) < 0)
        fail(failure, "exec", EACCES,
             "exec %s: %s: uid %u cannot pass a directory that a symbolic link on the way leads "
             "through",
             path, strerror(EACCES), (unsigned)geteuid());
    else
        fail(failure, "exec", EACCES,
             "exec %s: %s: uid %u may not pass the directory %s (mode %04o, owner %u, group %u)",
             path, strerror(EACCES), (unsigned)geteuid(), barrier,
             (unsigned)(status.st_mode & 07777), (unsigned)status.st_uid, (unsigned)status.st_gid);
    return fail_because(failure, "path-denied");
}

/* ---- ENOENT -------------------------------------------------------------------------------- */

static int fail_absent(const char *path, int error, failure_t *failure) {
    char barrier[PATH_MAX];
    struct stat status;
    if (lstat(path, &status) == 0 && S_ISLNK(status.st_mode))
        fail(failure, "exec", ENOENT, "exec %s: the symbolic link leads to nothing", path);
    else if (exec_find_barrier(path, barrier))
        fail(failure, "exec", ENOENT, "exec %s: the directory %s does not exist", path, barrier);
    else
        fail(failure, "exec", error, "exec %s: %s", path, strerror(error));
    return fail_because(failure, "file-missing");
}

static int fail_interpreter(const char *path, head_t *head, failure_t *failure) {
    char *interpreter = head->bytes + 2 + strspn(head->bytes + 2, " \t");
    interpreter[strcspn(interpreter, " \t\n")] = '\0';
    char *carriage_return = strchr(interpreter, '\r');
    if (carriage_return != NULL)
        *carriage_return = '\0';
    fail(failure, "exec", ENOENT, "exec %s: the interpreter %.300s in its #! line is missing%s",
         path, interpreter, carriage_return != NULL ? " (the line ends in CR LF)" : "");
    return fail_because(failure,
                        carriage_return != NULL ? "interpreter-crlf" : "interpreter-missing");
}

/* The loader that an ELF program names; NULL when the headers do not say. */
#define DEFINE_LOADER_OF(bits)                                                                    \
    static const char *loader_of_elf##bits(const head_t *head) {                                  \
        Elf##bits##_Ehdr header;                                                                  \
        memcpy(&header, head->bytes, sizeof(header));                                             \
        for (unsigned i = 0; i < header.e_phnum; i++) {                                           \
            Elf##bits##_Phdr part;                                                                \
            size_t at = header.e_phoff + i * sizeof(part);                                        \
            if (header.e_phoff > sizeof(head->bytes) || at + sizeof(part) > (size_t)head->length) \
                return NULL;                                                                      \
            memcpy(&part, head->bytes + at, sizeof(part));                                        \
            if (part.p_type == PT_INTERP)                                                         \
                return part.p_offset < (size_t)head->length ? head->bytes + part.p_offset : NULL; \
        }                                                                                         \
        return NULL;                                                                              \
    }
DEFINE_LOADER_OF(32)
DEFINE_LOADER_OF(64)

static const char *loader_of(const head_t *head) {
    if (!begins_with(head, ELFMAG, SELFMAG) || head->length < (ssize_t)sizeof(Elf64_Ehdr))
        return NULL;
    return head->bytes[EI_CLASS] == ELFCLASS32 ? loader_of_elf32(head) : loader_of_elf64(head);
}

static int fail_missing(const char *path, failure_t *failure) {
    head_t head;
    struct stat status;
    if (stat(path, &status) < 0)
        return fail_absent(path, ENOENT, failure);
    read_head(path, &head);
    if (begins_with(&head, "#!", 2))
        return fail_interpreter(path, &head, failure);
    const char *loader = loader_of(&head);
    fail(failure, "exec", ENOENT,
         "exec %s: the file exists, but the loader it names for its libraries does not%s%.100s",
         path, loader != NULL ? ": " : "", loader != NULL ? loader : "");
    return fail_because(failure, "library-missing");
}

/* ---- EACCES -------------------------------------------------------------------------------- */

static bool is_on_noexec(const char *path) {
    struct statvfs system;
    return statvfs(path, &system) == 0 && (system.f_flag & ST_NOEXEC) != 0;
}

static int fail_denied(const char *path, failure_t *failure) {
    struct stat status;
    const char *denied = strerror(EACCES);
    if (stat(path, &status) < 0)
        return fail_barred(path, failure);
    if (S_ISDIR(status.st_mode)) {
        fail(failure, "exec", EACCES, "exec %s: %s: it is a directory", path, denied);
        return fail_because(failure, "is-directory");
    }
    if (access(path, X_OK) < 0 && !is_on_noexec(path))
        fail(failure, "exec", EACCES, "exec %s: %s: mode %04o, owner %u, does not let uid %u", path,
             denied, (unsigned)(status.st_mode & 07777), (unsigned)status.st_uid,
             (unsigned)geteuid());
    else
        fail(failure, "exec", EACCES, "exec %s: %s: %s", path, denied,
             is_on_noexec(path) ? "its file system is mounted noexec"
                                : "its interpreter is not executable, or on a file system that is "
                                  "mounted noexec");
    return fail_because(failure, "not-executable");
}

/* ---- ENOEXEC ------------------------------------------------------------------------------- */

static const char *machine_name(unsigned machine) {
    static const struct {
        unsigned machine;
        const char *name;
    } names[] = {{EM_386, "i386"},        {EM_X86_64, "x86_64"}, {EM_ARM, "arm"},
                 {EM_AARCH64, "aarch64"}, {EM_PPC64, "ppc64"},   {EM_S390, "s390x"},
                 {EM_RISCV, "riscv"},     {EM_MIPS, "mips"}};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (names[i].machine == machine)
            return names[i].name;
    }
    return NULL;
}

/* Both classes have it at the same place; its bytes are in the order that EI_DATA says. */
static unsigned machine_of(const head_t *head) {
    const unsigned char *at = (const unsigned char *)head->bytes + offsetof(Elf64_Ehdr, e_machine);
    return head->bytes[EI_DATA] == ELFDATA2MSB ? at[0] * 256u + at[1] : at[1] * 256u + at[0];
}

static unsigned own_machine(void) {
    static head_t self;
    if (self.length == 0)
        read_head("/proc/self/exe", &self);
    return self.length >= (ssize_t)sizeof(Elf64_Ehdr) ? machine_of(&self) : EM_NONE;
}

static int fail_format(const char *path, int error, failure_t *failure) {
    head_t head;
    read_head(path, &head);
    bool is_elf = begins_with(&head, ELFMAG, SELFMAG) && head.length >= (ssize_t)sizeof(Elf32_Ehdr);
    if (is_elf && machine_of(&head) != own_machine()) {
        const char *its = machine_name(machine_of(&head)), *own = machine_name(own_machine());
        fail(failure, "exec", error, "exec %s: it is a program for %s, and this machine is %s",
             path, its != NULL ? its : "another machine", own != NULL ? own : "another one");
        return fail_because(failure, "wrong-architecture");
    }
    if (is_elf)
        fail(failure, "exec", error, "exec %s: %s: its ELF headers are damaged", path,
             strerror(error));
    else if (head.length == 0)
        fail(failure, "exec", error, "exec %s: the file is empty", path);
    else if (begins_with(&head, "\xEF\xBB\xBF#!", 5))
        fail(failure, "exec", error,
             "exec %s: a byte order mark stands before its #! line, which is none then", path);
    else
        fail(failure, "exec", error, "exec %s: has no #! line and is not a program", path);
    return fail_because(failure, "no-program");
}

/* ---- the rest ------------------------------------------------------------------------------ */

static bool is_limited(int resource) {
    struct rlimit limit;
    return getrlimit((__rlimit_resource_t)resource, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY;
}

static int fail_otherwise(const char *path, int error, failure_t *failure) {
    bool lacks_memory = error == ENOMEM && (is_limited(RLIMIT_AS) || is_limited(RLIMIT_DATA) ||
                                            is_limited(RLIMIT_STACK));
    bool lacks_processes = error == EAGAIN && is_limited(RLIMIT_NPROC);
    fail(failure, "exec", error, "exec %s: %s%s", path, strerror(error),
         lacks_memory      ? " (a limit of its memory may be too low for it: as, data, stack)"
         : lacks_processes ? " (its user has as many processes already as the limit nproc lets)"
                           : "");
    return lacks_memory || lacks_processes ? fail_because(failure, "limit-too-low") : -1;
}

int exec_fail(const char *path, int error, failure_t *failure) {
    switch (error) {
    case ENOENT:
        return fail_missing(path, failure);
    case ENOTDIR:
        return fail_absent(path, error, failure);
    case EACCES:
        return fail_denied(path, failure);
    case ENOEXEC:
    case ELIBBAD:
        return fail_format(path, error, failure);
    default:
        return fail_otherwise(path, error, failure);
    }
}
