/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/instance.h"

#define BUCKETS 1024

static instance_t *by_id[BUCKETS], *by_pid[BUCKETS];

age_list_t instances_living, instances_exited;

instance_t *instance_find(int64_t id) {
    instance_t *instance = by_id[id % BUCKETS];
    while (instance != NULL && instance->id != id)
        instance = instance->next_by_id;
    return instance;
}

instance_t *instance_find_pid(pid_t pid) {
    instance_t *instance = by_pid[pid % BUCKETS];
    while (instance != NULL && instance->group.pid != pid)
        instance = instance->next_by_pid;
    return instance;
}

void instance_add_id(instance_t *instance) {
    instance_t **bucket = &by_id[instance->id % BUCKETS];
    instance->next_by_id = *bucket;
    *bucket = instance;
}

void instance_add_pid(instance_t *instance) {
    instance_t **bucket = &by_pid[instance->group.pid % BUCKETS];
    instance->next_by_pid = *bucket;
    *bucket = instance;
}

void instance_remove_id(instance_t *instance) {
    instance_t **link = &by_id[instance->id % BUCKETS];
    while (*link != instance)
        link = &(*link)->next_by_id;
    *link = instance->next_by_id;
}

void instance_remove_pid(instance_t *instance) {
    instance_t **link = &by_pid[instance->group.pid % BUCKETS];
    while (*link != instance)
        link = &(*link)->next_by_pid;
    *link = instance->next_by_pid;
}

void instance_enlist(age_list_t *list, instance_t *instance) {
    instance->newer = NULL;
    instance->older = list->newest;
    *(list->newest != NULL ? &list->newest->newer : &list->oldest) = instance;
    list->newest = instance;
    list->count++;
}

void instance_delist(age_list_t *list, instance_t *instance) {
    *(instance->newer != NULL ? &instance->newer->older : &list->newest) = instance->older;
    *(instance->older != NULL ? &instance->older->newer : &list->oldest) = instance->newer;
    list->count--;
}
