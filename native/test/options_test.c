/* SPDX-License-Identifier: Apache-2.0 */
/* The options' table, their validator in all three spellings, commands, and the manual's table. */
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "options/options.h"
#include "options/values.h"
#include "tap.h"

enum { S = USHER_SCOPE_STATIC, E = USHER_SCOPE_EXTERNAL, D = USHER_SCOPE_DYNAMIC };
enum { HTTPD = USHER_HOST_APACHE, NGINX = USHER_HOST_NGINX, USHER = USHER_HOST_USHER };

#define WORDS_MAX 12

static const usher_option_t *find(const char *id) {
    size_t count;
    const usher_option_t *options = usher_options(&count);
    for (size_t i = 0; i < count; i++)
        if (strcmp(options[i].id, id) == 0)
            return &options[i];
    return NULL;
}

static size_t count_words(const char *const *words) {
    size_t count = 0;
    while (words[count] != NULL)
        count++;
    return count;
}

static const char *join(const char *const *words) {
    static char text[512];
    size_t used = 0;
    text[0] = '\0';
    for (; *words != NULL && used < sizeof text; words++)
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%.60s", used > 0 ? " " : "",
                                 *words);
    for (char *byte = text; *byte != '\0'; byte++)
        if ((unsigned char)*byte < 0x20)
            *byte = '?';
    return text;
}

/* ---- the table -------------------------------------------------------------------------------- */

static void test_table(void) {
    size_t count;
    const usher_option_t *options = usher_options(&count);
    bool defaults_fit = true, unique = true, refusals_explained = true, bounded = true;
    for (size_t i = 0; i < count; i++) {
        const usher_option_t *option = &options[i];
        int64_t number;
        char expected[256];
        if (*option->default_text != '\0' &&
            usher_value_parse(option, option->default_text, &number, expected, sizeof expected) <
                0) {
            printf("# %s: default %s: %s\n", option->id, option->default_text, expected);
            defaults_fit = false;
        }
        for (size_t j = 0; j < i; j++)
            if (strcmp(option->id, options[j].id) == 0 ||
                strcmp(option->name, options[j].name) == 0)
                unique = false;
        if (option->hosts != (HTTPD | NGINX | USHER) && *option->instead == '\0')
            refusals_explained = false;
        /* Node's timers end at 2^31 ms. */
        if (option->type == USHER_TYPE_TIME && option->maximum > INT32_MAX)
            bounded = false;
    }
    ok(count > 20, "the table has %zu options", count);
    ok(defaults_fit, "every default is a value of its option");
    ok(unique, "no id and no name stands twice");
    ok(refusals_explained, "an option that a host does not take says what that host uses instead");
    ok(bounded, "no time is longer than a timer of Node can be");
}

/* ---- words that are right --------------------------------------------------------------------- */

