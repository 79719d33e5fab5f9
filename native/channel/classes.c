/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Publishing classes. The manager is the only writer of the table, so it reads its own records
 * plainly; what readers rely on is the order of its stores (find.c, verdict.c).
 */
#include <string.h>

#include "channel/manager_internal.h"

usher_class_record_t *usher_class_of(usher_manager_t *manager, usher_ref_t ref) {
    if (ref.index >= USHER_CLASSES_MAX || !usher_bit(manager->classes, ref.index)) {
        return NULL;
    }
    usher_class_record_t *record = &manager->table->classes[ref.index];
    return atomic_load(&record->generation) == ref.generation ? record : NULL;
}

static void store_limits(usher_class_record_t *record, const usher_class_limits_t *limits) {
    atomic_store(&record->flags, limits->flags);
    atomic_store(&record->queue_limit, limits->queue_limit);
    atomic_store(&record->queue_timeout_ms, limits->queue_timeout_ms);
    atomic_store(&record->connect_timeout_ms, limits->connect_timeout_ms);
    atomic_store(&record->idle_timeout_ms, limits->idle_timeout_ms);
    atomic_store(&record->request_timeout_ms, limits->request_timeout_ms);
}

/* Copy `reason` as one line, cut at a character of UTF-8. */
static void fit_reason(char fitted[USHER_REASON_MAX], const char *reason) {
    memset(fitted, 0, USHER_REASON_MAX);
    size_t length = reason ? strnlen(reason, USHER_REASON_MAX) : 0;
    if (length == USHER_REASON_MAX) {
        length = USHER_REASON_MAX - 1;
        while (length > 0 && ((unsigned char)reason[length] & 0xc0) == 0x80) {
            length--; /* a continuation byte would be cut from its character */
        }
    }
    for (size_t i = 0; i < length; i++) {
        unsigned char byte = (unsigned char)reason[i];
        fitted[i] = byte < 0x20 || byte == 0x7f ? ' ' : reason[i];
    }
}

/* State and verdict change together for whoever reads them by reason_sequence (verdict.c). */
static void store_verdict(usher_class_record_t *record, usher_class_state_t state,
                          uint32_t verdict_status, uint32_t retry_after_s, const char *reason) {
    char fitted[USHER_REASON_MAX];
    fit_reason(fitted, reason);
    uint32_t sequence = atomic_load(&record->reason_sequence) | 1;
    atomic_store_explicit(&record->reason_sequence, sequence, memory_order_relaxed);
    USHER_STEP("class: writing the verdict");
    atomic_store_explicit(&record->verdict_status, verdict_status, memory_order_release);
    atomic_store_explicit(&record->retry_after_s, retry_after_s, memory_order_release);
    usher_shared_write(record->reason, fitted, USHER_REASON_MAX);
    atomic_store(&record->state, (uint32_t)state);
    atomic_store_explicit(&record->reason_sequence, sequence + 1, memory_order_release);
}

/* Fill a record that nobody can find yet. */
static void write_class(usher_class_record_t *record, const usher_class_identity_t *identity,
                        uint64_t hash, const usher_class_limits_t *limits) {
    char key[USHER_KEY_MAX] = {0};
    memcpy(key, identity->key, identity->key_length);
    atomic_store(&record->generation, 0); /* before any new byte, each stored with release */
    USHER_SHARED_STORE(record->kind, (uint32_t)identity->kind);
    USHER_SHARED_STORE(record->key_length, identity->key_length);
    USHER_SHARED_STORE(record->key_hash, hash);
    USHER_SHARED_STORE(record->server_id, identity->server_id);
    usher_shared_write(record->key, key, identity->key_length + 1);
    store_limits(record, limits);
    for (uint32_t i = 0; i < USHER_CLASS_ENDPOINTS_MAX; i++) {
        atomic_store(&record->endpoints[i], 0);
    }
    atomic_store(&record->endpoint_slots, 0);
    store_verdict(record, USHER_CLASS_COLD, 0, 0, NULL);
}

static bool is_identity(const usher_class_identity_t *identity) {
    return identity->key_length > 0 && identity->key_length < USHER_KEY_MAX &&
           !memchr(identity->key, '\0', identity->key_length) &&
           identity->kind >= USHER_KIND_STATIC && identity->kind <= USHER_KIND_EXTERNAL;
}

