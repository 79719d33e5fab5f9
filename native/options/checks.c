/* SPDX-License-Identifier: Apache-2.0 */
#include "options/checks.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>
#include <sys/un.h>

#include "options/text.h"
#include "options/values.h"

const usher_option_value_t *usher_options_given(const usher_option_values_t *values, int row) {
    for (size_t i = 0; i < values->count; i++)
        if (values->values[i].option == &usher_option_table[row])
            return &values->values[i];
    return NULL;
}

static int64_t number_or_default(const usher_option_values_t *values, int row) {
    const usher_option_value_t *value = usher_options_given(values, row);
    if (value != NULL)
        return value->number;
    char expected[256];
    int64_t number;
    usher_value_parse(&usher_option_table[row], usher_option_table[row].default_text, &number,
                      expected, sizeof expected);
    return number;
}

usher_spelling_t usher_options_spell(usher_host_t host, int row) {
    usher_spelling_t spelling;
    usher_option_spell(host, &usher_option_table[row], spelling.text, sizeof spelling.text);
    return spelling;
}

/* What the kernel takes as the path of a UNIX socket. */
static int check_socket(usher_host_t host, const usher_option_values_t *values, char *error,
                        size_t size) {
    const usher_option_value_t *socket = usher_options_given(values, USHER_OPTION_socket);
    struct sockaddr_un *unix_address = NULL;
    if (socket != NULL && strlen(socket->text) >= sizeof unix_address->sun_path)
        return usher_text_fail(error, size, "%s: the path has %zu bytes, a socket's at most %zu",
                               usher_options_spell(host, USHER_OPTION_socket).text,
                               strlen(socket->text), sizeof unix_address->sun_path - 1);
    return 0;
}

static int check_contradiction(usher_host_t host, const usher_option_values_t *values, int one,
                               int other, char *error, size_t size) {
    if (usher_options_given(values, one) != NULL && usher_options_given(values, other) != NULL)
        return usher_text_fail(error, size, "%s and %s contradict each other: give one of them",
                               usher_options_spell(host, one).text,
                               usher_options_spell(host, other).text);
    return 0;
}

/* What only the classic policy knows contradicts the other one. */
static int check_policy(usher_host_t host, const usher_option_values_t *values, char *error,
                        size_t size) {
    static const int rows[] = {USHER_OPTION_updateInterval, USHER_OPTION_killInterval,
                               USHER_OPTION_gainValue,      USHER_OPTION_singleThreshold,
                               USHER_OPTION_multiThreshold, USHER_OPTION_processSlack};
    const usher_option_value_t *policy = usher_options_given(values, USHER_OPTION_policy);
    if (policy == NULL || strcasecmp(policy->text, "adaptive") != 0)
        return 0;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (usher_options_given(values, rows[i]) != NULL)
            return usher_text_fail(error, size,
                                   "%s belongs to the classic policy, and %s adaptive is given: "
                                   "leave one of them out",
                                   usher_options_spell(host, rows[i]).text,
                                   usher_options_spell(host, USHER_OPTION_policy).text);
    return 0;
}

/* How many instances a class that is no dynamic one has. */
static int check_counts(usher_host_t host, const usher_option_values_t *values, char *error,
                        size_t size) {
    usher_spelling_t on_demand = usher_options_spell(host, USHER_OPTION_onDemand);
    usher_spelling_t processes = usher_options_spell(host, USHER_OPTION_processes);
    usher_spelling_t most = usher_options_spell(host, USHER_OPTION_maxClassProcesses);
    const usher_option_value_t *processes_value =
        usher_options_given(values, USHER_OPTION_processes);
    const usher_option_value_t *most_value =
        usher_options_given(values, USHER_OPTION_maxClassProcesses);

    if (usher_options_given(values, USHER_OPTION_onDemand) != NULL) {
        if (processes_value != NULL || most_value != NULL)
            return usher_text_fail(
                error, size, "%s cannot stand beside %s: it is short for %s 0 with %s",
                on_demand.text, processes_value != NULL ? processes.text : most.text,
                processes.text, most.text);
        return 0;
    }
    int64_t kept = number_or_default(values, USHER_OPTION_processes);
    if (kept == 0 && most_value == NULL)
        return usher_text_fail(error, size,
                               "%s 0 alone would never start the program: add %s (or write %s)",
                               processes.text, most.text, on_demand.text);
    if (most_value != NULL && kept > most_value->number)
        return usher_text_fail(error, size, "%s (%lld) must not be above %s (%lld)", processes.text,
                               (long long)kept, most.text, (long long)most_value->number);
    return 0;
}

static int check_static(usher_host_t host, const usher_option_values_t *values, char *error,
                        size_t size) {
    if (check_contradiction(host, values, USHER_OPTION_socket, USHER_OPTION_port, error, size) <
            0 ||
        check_socket(host, values, error, size) < 0 || check_policy(host, values, error, size) < 0)
        return -1;
    int public_row =
        usher_options_given(values, USHER_OPTION_port) ? USHER_OPTION_port : USHER_OPTION_socket;
    if (usher_options_given(values, public_row) != NULL &&
        usher_options_given(values, USHER_OPTION_maxRequests) != NULL)
        return usher_text_fail(error, size,
                               "%s cannot stand beside %s: at a public address nobody knows which "
                               "instance served which request (%s can)",
                               usher_options_spell(host, USHER_OPTION_maxRequests).text,
                               usher_options_spell(host, public_row).text,
                               usher_options_spell(host, USHER_OPTION_maxLifetime).text);
    return check_counts(host, values, error, size);
}