static const struct {
    unsigned scope, host;
    const char *words[WORDS_MAX];
    const char *id;
    int64_t number;
} accepted[] = {
    {S, HTTPD, {"-processes", "3"}, "processes", 3},
    {S, HTTPD, {"-PROCESSES", "256"}, "processes", 256},
    {S, USHER, {"-processes", "0", "-maxClassProcesses", "4"}, "processes", 0},
    {S, NGINX, {"processes=2", "max_class_processes=8"}, "maxClassProcesses", 8},
    {S, NGINX, {"MAX_CLASS_PROCESSES=8"}, "maxClassProcesses", 8},
    {S, HTTPD, {"-on-demand", "20"}, "maxClassProcesses", 20},
    {S, HTTPD, {"-on-demand", "20"}, "processes", 0},
    {S, NGINX, {"on_demand=1"}, "maxClassProcesses", 1},
    {D, NGINX, {"restart"}, "restart", 1},
    {D, HTTPD, {"-restart", "-flush"}, "flush", 1},
    {S, HTTPD, {"-priority", "-20"}, "priority", -20},
    {S, HTTPD, {"-idle-stop", "5"}, "idleStop", 5000},
    {S, HTTPD, {"-idle-stop", "0.25"}, "idleStop", 250},
    {S, HTTPD, {"-idle-stop", "500ms"}, "idleStop", 500},
    {S, HTTPD, {"-idle-stop", "1.5s"}, "idleStop", 1500},
    {S, HTTPD, {"-idle-stop", "2m"}, "idleStop", 120000},
    {S, HTTPD, {"-idle-stop", "168h"}, "idleStop", 604800000},
    {S, HTTPD, {"-idle-stop", "0"}, "idleStop", 0},
    {S, HTTPD, {"-idle-stop", "0.001"}, "idleStop", 1},
    {S, HTTPD, {"-stop-signal", "quit"}, "stopSignal", SIGQUIT},
    {S, NGINX, {"stop_signal=SIGUSR1"}, "stopSignal", SIGUSR1},
    {S, HTTPD, {"-user", "www", "-group", "-x"}, "group", 0},
    {S, HTTPD, {"-command", "php-cgi -c '/etc/php cgi'"}, "command", 0},
    {S, HTTPD, {"-cwd", "/"}, "cwd", 0},
    {S, HTTPD, {"-initial-env", "A=b=c", "-initial-env", "A"}, "initialEnv", 0},
    {S, NGINX, {"initial_env=A=b=c", "initial_env=_B="}, "initialEnv", 0},
    {S, HTTPD, {"-appConnTimeout", "0"}, "appConnTimeout", 0},
    {E, HTTPD, {"-host", "db-1.example:9000", "-host", "127.0.0.1:65535"}, "host", 0},
    {E, NGINX, {"host=[2001:db8::1]:80"}, "host", 0},
    {E, NGINX, {"socket=/run/x.sock", "queue_limit=0"}, "queueLimit", 0},
    {E, HTTPD, {"-socket", "/x", "-nph"}, "nph", 1},
    {D, HTTPD, {"-dynamicRoot", "/a", "-dynamicRoot", "/b"}, "dynamicRoot", 0},
    {D, HTTPD, {"-minProcesses", "5", "-maxProcesses", "5"}, "minProcesses", 5},
    {D, HTTPD, {"-listen-queue-depth", "100"}, "listenQueueDepth", 100},
    /* the classic policy, in the spellings of 1997 and of today */
    {D, HTTPD, {"-singleThreshhold", "10", "-multiThreshhold", "60"}, "multiThreshold", 60},
    {D, HTTPD, {"-singlethreshold", "0", "-multithreshold", "50"}, "singleThreshold", 0},
    {D, HTTPD, {"-updateInterval", "120", "-killInterval", "300"}, "updateInterval", 120000},
    {D, HTTPD, {"-gainValue", "0.75"}, "gainValue", 750000},
    {D, HTTPD, {"-processSlack", "50"}, "processSlack", 50},
    {S, NGINX, {"policy=classic", "max_class_processes=4"}, "policy", 0},
    /* how long an instance lives */
    {S, HTTPD, {"-memory-limit", "256M"}, "memoryLimit", 268435456},
    {D, HTTPD, {"-max-requests", "500", "-autoUpdate"}, "maxRequests", 500},
    {S, NGINX, {"max_lifetime=1h", "auto_update"}, "maxLifetime", 3600000},
    {S, HTTPD, {"-limit", "nofile=1024", "-limit", "core=unlimited"}, "limit", 0},
    {D, NGINX, {"limit=as=1G"}, "limit", 0},
    /* where it is */
    {S, HTTPD, {"-port", "9000"}, "port", 0},
    {S, HTTPD, {"-port", "127.0.0.1:9000"}, "port", 0},
    {S, NGINX, {"port=[::1]:9000"}, "port", 0},
    {S, HTTPD, {"-socket", "/run/php.sock"}, "socket", 0},
    {E, HTTPD, {"-host", "a:1", "-backup", "b:2", "-down", "c:3"}, "down", 0},
    /* other protocols */
    {S, HTTPD, {"-protocol", "FastCGI", "-socket", "/x"}, "protocol", 0},
    {S, HTTPD, {"-protocol", "cgi", "-max-output", "1M", "-limit", "cpu=5"}, "maxOutput", 1048576},
    {S, NGINX, {"protocol=cgi", "on_demand=4"}, "maxClassProcesses", 4},
    {S, USHER, {"-protocol", "cgi", "-nph"}, "nph", 1},
    {E, HTTPD, {"-protocol", "ajp", "-socket", "/x"}, "socket", 0},
    {E, HTTPD, {"-protocol", "ajp", "-host", "unix:/run/tomcat.sock,route=a"}, "host", 0},
    {E, NGINX, {"protocol=ajp", "host=a:1,route=a.b-1_c,weight=100,activation=stopped"}, "host", 0},
    {E, NGINX, {"protocol=ajp", "host=[::1]:1,activation=disabled", "backup=a:1"}, "backup", 0},
    {E, HTTPD, {"-protocol", "ajp12", "-host", "a:1", "-secret-file", "/x"}, "secretFile", 0},
    {E, HTTPD, {"-protocol", "ajp", "-host", "a:1", "-idle-stop", "5"}, "idleStop", 5000},
    {E, HTTPD, {"-protocol", "ajp", "-host", "a:1", "-on-demand", "3"}, "maxClassProcesses", 3},
    {E,
     HTTPD,
     {"-protocol", "ajp", "-host", "a:1", "-max-packet-size", "64K"},
     "maxPacketSize",
     65536},
    {E,
     NGINX,
     {"protocol=ajp", "host=a:1", "fail_on_status=503", "fail_on_status=599"},
     "failOnStatus",
     599},
    {E,
     NGINX,
     {"protocol=ajp", "host=a:1", "sticky_session=off", "sticky_session_force"},
     "stickySessionForce",
     1},
    {E, NGINX, {"protocol=ajp", "host=a:1", "mount=/", "context=/app"}, "context", 0},
    {E, NGINX, {"protocol=ajp12", "host=a:1", "zone=/s=root", "zone=/"}, "zone", 0},
    {E, HTTPD, {"-protocol", "ajp", "-host", "a:1", "-connect-timeout", "0"}, "connectTimeout", 0},
    {E,
     HTTPD,
     {"-protocol", "ajp", "-host", "a:1", "-concurrency", "5", "-connection-pool-minsize", "5"},
     "connectionPoolMinsize",
     5},
    {E,
     HTTPD,
     {"-protocol", "ajp", "-host", "a:1", "-session-cookie", "__Host-id"},
     "sessionCookie",
     0},
    /* servlet engines that are started */
    {S, HTTPD, {"-protocol", "ajp", "-host", "127.0.0.1:8009,route=a"}, "host", 0},
    {S, NGINX, {"protocol=ajp", "host=unix:/run/a", "backup=b:1", "down=c:1"}, "down", 0},
    {S, USHER, {"-protocol", "ajp", "-host", "a:1", "-backup", "[::1]:2,route=b"}, "backup", 0},
    {S, HTTPD, {"-protocol", "ajp", "-host", "a:1", "-on-demand", "2"}, "maxClassProcesses", 2},
    {S, HTTPD, {"-protocol", "AJP", "-host", "a:1", "-cwd", "/opt/tomcat"}, "cwd", 0},
    {S, NGINX, {"protocol=ajp", "host=a:1", "limit=nofile=64K", "allow_setuid"}, "allowSetuid", 1},
    {S, NGINX, {"protocol=ajp", "host=a:1", "max_lifetime=1h"}, "maxLifetime", 3600000},
    {S, USHER, {"-protocol", "ajp", "-host", "a:1", "-stop-signal", "INT"}, "stopSignal", 2},
    {S, HTTPD, {"-protocol", "ajp", "-host", "a:1", "-initial-env", "USHER_=1"}, "initialEnv", 0},
    {S, HTTPD, {"-initial-env", "USHER_PORT=1"}, "initialEnv", 0},
    {S, HTTPD, {"-protocol", "cgi", "-initial-env", "USHER_PORT=1"}, "initialEnv", 0},
    {S,
     HTTPD,
     {"-protocol", "ajp", "-host", "a:1", "-liveness-timeout", "0"},
     "livenessTimeout",
     0},
    {S, NGINX, {"protocol=ajp", "host=a:1", "liveness_timeout=2m"}, "livenessTimeout", 120000},
    {S,
     USHER,
     {"-protocol", "ajp", "-host", "a:1", "-session-drain", "1h"},
     "sessionDrain",
     3600000},
};

static void test_accepted(void) {
    for (size_t i = 0; i < sizeof accepted / sizeof accepted[0]; i++) {
        usher_option_values_t values;
        char error[512] = "";
        int result = usher_options_parse(
            (usher_scope_t)accepted[i].scope, (usher_host_t)accepted[i].host, accepted[i].words,
            count_words(accepted[i].words), &values, error, sizeof error);
        const usher_option_value_t *found = NULL;
        for (size_t j = 0; result == 0 && j < values.count; j++)
            if (strcmp(values.values[j].option->id, accepted[i].id) == 0)
                found = &values.values[j];
        ok(found != NULL && found->number == accepted[i].number, "%s: %s is %" PRId64 " %s",
           join(accepted[i].words), accepted[i].id, accepted[i].number, error);
    }
}