usher_status_t usher_manager_add_class(usher_manager_t *manager,
                                       const usher_class_identity_t *identity,
                                       const usher_class_limits_t *limits, usher_ref_t *ref) {
    uint64_t hash = usher_hash(identity->key, identity->key_length);
    if (!is_identity(identity) || usher_bucket_find(manager->table, identity, hash)) {
        return USHER_INVALID;
    }
    uint32_t index = 0;
    while (index < USHER_CLASSES_MAX && usher_bit(manager->classes, index)) {
        index++;
    }
    if (index == USHER_CLASSES_MAX) {
        return USHER_FULL;
    }
    usher_class_record_t *record = &manager->table->classes[index];
    write_class(record, identity, hash, limits);
    uint32_t wrong = 0;
    usher_repair_gate(manager, index, &wrong);
    usher_totals_restart(manager, index);

    uint32_t generation = usher_next_generation(&manager->table->header.class_generation);
    usher_bases_begin(manager, index, generation);
    USHER_STEP("class: written");
    atomic_store(&record->generation, generation);
    USHER_STEP("class: numbered");
    usher_bucket_insert(manager->table, index);
    USHER_STEP("class: listed");
    usher_set_bit(manager->classes, index, true);
    usher_count_up_to(&manager->table->header.classes_used, index + 1);
    usher_publish(manager, index);
    *ref = (usher_ref_t){.index = index, .generation = generation};
    return USHER_OK;
}

usher_status_t usher_manager_set_limits(usher_manager_t *manager, usher_ref_t ref,
                                        const usher_class_limits_t *limits) {
    usher_class_record_t *record = usher_class_of(manager, ref);
    if (!record) {
        return USHER_STALE;
    }
    store_limits(record, limits);
    usher_publish(manager, ref.index);
    return USHER_OK;
}

usher_status_t usher_manager_set_class(usher_manager_t *manager, usher_ref_t ref,
                                       usher_class_state_t state, uint32_t verdict_status,
                                       uint32_t retry_after_s, const char *reason) {
    usher_class_record_t *record = usher_class_of(manager, ref);
    if (!record) {
        return USHER_STALE;
    }
    if (state < USHER_CLASS_COLD || state > USHER_CLASS_REFUSED) {
        return USHER_INVALID;
    }
    store_verdict(record, state, verdict_status, retry_after_s, reason);
    usher_publish(manager, ref.index);
    return USHER_OK;
}

usher_status_t usher_manager_remove_class(usher_manager_t *manager, usher_ref_t ref) {
    usher_class_record_t *record = usher_class_of(manager, ref);
    if (!record) {
        return USHER_STALE;
    }
    if (atomic_load(&record->endpoint_slots) != 0) {
        return USHER_INVALID;
    }
    atomic_store(&record->state, USHER_CLASS_REMOVED);
    USHER_STEP("class: removed");
    atomic_store(&record->generation, 0);
    USHER_STEP("class: unnumbered");
    usher_bucket_remove(manager->table, ref.index);
    USHER_STEP("class: unlisted");
    usher_publish(manager, ref.index);
    atomic_store(&record->state, USHER_CLASS_FREE);
    usher_totals_restart(manager, ref.index);
    usher_set_bit(manager->classes, ref.index, false);
    usher_set_bit(manager->changed, ref.index, false);
    usher_set_bit(manager->full, ref.index, false);
    return USHER_OK;
}

usher_status_t usher_manager_class(usher_manager_t *manager, uint32_t index,
                                   usher_class_info_t *info) {
    if (index >= USHER_CLASSES_MAX || !usher_bit(manager->classes, index)) {
        return USHER_NOT_FOUND;
    }
    const usher_class_record_t *record = &manager->table->classes[index];
    *info = (usher_class_info_t){
        .ref = {.index = index, .generation = atomic_load(&record->generation)},
        .kind = (usher_kind_t)record->kind,
        .state = (usher_class_state_t)atomic_load(&record->state),
        .server_id = record->server_id,
        .limits =
            {
                .flags = atomic_load(&record->flags),
                .queue_limit = atomic_load(&record->queue_limit),
                .queue_timeout_ms = atomic_load(&record->queue_timeout_ms),
                .connect_timeout_ms = atomic_load(&record->connect_timeout_ms),
                .idle_timeout_ms = atomic_load(&record->idle_timeout_ms),
                .request_timeout_ms = atomic_load(&record->request_timeout_ms),
            },
    };
    uint32_t length = record->key_length;
    memcpy(info->key, record->key, length < USHER_KEY_MAX ? length : USHER_KEY_MAX - 1);
    return USHER_OK;
}
