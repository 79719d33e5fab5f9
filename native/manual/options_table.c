/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Prints the table of docs/options.md from options.def. scripts/options-table.mjs puts it there and
 * a test compares the two.
 */
#include <stdio.h>
#include <string.h>

#include "options/table.h"
#include "options/values.h"

static void print_directives(const usher_option_t *option) {
    static const usher_scope_t scopes[] = {USHER_SCOPE_STATIC, USHER_SCOPE_EXTERNAL,
                                           USHER_SCOPE_DYNAMIC};
    const char *separator = "";
    for (size_t i = 0; i < sizeof scopes / sizeof scopes[0]; i++)
        if (option->scopes & (unsigned)scopes[i]) {
            printf("%s%s", separator, usher_scope_directive(USHER_HOST_APACHE, scopes[i]));
            separator = ", ";
        }
}

static void print_range(const usher_option_t *option) {
    char low[24], high[24];
    switch (option->type) {
    case USHER_TYPE_TIME:
        usher_time_write(option->minimum, low, sizeof low);
        usher_time_write(option->maximum, high, sizeof high);
        printf("%s … %s", low, high);
        break;
    case USHER_TYPE_COUNT:
    case USHER_TYPE_SIZE:
        printf("%lld … %lld", (long long)option->minimum, (long long)option->maximum);
        break;
    case USHER_TYPE_RATIO:
        printf("0 … 1");
        break;
    case USHER_TYPE_CHOICE:
        printf("%s", option->choices);
        break;
    default:
        break;
    }
}

static void print_row(const usher_option_t *option) {
    char form[USHER_SPELLING_MAX + 16];
    usher_option_form(USHER_HOST_APACHE, option, form, sizeof form);
    printf("| `%s` | ", form);
    if (option->hosts & USHER_HOST_NGINX) {
        usher_option_form(USHER_HOST_NGINX, option, form, sizeof form);
        printf("`%s`", form);
    } else {
        printf("not taken: %s", option->instead);
    }
    printf(" | ");
    print_directives(option);
    const char *unit = *option->default_text != '\0' ? option->unit : "";
    printf(" | %s%s%s | ", option->default_text, *unit != '\0' ? " " : "", unit);
    print_range(option);
    printf(" | %s%s |\n", option->doc, option->repeatable ? "; may be repeated" : "");
}

int main(void) {
    size_t count;
    const usher_option_t *options = usher_options(&count);
    printf("| httpd.conf, usher.conf | nginx.conf | in | default | allowed | meaning |\n"
           "|---|---|---|---|---|---|\n");
    for (size_t i = 0; i < count; i++)
        print_row(&options[i]);
    return 0;
}