static void test_order_and_texts(void) {
    static const char *const words[] = {"-initial-env", "B=2", "-flush", "-initial-env", "A=1"};
    usher_option_values_t values;
    char error[512];
    int result = usher_options_parse(USHER_SCOPE_STATIC, USHER_HOST_APACHE, words, 5, &values,
                                     error, sizeof error);
    ok(result == 0 && values.count == 3, "three values");
    ok(values.values[0].text == words[1], "a value's text is borrowed from the words");
    is_str(values.values[1].text, "", "a flag has an empty text");
    is_str(values.values[2].text, "A=1", "values come in the order given");
}

/* ---- words that are wrong --------------------------------------------------------------------- */

static const struct {
    unsigned scope, host;
    const char *words[WORDS_MAX];
    const char *error; /* what it must contain */
} refused[] = {
    {S, HTTPD, {"-processes", "257"}, "-processes 257: expected a whole number from 0 to 256"},
    {S, NGINX, {"processes=257"}, "processes=257: expected a whole number from 0 to 256"},
    {S, HTTPD, {"-processes", "-1"}, "from 0 to 256"},
    {S, HTTPD, {"-processes", ""}, "-processes \"\": expected"},
    {S, HTTPD, {"-processes", "1.5"}, "whole number"},
    {S, HTTPD, {"-processes", "1x"}, "whole number"},
    {S, HTTPD, {"-processes", "99999999999999999999"}, "whole number"},
    {S, HTTPD, {"-processes", "-9223372036854775808"}, "whole number"},
    {S, HTTPD, {"-priority", "20"}, "from -20 to 19"},
    {S, HTTPD, {"-concurrency", "0"}, "from 1 to 10000"},
    {S, HTTPD, {"-processes"}, "-processes needs a value: write -processes COUNT"},
    {S, HTTPD, {"-user", "-GROUP", "www"}, "-user needs a value before -GROUP: write -user TEXT"},
    {S, NGINX, {"processes"}, "processes needs a value: write processes=COUNT"},
    {D, NGINX, {"restart=on"}, "restart takes no value: write it alone"},
    {S, HTTPD, {"-processes", "1", "-processes", "2"}, "-processes is given twice"},
    {S, NGINX, {"idle_stop=1", "idle_stop=1"}, "idle_stop is given twice"},
    /* times */
    {S, HTTPD, {"-idle-stop", "-1"}, "expected a time from 0 to 168h"},
    {S, HTTPD, {"-idle-stop", "1d"}, "expected a time"},
    {S, HTTPD, {"-idle-stop", "5 "}, "-idle-stop \"5 \": expected a time"},
    {S, HTTPD, {"-idle-stop", ".5"}, "expected a time"},
    {S, HTTPD, {"-idle-stop", "5."}, "expected a time"},
    {S, HTTPD, {"-idle-stop", "1.5ms"}, "expected a time"},
    {S, HTTPD, {"-idle-stop", "0.0001"}, "expected a time"},
    {S, HTTPD, {"-idle-stop", "169h"}, "expected a time"},
    {S, HTTPD, {"-idle-stop", "9223372036854775807h"}, "expected a time"},
    {S, HTTPD, {"-idle-stop", "99999999999999999999"}, "expected a time"},
    {S, HTTPD, {"-idle-timeout", "0"}, "from 1ms to 168h"},
    /* words */
    {S, HTTPD, {"-cwd", "srv"}, "expected an absolute path"},
    {S, HTTPD, {"-command", ""}, "names no program"},
    {S, HTTPD, {"-command", "bin/x"}, "absolute path or a plain name"},
    {S, HTTPD, {"-command", "''"}, "absolute path or a plain name"},
    {S, HTTPD, {"-command", "'x"}, "begins with ' has no end"},
    {S, HTTPD, {"-command", "x\\"}, "single backslash"},
    {S, HTTPD, {"-command", "a\nb"}, "-command a?b: control characters are not allowed"},
    {S, HTTPD, {"-user", ""}, "must not be empty"},
    {S, HTTPD, {"-initial-env", "1A=x"}, "expected NAME=value"},
    {S, HTTPD, {"-initial-env", "=x"}, "expected NAME=value"},
    {S, HTTPD, {"-stop-signal", "15"}, "expected one of TERM, INT"},
    {E, HTTPD, {"-host", "a"}, "expected host:port"},
    {E, HTTPD, {"-host", "a:0"}, "port from 1 to 65535"},
    {E, HTTPD, {"-host", "a:65536"}, "port from 1 to 65535"},
    {E, HTTPD, {"-host", ":80"}, "expected host:port"},
    {E, HTTPD, {"-host", "1.2.3:80"}, "expected host:port"},
    {E, HTTPD, {"-host", "::1:80"}, "expected host:port"},
    {E, HTTPD, {"-host", "[::1]80"}, "expected host:port"},
    {E, HTTPD, {"-host", "[::1"}, "expected host:port"},
    {E, HTTPD, {"-host", "[127.0.0.1]:80"}, "expected host:port"},
    {E, HTTPD, {"-host", "a b:80"}, "expected host:port"},
    /* names */
    {S, HTTPD, {"-proceses", "1"}, "unknown option -proceses; did you mean -processes COUNT?"},
    {S, HTTPD, {"-max_class_processes", "1"}, "did you mean -maxClassProcesses COUNT?"},
    {S, HTTPD, {"processes=1"}, "unknown option processes; did you mean -processes COUNT?"},
    {S, NGINX, {"-processes"}, "unknown option -processes; did you mean processes=COUNT?"},
    {S, NGINX, {"maxClassProcesses=1"}, "did you mean max_class_processes=COUNT?"},
    {S, NGINX, {"idle-stop=1"}, "did you mean idle_stop=TIME?"},
    {D, NGINX, {"maxprocesses=1"}, "did you mean max_processes=COUNT?"},
    {D, HTTPD, {"-mixProcesses", "1"}, "did you mean -maxProcesses COUNT, -minProcesses COUNT?"},
    {S,
     HTTPD,
     {"-nonsense"},
     "unknown option -nonsense; docs/options.md lists the options of AppClass"},
    {D, NGINX, {"x"}, "lists the options of usher_config"},
    {S, HTTPD, {""}, "unknown option \"\""},
    {S, HTTPD, {"-"}, "unknown option -"},
    {S, NGINX, {"=3"}, "unknown option \"\""},
    {S, HTTPD, {"-e\033[31mvil"}, "unknown option -e?[31mvil"},
    /* places */
    {S, HTTPD, {"-restart"}, "-restart is an option of FCGIConfig, not of AppClass"},
    {E, NGINX, {"limit=as=1G"}, "limit is an option of usher_app and usher_config, not of"},
    {E, HTTPD, {"-cwd", "/"}, "-cwd is an option of AppClass, not of ExternalAppClass"},
    {E,
     HTTPD,
     {"-max-requests", "1"},
     "an option of AppClass and FCGIConfig, not of ExternalAppClass"},
    {S, NGINX, {"flush"}, "flush is not for nginx.conf: use \"fastcgi_buffering off;\""},
    {S, NGINX, {"idle_timeout=5"}, "use fastcgi_read_timeout and fastcgi_send_timeout"},
    {D, NGINX, {"pass_header=X"}, "use fastcgi_param"},
    {E,
     NGINX,
     {"nph", "socket=/x"},
     "nph is not for nginx.conf: nginx makes every status line itself"},
    /* contradictions */
    {S,
     HTTPD,
     {"-processes", "5", "-maxClassProcesses", "4"},
     "-processes (5) must not be above -maxClassProcesses (4)"},
    {S, HTTPD, {"-processes", "0"}, "would never start the program: add -maxClassProcesses"},
    {S, HTTPD, {"-on-demand", "2", "-processes", "1"}, "-on-demand cannot stand beside -processes"},
    {S,
     NGINX,
     {"max_class_processes=3", "on_demand=2"},
     "on_demand cannot stand beside max_class_processes"},
    {D, HTTPD, {"-minProcesses", "51"}, "-minProcesses (51) must not be above -maxProcesses (50)"},
    {D, NGINX, {"max_processes=3", "min_processes=4"}, "min_processes (4) must not be above"},
    {E, HTTPD, {NULL}, "an external class needs -host HOST:PORT or -socket PATH"},
    {E, NGINX, {"host=a:1", "socket=/x"}, "host and socket contradict each other"},
    {E, HTTPD, {"-socket", "/x", "-socket", "/y"}, "-socket is given twice"},
    {S, HTTPD, {"-socket", "/x", "-port", "9000"}, "-socket and -port contradict each other"},
    {S,
     NGINX,
     {"socket=/x", "max_requests=9"},
     "max_requests cannot stand beside socket: at a public address"},
    {S, HTTPD, {"-port", "0"}, "expected a port from 1 to 65535"},
    {S, NGINX, {"port=localhost:9000"}, "address:port"},
    {S, HTTPD, {"-limit", "files=10"}, "NAME=NUMBER or NAME=unlimited with a NAME of nofile"},
    {S, HTTPD, {"-limit", "nofile=many"}, "NAME=NUMBER"},
    {S, HTTPD, {"-policy", "modern"}, "expected one of: adaptive classic"},
    {D,
     HTTPD,
     {"-policy", "adaptive", "-killInterval", "60"},
     "-killInterval belongs to the classic policy"},
    {D, HTTPD, {"-killInterval", "0"}, "expected a time from 1s"},
    {D, HTTPD, {"-processSlack", "51"}, "-processSlack (51) must not be above -maxProcesses (50)"},
    {E, HTTPD, {"-backup", "a:1"}, "no address: an external class needs"},
    /* other protocols */
    {S, HTTPD, {"-protocol", "scgi"}, "-protocol scgi: expected one of: fastcgi cgi ajp ajp12"},
    {D,
     HTTPD,
     {"-protocol", "cgi"},
     "-protocol is an option of AppClass and ExternalAppClass, not of"},
    {E,
     NGINX,
     {"protocol=cgi", "socket=/x"},
     "protocol=cgi is not for usher_external_app: a CGI program is started for each request by "
     "usher_app"},
    {S,
     HTTPD,
     {"-recover-time", "5s"},
     "-recover-time 5s needs -protocol ajp or ajp12; this class speaks fastcgi"},
    {E,
     NGINX,
     {"host=a:1", "secret_file=/x"},
     "secret_file=/x needs protocol=ajp or ajp12; this class speaks fastcgi"},
    {S,
     HTTPD,
     {"-protocol", "CGI", "-sticky-session-force"},
     "-sticky-session-force needs -protocol ajp or ajp12; this class speaks CGI"},
    {S,
     HTTPD,
     {"-max-output", "5"},
     "-max-output 5 needs -protocol cgi; this class speaks fastcgi"},
    {E,
     HTTPD,
     {"-max-output", "5"},
     "-max-output is an option of AppClass, not of ExternalAppClass"},
    {S,
     NGINX,
     {"protocol=cgi", "port=80"},
     "port=80 needs protocol=fastcgi; this class speaks cgi"},
    {S,
     HTTPD,
     {"-protocol", "ajp", "-command", "x", "-host", "a:1", "-socket", "/x"},
     "-socket /x needs -protocol fastcgi; this class speaks ajp"},
    {S,
     HTTPD,
     {"-protocol", "cgi", "-cwd", "/x"},
     "-cwd /x needs -protocol fastcgi, ajp or ajp12; this class speaks cgi: a CGI program runs in "
     "its own directory"},
    {E,
     HTTPD,
     {"-protocol", "ajp", "-host", "a:1", "-nph"},
     "-nph needs -protocol fastcgi or cgi; this class speaks ajp"},
    {S,
     HTTPD,
     {"-host", "a:1"},
     "-host a:1 needs -protocol ajp or ajp12; this class speaks fastcgi: one that runs already is "
     "an external class"},
    {S,
     HTTPD,
     {"-protocol", "cgi", "-down", "a:1"},
     "-down a:1 needs -protocol ajp or ajp12; this class speaks cgi"},
    {E,
     NGINX,
     {"host=a:1", "processes=2"},
     "processes=2 needs protocol=ajp or ajp12; this class speaks fastcgi, and nothing is started "
     "for it"},
    {E,
     HTTPD,
     {"-host", "a:1", "-on-demand", "2"},
     "-on-demand 2 needs -protocol ajp or ajp12; this class speaks fastcgi, and nothing is started "
     "for it"},
    {E, HTTPD, {"-host", "a:1", "-user", "www"}, "-user www needs -protocol ajp or ajp12"},
    {E,
     HTTPD,
     {"-protocol", "ajp", "-host", "a:1", "-processes", "0"},
     "would never start the program: add -maxClassProcesses"},
    /* servlet engines that are started */
    {S,
     HTTPD,
     {"-protocol", "ajp", "-command", "java x"},
     "-protocol ajp needs -host HOST:PORT: where its engine listens"},
    {S,
     NGINX,
     {"protocol=ajp", "command=java x", "backup=a:1"},
     "protocol=ajp needs host=HOST:PORT: where its engine listens"},
    {S,
     USHER,
     {"-protocol", "ajp", "-command", "java x", "-down", "a:1"},
     "-protocol ajp needs -host HOST:PORT: where its engine listens"},
    {S,
     HTTPD,
     {"-protocol", "ajp", "-host", "a:1", "-backup", "a:1"},
     "-backup a:1: this address is given twice"},
    {S,
     NGINX,
     {"protocol=ajp", "host=a:1", "max_requests=5"},
     "max_requests=5 needs protocol=fastcgi or cgi; this class speaks ajp: its gateways count "
     "requests, and those do not wear an engine"},
    {S,
     USHER,
     {"-protocol", "ajp", "-host", "a:1", "-autoUpdate"},
     "-autoUpdate needs -protocol fastcgi or cgi; this class speaks ajp: what is deployed in a "
     "servlet engine is not its program's file"},
    {S,
     HTTPD,
     {"-protocol", "ajp", "-host", "a:1", "-port", "80"},
     "-port 80 needs -protocol fastcgi; this class speaks ajp"},
    {S,
     HTTPD,
     {"-protocol", "ajp", "-host", "a:1", "-initial-env", "USHER_PORT"},
     "-initial-env USHER_PORT: each engine of this class gets its own"},
    {S,
     NGINX,
     {"protocol=ajp", "host=a:1", "initial_env=A=1", "initial_env=USHER_ADDRESS=b"},
     "initial_env=USHER_ADDRESS: each engine of this class gets its own"},
    {S,
     USHER,
     {"-protocol", "ajp", "-host", "a:1", "-initial-env", "USHER_HOST=b"},
     "-initial-env USHER_HOST: each engine of this class gets its own"},
    {S,
     HTTPD,
     {"-protocol", "ajp12", "-host", "a:1", "-initial-env", "USHER_PROTOCOL=ajp12"},
     "-initial-env USHER_PROTOCOL: each engine of this class gets its own"},
    {S,
     USHER,
     {"-protocol", "ajp", "-host", "a:1", "-initial-env", "USHER_ROUTE="},
     "-initial-env USHER_ROUTE: each engine of this class gets its own"},
    {S,
     HTTPD,
     {"-liveness-timeout", "5"},
     "-liveness-timeout 5 needs -protocol ajp or ajp12; this class speaks fastcgi"},
    {S,
     NGINX,
     {"protocol=cgi", "session_drain=5"},
     "session_drain=5 needs protocol=ajp or ajp12; this class speaks cgi"},
    {E,
     USHER,
     {"-protocol", "ajp", "-host", "a:1", "-session-drain", "5"},
     "-session-drain is an option of AppClass, not of ExternalAppClass"},
    {E,
     NGINX,
     {"protocol=ajp", "host=a:1", "liveness_timeout=5"},
     "liveness_timeout is an option of usher_app, not of usher_external_app"},
    {D,
     HTTPD,
     {"-liveness-timeout", "5"},
     "-liveness-timeout is an option of AppClass, not of FCGIConfig"},
    {E,
     NGINX,
     {"protocol=AJP12", "host=a:1", "max_packet_size=8192"},
     "max_packet_size=8192 needs protocol=ajp; this class speaks AJP12, which has no packets"},
    {E,
     HTTPD,
     {"-protocol", "ajp12", "-host", "a:1", "-connection-pool-timeout", "5"},
     "-connection-pool-timeout 5 needs -protocol ajp; this class speaks ajp12, whose connections "
     "carry one request"},
    {E,
     HTTPD,
     {"-protocol", "ajp12", "-host", "a:1", "-connection-pool-minsize", "5"},
     "-connection-pool-minsize 5 needs -protocol ajp; this class speaks ajp12"},
    {E, HTTPD, {"-protocol", "ajp"}, "an external class needs -host HOST:PORT or -socket PATH"},
    {E,
     HTTPD,
     {"-host", "a:1,route=a"},
     "-host a:1,route=a: what is behind the comma needs -protocol ajp or ajp12; this class speaks "
     "fastcgi"},
    {E,
     NGINX,
     {"host=a:1", "backup=unix:/x"},
     "backup=unix:/x: a UNIX socket there needs protocol=ajp or ajp12"},
    {E,
     NGINX,
     {"protocol=ajp", "host=a:1,route="},
     "host=a:1,route=: behind the address expected ,route=NAME"},
    {E, NGINX, {"protocol=ajp", "host=a:1,route=a b"}, "behind the address"},
    {E, NGINX, {"protocol=ajp", "host=a:1,route=a,route=b"}, "each at most once"},
    {E, NGINX, {"protocol=ajp", "host=a:1,weight=0"}, ",weight=N (1 to 100)"},
    {E, NGINX, {"protocol=ajp", "host=a:1,weight=101"}, ",weight=N (1 to 100)"},
    {E, NGINX, {"protocol=ajp", "host=a:1,weight=1x"}, ",weight=N (1 to 100)"},
    {E,
     NGINX,
     {"protocol=ajp", "host=a:1,activation=on"},
     ",activation=active, disabled or stopped"},
    {E, NGINX, {"protocol=ajp", "host=a:1,"}, "behind the address"},
    {E, NGINX, {"protocol=ajp", "host=a:1,weight"}, "behind the address"},
    {E, NGINX, {"protocol=ajp", "host=,route=a"}, "expected host:port or [IPv6 address]:port"},
    {E, NGINX, {"protocol=ajp", "host=unix:x"}, "or unix:/path"},
    {E,
     NGINX,
     {"protocol=ajp", "host=a:1", "backup=a:1,route=x"},
     "backup=a:1,route=x: this address is given twice"},
    {E,
     HTTPD,
     {"-protocol", "ajp", "-host", "a:1", "-max-packet-size", "8191"},
     "expected a size from 8192 to 65536 bytes"},
    {E,
     HTTPD,
     {"-protocol", "ajp", "-host", "a:1", "-fail-on-status", "600"},
     "whole number from 100 to 599"},
    {E, HTTPD, {"-protocol", "ajp", "-host", "a:1", "-retries", "11"}, "whole number from 0 to 10"},
    {E,
     HTTPD,
     {"-protocol", "ajp", "-host", "a:1", "-method", "traffic"},
     "expected one of: busyness request"},
    {E,
     HTTPD,
     {"-protocol", "ajp", "-host", "a:1", "-session-cookie", "a=b"},
     "-session-cookie a=b: expected a name of letters, digits and !#$%&"},
    {E,
     HTTPD,
     {"-protocol", "ajp", "-host", "a:1", "-request-attribute", "A", "-request-attribute", "a b"},
     "-request-attribute \"a b\": expected a name"},
    {E,
     HTTPD,
     {"-protocol", "ajp", "-host", "a:1", "-zone", "/s=root"},
     "-zone /s=root needs -protocol ajp12; this class speaks ajp"},
    {E, NGINX, {"zone=/s"}, "zone=/s needs protocol=ajp or ajp12; this class speaks fastcgi"},
    {E,
     NGINX,
     {"protocol=ajp12", "host=a:1", "zone=/s="},
     "zone=/s=: expected PATH or PATH=ZONE, ZONE of letters"},
    {E,
     HTTPD,
     {"-protocol", "ajp12", "-host", "a:1", "-zone", "/s=a/b"},
     "-zone /s=a/b: expected PATH or PATH=ZONE, ZONE of letters"},
    {E, HTTPD, {"-protocol", "ajp12", "-host", "a:1", "-zone", "s=root"}, "-zone s=root"},
    {E,
     HTTPD,
     {"-protocol", "ajp12", "-host", "a:1", "-zone", "/s=a", "-zone", "/t", "-zone", "/s/"},
     "-zone /s/: this path is given twice"},
    {E,
     HTTPD,
     {"-protocol", "ajp", "-host", "a:1", "-context", "/x"},
     "-context /x stands alone: give -mount as well, the prefix that it replaces"},
    {E,
     NGINX,
     {"protocol=ajp", "host=a:1", "mount=/x"},
     "mount=/x stands alone: give context as well, the prefix that replaces it"},
    {E,
     NGINX,
     {"protocol=ajp", "host=a:1", "connection_pool_minsize=201"},
     "connection_pool_minsize (201) must not be above concurrency (200)"},
    {E,
     HTTPD,
     {"-protocol", "ajp", "-host", "a:1", "-connection-pool-minsize", "3", "-connection-pool-size",
      "2"},
     "(3) must not be above -connection-pool-size (2)"},
};

