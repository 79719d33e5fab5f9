/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SetHandler usher-status: what the channel tells, with or without a manager.
 */
#include "mod_usher.h"

#include "http_protocol.h"
#include "http_request.h"
#include "status/status.h"

APLOG_USE_MODULE(usher);

#define CHUNK 16384

static void tell_facts(const request_rec *r, usher_status_facts_t *facts)
{
    ap_version_t version;

    ap_get_server_revision(&version);
    facts->server_kind = "apache";
    facts->server_version =
        apr_psprintf(r->pool, "%d.%d.%d", version.major, version.minor, version.patch);
    facts->problem = usher_process.reason ? usher_process.reason : "UsherManager is off";
}

static void send_page(request_rec *r, usher_status_page_t *page)
{
    char *chunk = apr_palloc(r->pool, CHUNK);
    apr_size_t length;

    while ((length = usher_status_write(page, chunk, CHUNK)) > 0
           && ap_rwrite(chunk, (int)length, r) >= 0) {
    }
}

int usher_status_handler(request_rec *r)
{
    const usher_status_header_t *header;
    usher_status_facts_t facts;
    usher_status_format_t format;
    usher_status_page_t *page;

    if (!r->handler || strcmp(r->handler, USHER_STATUS_HANDLER)) {
        return DECLINED;
    }
    ap_allow_standard_methods(r, REPLACE_ALLOW, M_GET, -1);
    if (r->method_number != M_GET) { /* HEAD is one, too */
        return HTTP_METHOD_NOT_ALLOWED;
    }
    format = usher_status_format(r->args ? r->args : "", r->args ? strlen(r->args) : 0);
    ap_set_content_type(r, usher_status_type(format));
    for (header = usher_status_headers; header->name; header++) {
        apr_table_setn(r->headers_out, header->name, header->value);
    }
    if (!usher_process.channel) {
        r->status = HTTP_SERVICE_UNAVAILABLE;
    }
    if (!r->header_only) {
        tell_facts(r, &facts);
        page = apr_palloc(r->pool, sizeof(*page));
        usher_status_begin(page, usher_process.channel, &facts, format);
        send_page(r, page);
    }
    return OK;
}
