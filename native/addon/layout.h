/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Offsets and sizes of the channel as numbers with names: layout.h of the channel is C11 and cannot
 * be read by C++. Used by module.cc for native.layout.
 */
#ifndef USHER_ADDON_LAYOUT_H
#define USHER_ADDON_LAYOUT_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    const char *name; /* "classRecord.state"; of a whole record: "classRecord" */
    size_t bytes;     /* offset of a field, size of a record */
} usher_layout_entry_t;

const usher_layout_entry_t *usher_layout_entries(size_t *count);

#ifdef __cplusplus
}
#endif

#endif