static void test_refused(void) {
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        usher_option_values_t values;
        char error[512] = "";
        int result = usher_options_parse(
            (usher_scope_t)refused[i].scope, (usher_host_t)refused[i].host, refused[i].words,
            count_words(refused[i].words), &values, error, sizeof error);
        if (!ok(result == -1 && strstr(error, refused[i].error) != NULL, "%s: %s",
                join(refused[i].words), refused[i].error))
            printf("# got %d: %s\n", result, error);
    }
}

/* Values of -initial-env may be secrets: whatever is wrong with one, no error says it. */
static void test_secrets(void) {
    static char long_value[20000] = "A=s3cret";
    memset(long_value + 8, 'x', sizeof long_value - 9);
    static const struct {
        unsigned host;
        const char *words[WORDS_MAX];
        const char *error;
    } cases[] = {
        {HTTPD, {"-initial-env", "1A=s3cret"}, "-initial-env 1A=...: expected NAME=value"},
        {NGINX, {"initial_env=1A=s3cret"}, "initial_env=1A=...: expected NAME=value"},
        {HTTPD, {"-initial-env", "s3cret=="}, NULL},
        {HTTPD, {"-initial-env", "5s3cret=="}, "-initial-env: expected NAME=value"},
        {NGINX, {"initial_env=1s3cret"}, "initial_env: expected NAME=value"},
        {HTTPD, {"-initial-env", "A=s3cret\x01"}, "-initial-env A=...: control characters"},
        {HTTPD, {"-initial-env", long_value}, "-initial-env A=...: 19999 bytes long"},
        {HTTPD,
         {"-initial-env", "A=very", "s3cret"},
         "the word after -initial-env is no option (a value that holds a blank is put in quotes"},
        {NGINX, {"initial_env=A=very", "s3cret=x"}, "the word after initial_env is no option"},
        {HTTPD, {"-initial-env", "A=very", "-s3cret"}, "the word after -initial-env is no option"},
        {HTTPD, {"-initial-env", "A=s3cret", "-procesess", "1"}, "did you mean -processes COUNT?"},
        {HTTPD, {"-initial-env", "A=s3cret", "-processes", "0"}, "never start the program"},
        {HTTPD,
         {"-protocol", "ajp", "-host", "a:1", "-initial-env", "USHER_PORT=s3cret"},
         "-initial-env USHER_PORT: each engine"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        usher_option_values_t values;
        char error[512] = "";
        int result =
            usher_options_parse((usher_scope_t)S, (usher_host_t)cases[i].host, cases[i].words,
                                count_words(cases[i].words), &values, error, sizeof error);
        bool told = cases[i].error == NULL ? result == 0
                                           : result == -1 && strstr(error, cases[i].error) != NULL;
        if (!ok(told && strstr(error, "s3cret") == NULL, "%s: %s", cases[i].words[0],
                cases[i].error != NULL ? cases[i].error : "taken"))
            printf("# got %d: %s\n", result, error);
    }
}

static void test_long_values(void) {
    static char value[20000];
    const char *words[] = {"-cwd", value};
    usher_option_values_t values;
    char error[512], small[16];

    memset(value, 'x', sizeof value - 1);
    usher_options_parse(USHER_SCOPE_STATIC, USHER_HOST_APACHE, words, 2, &values, error,
                        sizeof error);
    ok(strlen(error) < 160 && strstr(error, "xxx...: 19999 bytes long") != NULL,
       "a long value is cut in the error");
    const char *name[] = {value};
    usher_options_parse(USHER_SCOPE_STATIC, USHER_HOST_NGINX, name, 1, &values, error,
                        sizeof error);
    ok(strlen(error) < 200, "a long name is cut in the error");

    memset(value, '\xc3', sizeof value - 1);
    for (size_t i = 1; i < sizeof value - 1; i += 2)
        value[i] = '\xa4'; /* ä … */
    value[1000] = '\0';
    usher_options_parse(USHER_SCOPE_STATIC, USHER_HOST_APACHE, words, 2, &values, error,
                        sizeof error);
    const char *dots = strstr(error, "...");
    ok(dots != NULL && dots[-1] == '\xa4', "it is not cut inside a UTF-8 character");
    strcpy(value, "\xc2\x9b"
                  "31m");
    usher_options_parse(USHER_SCOPE_STATIC, USHER_HOST_APACHE, words, 2, &values, error,
                        sizeof error);
    ok(strstr(error, "-cwd ??31m") != NULL, "control characters above ASCII are not echoed");

    int result = usher_options_parse(USHER_SCOPE_STATIC, USHER_HOST_APACHE, words, 2, &values,
                                     small, sizeof small);
    ok(result == -1 && strlen(small) == sizeof small - 1, "a small error buffer is not overrun");

    char path[200];
    memset(path, 'x', sizeof path);
    path[0] = '/';
    path[108] = '\0';
    const char *socket_words[] = {"-socket", path};
    usher_options_parse(USHER_SCOPE_EXTERNAL, USHER_HOST_APACHE, socket_words, 2, &values, error,
                        sizeof error);
    ok(strstr(error, "the path has 108 bytes, a socket's at most 107") != NULL,
       "a socket's path must fit into its address");
    path[107] = '\0';
    is_int(usher_options_parse(USHER_SCOPE_EXTERNAL, USHER_HOST_APACHE, socket_words, 2, &values,
                               error, sizeof error),
           0, "107 bytes do");

    char host[256] = "unix:";
    const char *host_words[] = {"-protocol", "ajp", "-host", host};
    memcpy(host + 5, path, sizeof path);
    strcat(host, ",weight=2");
    is_int(usher_options_parse(USHER_SCOPE_EXTERNAL, USHER_HOST_APACHE, host_words, 4, &values,
                               error, sizeof error),
           0, "in an address of -host as well");
    memcpy(host + 5 + 107, "x,weight=2", sizeof "x,weight=2");
    usher_options_parse(USHER_SCOPE_EXTERNAL, USHER_HOST_APACHE, host_words, 4, &values, error,
                        sizeof error);
    ok(strstr(error, "the path has 108 bytes, a socket's at most 107") != NULL,
       "and no more there");
}

static void test_many_values(void) {
    const char *words[2 * (USHER_OPTION_VALUES_MAX + 1)];
    usher_option_values_t values;
    char error[512];
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i += 2) {
        words[i] = "-initial-env";
        words[i + 1] = "A=1";
    }
    is_int(usher_options_parse(USHER_SCOPE_STATIC, USHER_HOST_APACHE, words,
                               2 * USHER_OPTION_VALUES_MAX, &values, error, sizeof error),
           0, "%d values are taken", USHER_OPTION_VALUES_MAX);
    is_int(usher_options_parse(USHER_SCOPE_STATIC, USHER_HOST_APACHE, words,
                               2 * (USHER_OPTION_VALUES_MAX + 1), &values, error, sizeof error),
           -1, "one more is refused");
    words[0] = "-on-demand";
    words[1] = "3";
    usher_options_parse(USHER_SCOPE_STATIC, USHER_HOST_APACHE, words, 2 * USHER_OPTION_VALUES_MAX,
                        &values, error, sizeof error);
    ok(strstr(error, "more than 256 options") != NULL, "what -on-demand stands for counts as well");
}

