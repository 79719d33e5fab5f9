/* SPDX-License-Identifier: Apache-2.0 */
#include "addon/layout.h"

#include "channel/layout.h"

#define RECORD(name, type) \
    { name, sizeof(type) }
#define FIELD(name, type, field) \
    { name "." #field, offsetof(type, field) }

static const usher_layout_entry_t entries[] = {
    RECORD("table", usher_table_t),
    FIELD("table", usher_table_t, header),
    FIELD("table", usher_table_t, buckets),
    FIELD("table", usher_table_t, classes),
    FIELD("table", usher_table_t, endpoints),

    RECORD("tableHeader", usher_table_header_t),
    FIELD("tableHeader", usher_table_header_t, magic),
    FIELD("tableHeader", usher_table_header_t, version),
    FIELD("tableHeader", usher_table_header_t, manager_state),
    FIELD("tableHeader", usher_table_header_t, manager_pid),
    FIELD("tableHeader", usher_table_header_t, manager_seen_ns),
    FIELD("tableHeader", usher_table_header_t, publication),
    FIELD("tableHeader", usher_table_header_t, endpoint_generation),
    FIELD("tableHeader", usher_table_header_t, class_generation),
    FIELD("tableHeader", usher_table_header_t, recount),

    RECORD("classRecord", usher_class_record_t),
    FIELD("classRecord", usher_class_record_t, state),
    FIELD("classRecord", usher_class_record_t, generation),
    FIELD("classRecord", usher_class_record_t, kind),
    FIELD("classRecord", usher_class_record_t, key_length),
    FIELD("classRecord", usher_class_record_t, key_hash),
    FIELD("classRecord", usher_class_record_t, server_id),
    FIELD("classRecord", usher_class_record_t, flags),
    FIELD("classRecord", usher_class_record_t, queue_limit),
    FIELD("classRecord", usher_class_record_t, queue_timeout_ms),
    FIELD("classRecord", usher_class_record_t, connect_timeout_ms),
    FIELD("classRecord", usher_class_record_t, idle_timeout_ms),
    FIELD("classRecord", usher_class_record_t, request_timeout_ms),
    FIELD("classRecord", usher_class_record_t, verdict_status),
    FIELD("classRecord", usher_class_record_t, retry_after_s),
    FIELD("classRecord", usher_class_record_t, reason_sequence),
    FIELD("classRecord", usher_class_record_t, endpoint_slots),
    FIELD("classRecord", usher_class_record_t, reason),
    FIELD("classRecord", usher_class_record_t, key),
    FIELD("classRecord", usher_class_record_t, endpoints),

    RECORD("endpointRecord", usher_endpoint_record_t),
    FIELD("endpointRecord", usher_endpoint_record_t, state),
    FIELD("endpointRecord", usher_endpoint_record_t, generation),
    FIELD("endpointRecord", usher_endpoint_record_t, class_index),
    FIELD("endpointRecord", usher_endpoint_record_t, concurrency),
    FIELD("endpointRecord", usher_endpoint_record_t, pid),
    FIELD("endpointRecord", usher_endpoint_record_t, address_kind),
    FIELD("endpointRecord", usher_endpoint_record_t, address_length),
    FIELD("endpointRecord", usher_endpoint_record_t, instance),
    FIELD("endpointRecord", usher_endpoint_record_t, address),

    RECORD("places", usher_places_t),
    FIELD("places", usher_places_t, bells),
    FIELD("places", usher_places_t, gates),
    FIELD("places", usher_places_t, places),

    RECORD("placesHeader", usher_places_header_t),
    FIELD("placesHeader", usher_places_header_t, doorbell),
    FIELD("placesHeader", usher_places_header_t, manager_sleeping),

    RECORD("classGate", usher_class_gate_t),
    FIELD("classGate", usher_class_gate_t, wake),
    FIELD("classGate", usher_class_gate_t, sleepers),
    FIELD("classGate", usher_class_gate_t, waiting),
    FIELD("classGate", usher_class_gate_t, rung),
    FIELD("classGate", usher_class_gate_t, eldest),
    FIELD("classGate", usher_class_gate_t, called_us),

    RECORD("place", usher_place_t),
    FIELD("place", usher_place_t, in_use),
    FIELD("place", usher_place_t, unreached),
    FIELD("place", usher_place_t, served),
    FIELD("place", usher_place_t, hung),
    FIELD("place", usher_place_t, kept),
    FIELD("place", usher_place_t, keeper),

    RECORD("cells", usher_cells_t),
    FIELD("cells", usher_cells_t, ring),
    FIELD("cells", usher_cells_t, bases),
    FIELD("cells", usher_cells_t, workers),

    RECORD("cellsHeader", usher_cells_header_t),
    FIELD("cellsHeader", usher_cells_header_t, generation),
    FIELD("cellsHeader", usher_cells_header_t, master_pid),
    FIELD("cellsHeader", usher_cells_header_t, lock),
    FIELD("cellsHeader", usher_cells_header_t, asked),
    FIELD("cellsHeader", usher_cells_header_t, start_requests_refused),
    FIELD("cellsHeader", usher_cells_header_t, lock_timeouts),
    FIELD("cellsHeader", usher_cells_header_t, lock_successions),
    FIELD("cellsHeader", usher_cells_header_t, damages),
    FIELD("cellsHeader", usher_cells_header_t, server),

    RECORD("startRequestRecord", usher_start_request_record_t),
    FIELD("startRequestRecord", usher_start_request_record_t, state),
    FIELD("startRequestRecord", usher_start_request_record_t, key_length),
    FIELD("startRequestRecord", usher_start_request_record_t, key_hash),
    FIELD("startRequestRecord", usher_start_request_record_t, entered_ns),
    FIELD("startRequestRecord", usher_start_request_record_t, worker),
    FIELD("startRequestRecord", usher_start_request_record_t, key),

    RECORD("loadRecord", usher_load_record_t),
    FIELD("loadRecord", usher_load_record_t, at_once),
    FIELD("loadRecord", usher_load_record_t, arrivals),
    FIELD("loadRecord", usher_load_record_t, finished),
    FIELD("loadRecord", usher_load_record_t, failed),
    FIELD("loadRecord", usher_load_record_t, aborted),
    FIELD("loadRecord", usher_load_record_t, refused),
    FIELD("loadRecord", usher_load_record_t, waiting),
    FIELD("loadRecord", usher_load_record_t, waiting_us),
    FIELD("loadRecord", usher_load_record_t, serving_us),
    FIELD("loadRecord", usher_load_record_t, waiting_histogram),
    FIELD("loadRecord", usher_load_record_t, serving_histogram),

    RECORD("loadBase", usher_load_base_t),
    FIELD("loadBase", usher_load_base_t, generation),
    FIELD("loadBase", usher_load_base_t, counters),
    FIELD("loadBase", usher_load_base_t, waiting_us),
    FIELD("loadBase", usher_load_base_t, serving_us),

    RECORD("workerRecord", usher_worker_record_t),
    FIELD("workerRecord", usher_worker_record_t, state),
    FIELD("workerRecord", usher_worker_record_t, generation),
    FIELD("workerRecord", usher_worker_record_t, pid),
    FIELD("workerRecord", usher_worker_record_t, has_timed_out),
    FIELD("workerRecord", usher_worker_record_t, touched),
    FIELD("workerRecord", usher_worker_record_t, counts),
    FIELD("workerRecord", usher_worker_record_t, load),
    FIELD("workerRecord", usher_worker_record_t, timed_out),
    FIELD("workerRecord", usher_worker_record_t, kept),
    FIELD("workerRecord", usher_worker_record_t, has_kept),
};

const usher_layout_entry_t *usher_layout_entries(size_t *count) {
    *count = sizeof(entries) / sizeof(entries[0]);
    return entries;
}