static int check_dynamic(usher_host_t host, const usher_option_values_t *values, char *error,
                         size_t size) {
    if (check_policy(host, values, error, size) < 0)
        return -1;
    int64_t least = number_or_default(values, USHER_OPTION_minProcesses);
    int64_t most = number_or_default(values, USHER_OPTION_maxProcesses);
    if (least > most)
        return usher_text_fail(
            error, size, "%s (%lld) must not be above %s (%lld)",
            usher_options_spell(host, USHER_OPTION_minProcesses).text, (long long)least,
            usher_options_spell(host, USHER_OPTION_maxProcesses).text, (long long)most);
    const usher_option_value_t *slack = usher_options_given(values, USHER_OPTION_processSlack);
    if (slack != NULL && slack->number > most)
        return usher_text_fail(
            error, size, "%s (%lld) must not be above %s (%lld)",
            usher_options_spell(host, USHER_OPTION_processSlack).text, (long long)slack->number,
            usher_options_spell(host, USHER_OPTION_maxProcesses).text, (long long)most);
    return 0;
}

static int check_external(usher_host_t host, const usher_option_values_t *values, char *error,
                          size_t size) {
    char host_form[USHER_SPELLING_MAX + 16], socket_form[USHER_SPELLING_MAX + 16];
    usher_option_form(host, &usher_option_table[USHER_OPTION_host], host_form, sizeof host_form);
    usher_option_form(host, &usher_option_table[USHER_OPTION_socket], socket_form,
                      sizeof socket_form);
    const usher_option_value_t *socket = usher_options_given(values, USHER_OPTION_socket);
    const usher_option_value_t *address = usher_options_given(values, USHER_OPTION_host);

    if (socket == NULL && address == NULL)
        return usher_text_fail(error, size, "no address: an external class needs %s or %s",
                               host_form, socket_form);
    if (check_contradiction(host, values, USHER_OPTION_host, USHER_OPTION_socket, error, size) < 0)
        return -1;
    if (check_socket(host, values, error, size) < 0)
        return -1;
    return check_counts(host, values, error, size);
}

int usher_options_check_together(usher_scope_t scope, usher_host_t host,
                                 const usher_option_values_t *values, char *error,
                                 size_t error_size) {
    if (scope != USHER_SCOPE_DYNAMIC &&
        usher_options_check_protocol(scope, host, values, error, error_size) < 0)
        return -1;
    switch (scope) {
    case USHER_SCOPE_STATIC:
        return check_static(host, values, error, error_size);
    case USHER_SCOPE_DYNAMIC:
        return check_dynamic(host, values, error, error_size);
    case USHER_SCOPE_EXTERNAL:
        return check_external(host, values, error, error_size);
    }
    return 0;
}

/* ---- the class's name ------------------------------------------------------------------------- */

static int is_plain_name(const char *name) {
    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return 0;
    for (; *name != '\0'; name++)
        if (!isalnum((unsigned char)*name) && strchr("._-@", *name) == NULL)
            return 0;
    return 1;
}

int usher_class_name_check(const char *name, char *error, size_t error_size) {
    char quoted[USHER_QUOTED_MAX];
    size_t length = strlen(name);
    usher_text_quote(name, length, quoted, sizeof quoted);
    if (length == 0)
        return usher_text_fail(error, error_size, "the name or path of the class is empty");
    if (length >= USHER_CLASS_NAME_MAX)
        return usher_text_fail(error, error_size, "%s: %zu bytes long, at most %d are allowed",
                               quoted, length, USHER_CLASS_NAME_MAX - 1);
    if (usher_text_has_control(name))
        return usher_text_fail(error, error_size, "%s: control characters are not allowed", quoted);
    if (*name == '-')
        return usher_text_fail(error, error_size,
                               "%s: the name or path of the class must stand before its options",
                               quoted);
    if (*name != '/' && !is_plain_name(name))
        return usher_text_fail(error, error_size,
                               "%s: expected an absolute path, or a name of letters, digits and "
                               ". _ - @",
                               quoted);
    return 0;
}

/* What handlers and usher_pass take it for. */
static int check_cgi_class(usher_scope_t scope, usher_host_t host,
                           const usher_option_values_t *values, char *error, size_t error_size) {
    if (scope == USHER_SCOPE_STATIC && usher_class_runs_any_file(USHER_CGI_CLASS, values))
        return 0;
    return usher_text_fail(
        error, error_size,
        USHER_CGI_CLASS " is the class of all CGI programs that are named by path: "
                        "write %s " USHER_CGI_CLASS " with %s%scgi and no %s",
        usher_scope_directive(host, USHER_SCOPE_STATIC),
        usher_options_spell(host, USHER_OPTION_protocol).text, host == USHER_HOST_NGINX ? "=" : " ",
        usher_options_spell(host, USHER_OPTION_command).text);
}

int usher_class_check(usher_scope_t scope, usher_host_t host, const char *name,
                      const usher_option_values_t *values, char *error, size_t error_size) {
    if (usher_class_name_check(name, error, error_size) < 0)
        return -1;
    if (strcmp(name, USHER_CGI_CLASS) == 0)
        return check_cgi_class(scope, host, values, error, error_size);
    if (scope == USHER_SCOPE_STATIC && *name != '/' &&
        usher_options_given(values, USHER_OPTION_command) == NULL &&
        !usher_class_runs_any_file(name, values)) {
        char quoted[USHER_QUOTED_MAX], form[USHER_SPELLING_MAX + 16];
        usher_text_quote(name, strlen(name), quoted, sizeof quoted);
        usher_option_form(host, &usher_option_table[USHER_OPTION_command], form, sizeof form);
        return usher_text_fail(error, error_size,
                               "%s is a name, not a path: say what to run with %s", quoted, form);
    }
    return 0;
}