/* Types that no option of this release has yet. */
static void test_further_types(void) {
    const usher_option_t size = {.type = USHER_TYPE_SIZE, .maximum = INT64_MAX};
    const usher_option_t ratio = {.type = USHER_TYPE_RATIO, .maximum = 1000000};
    const usher_option_t choice = {.type = USHER_TYPE_CHOICE, .choices = "fastcgi cgi ajp ajp12"};
    char expected[256];
    int64_t number;
#define PARSE(option, text) usher_value_parse(&(option), text, &number, expected, sizeof expected)
    ok(PARSE(size, "64K") == 0 && number == 65536, "a size in K");
    ok(PARSE(size, "1.5G") == 0 && number == 1610612736, "a fraction of a G");
    ok(PARSE(size, "0.3") < 0, "no fraction of a byte");
    ok(PARSE(size, "9223372036854775807G") < 0, "no size beyond 64 bits");
    ok(PARSE(size, "8T") < 0, "no unknown unit");
    ok(PARSE(ratio, "0.5") == 0 && number == 500000, "a ratio in millionths");
    ok(PARSE(ratio, "1.000001") < 0, "no ratio above 1");
    ok(PARSE(choice, "AJP") == 0, "one of the choices");
    ok(PARSE(choice, "aj") < 0 && strstr(expected, "fastcgi cgi ajp ajp12") != NULL,
       "no part of a choice");
    ok(PARSE(choice, "") < 0, "not the empty choice");
#undef PARSE
}

/* ---- commands and names ----------------------------------------------------------------------- */

static void test_command_split(void) {
    static const struct {
        const char *command, *words[WORDS_MAX];
    } cases[] = {
        {"php-cgi", {"php-cgi"}},
        {"  php-cgi\t-c  /etc/x ", {"php-cgi", "-c", "/etc/x"}},
        {"a 'b c' \"d e\" f\\ g", {"a", "b c", "d e", "f g"}},
        {"a''b\"c\"'d'", {"abcd"}},
        {"a '' \"\"", {"a", "", ""}},
        {"'a\\b' \"a\\b\" \"a\\\"b\" \"\\$x\\\\\"", {"a\\b", "a\\b", "a\"b", "$x\\"}},
        {"a $HOME *.c | b > c ; d & `e`",
         {"a", "$HOME", "*.c", "|", "b", ">", "c", ";", "d", "&", "`e`"}},
        {"a \"'\" '\"'", {"a", "'", "\""}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char buffer[256], error[128] = "", *words[WORDS_MAX];
        int count = usher_command_split(cases[i].command, buffer, sizeof buffer, words, WORDS_MAX,
                                        error, sizeof error);
        bool same = count == (int)count_words(cases[i].words);
        for (int j = 0; same && j < count; j++)
            same = strcmp(words[j], cases[i].words[j]) == 0;
        ok(same, "split <%s> %s", cases[i].command, error);
    }
    char buffer[8], error[128], *words[3];
    is_int(usher_command_split("a b c", buffer, 6, words, 3, error, sizeof error), 3,
           "a buffer that just fits");
    is_int(usher_command_split("a b cd", buffer, 6, words, 3, error, sizeof error), -1,
           "a buffer that does not");
    is_str(error, "is longer than 6 bytes", "and why");
    is_int(usher_command_split("a b c d", buffer, 8, words, 3, error, sizeof error), -1,
           "too many words");
    is_str(error, "has more than 3 words", "and why");
    is_int(usher_command_split("a \"b\\", buffer, 8, words, 3, error, sizeof error), -1,
           "a backslash at the end of an open quotation");
    is_int(usher_command_split(" ", buffer, 8, words, 3, error, sizeof error), -1,
           "no word at all");
}

static void test_class_names(void) {
    static const struct {
        const char *name, *error; /* NULL: right */
    } cases[] = {
        {"/srv/www/a b.fcgi", NULL},
        {"php", NULL},
        {"php-8.2_x@host", NULL},
        {"", "is empty"},
        {"-processes", "must stand before its options"},
        {"a/b", "expected an absolute path, or a name"},
        {"a b", "\"a b\": expected an absolute path, or a name"},
        {"..", "expected an absolute path, or a name"},
        {"/a\nb", "/a?b: control characters"},
        {"\xc3\xa4", "expected an absolute path, or a name"},
    };
    char error[256], name[USHER_CLASS_NAME_MAX + 1];
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        error[0] = '\0';
        int result = usher_class_name_check(cases[i].name, error, sizeof error);
        bool right = cases[i].error == NULL ? result == 0
                                            : result == -1 && strstr(error, cases[i].error) != NULL;
        ok(right, "class name %zu: %s", i, error);
    }
    memset(name, 'a', sizeof name);
    name[0] = '/';
    name[USHER_CLASS_NAME_MAX] = '\0';
    ok(usher_class_name_check(name, error, sizeof error) < 0 &&
           strstr(error, "1024 bytes long, at most 1023") != NULL,
       "a path that is no key any more");
    name[USHER_CLASS_NAME_MAX - 1] = '\0';
    is_int(usher_class_name_check(name, error, sizeof error), 0, "the longest path");

    usher_option_values_t values = {0};
    ok(usher_class_check(USHER_SCOPE_STATIC, USHER_HOST_NGINX, "php", &values, error,
                         sizeof error) < 0 &&
           strstr(error, "command=COMMAND") != NULL,
       "a static class with a name needs a command");
    is_int(usher_class_check(USHER_SCOPE_STATIC, USHER_HOST_NGINX, "/php", &values, error,
                             sizeof error),
           0, "one with a path does not");
    is_int(usher_class_check(USHER_SCOPE_EXTERNAL, USHER_HOST_NGINX, "tiles", &values, error,
                             sizeof error),
           0, "nor does an external one");
    usher_option_values_t cgi = {1, {{find("protocol"), "cgi", 0}}};
    is_int(usher_class_check(USHER_SCOPE_STATIC, USHER_HOST_NGINX, "usher-cgi", &cgi, error,
                             sizeof error),
           0, "nor one that runs whatever CGI program is named");
    is_int(usher_class_runs_any_file("usher-cgi", &cgi), 1, "as that one does");
    is_int(usher_class_runs_any_file("/srv/x.cgi", &cgi), 0, "one with a path runs that");
    static const char *const words[] = {USHER_CGI_CLASS_WORDS};
    usher_option_values_t implied;
    is_int(usher_options_parse(USHER_SCOPE_STATIC, USHER_HOST_USHER, words + 2,
                               sizeof words / sizeof words[0] - 2, &implied, error, sizeof error) |
               usher_class_check(USHER_SCOPE_STATIC, USHER_HOST_USHER, words[1], &implied, error,
                                 sizeof error),
           0, "the class of all CGI programs is right");
    cgi.values[cgi.count++] = (usher_option_value_t){find("command"), "x", 0};
    ok(usher_class_check(USHER_SCOPE_STATIC, USHER_HOST_APACHE, "usher-cgi", &cgi, error,
                         sizeof error) < 0 &&
           strstr(error, "write AppClass usher-cgi with -protocol cgi and no -command") != NULL,
       "and is no other program's");
    is_int(usher_class_runs_any_file("reports", &cgi), 0, "with a command it is that program's");
    ok(usher_class_check(USHER_SCOPE_EXTERNAL, USHER_HOST_NGINX, "usher-cgi", &values, error,
                         sizeof error) < 0 &&
           strstr(error, "write usher_app usher-cgi with protocol=cgi and no command") != NULL,
       "nor an external class");
    usher_option_values_t ajp = {2, {{find("protocol"), "ajp", 0}, {find("host"), "a:1", 0}}};
    ok(usher_class_check(USHER_SCOPE_STATIC, USHER_HOST_APACHE, "shop", &ajp, error, sizeof error) <
               0 &&
           strstr(error, "shop is a name, not a path: say what to run with -command COMMAND") !=
               NULL,
       "nor one of servlet engines without a command");
    is_int(usher_class_check(USHER_SCOPE_STATIC, USHER_HOST_APACHE, "/opt/engine", &ajp, error,
                             sizeof error),
           0, "whose name may be the engine's path");
    values.values[values.count++] = (usher_option_value_t){find("command"), "x", 0};
    is_int(usher_class_check(USHER_SCOPE_STATIC, USHER_HOST_NGINX, "php", &values, error,
                             sizeof error),
           0, "with a command it is whole");
}

/* ---- the manual ------------------------------------------------------------------------------- */

static char *read_stream(FILE *stream) {
    size_t capacity = 1 << 20;
    char *text = calloc(1, capacity);
    if (stream != NULL && text != NULL)
        text[fread(text, 1, capacity - 1, stream)] = '\0';
    return text;
}

static void test_manual(void) {
    static const char begin[] = "<!-- options table: begin -->\n",
                      end[] = "<!-- options table: end -->";
    char path[4096];
    snprintf(path, sizeof path, "%.*s/../../docs/options.md",
             (int)(strrchr(__FILE__, '/') - __FILE__), __FILE__);
    FILE *file = fopen(path, "r");
    FILE *program = popen(USHER_TEST_BUILD "/options-table", "r");
    char *page = read_stream(file), *table = read_stream(program);
    if (file != NULL)
        fclose(file);
    if (program != NULL)
        pclose(program);
    char *from = strstr(page, begin), *to = strstr(page, end);
    ok(from != NULL && to != NULL && from < to, "docs/options.md holds the marks of its table");
    if (from != NULL && to != NULL) {
        *to = '\0';
        ok(strcmp(from + sizeof begin - 1, table) == 0,
           "its table is that of options.def (else: node scripts/options-table.mjs)");
    }
    free(page);
    free(table);
}

int main(void) {
    test_table();
    test_accepted();
    test_order_and_texts();
    test_refused();
    test_secrets();
    test_long_values();
    test_many_values();
    test_further_types();
    test_command_split();
    test_class_names();
    test_manual();
    return done_testing();
}
